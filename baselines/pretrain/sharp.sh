#!/usr/bin/env bash
# From nothing to doom-rooms/diffusion-small and doom-rooms/token-small: record, train both codecs, their decoders once more with an
# adversary, both world models, export.
#
#   bash baselines/pretrain/sharp.sh OUT --scale smoke|cpu|gpu [--stages record,codecs,decoders,models,export] [--seed 0]
#
# Every stage has a budget in minutes and leaves its best weights when its time is up; the same command again goes on where it was
# stopped. A stage that fails is named at the end, and those that do not need it go on. OUT/stages.csv has their wall times, OUT/zoo
# the models. At scale gpu (one GPU, 16 cores, about ten minutes) the codecs learn from a small store while the large one is
# recorded, and the decoders beside the world models; with SNAPSHOTS=FOLDER the averaged weights are copied there as they grow, so
# that a machine that is taken away leaves something. CLIPS, HELD, FRAMES, CODEC_MINUTES, DECODER_MINUTES and MODEL_MINUTES replace
# a scale's own numbers.
set -uo pipefail
out=${1:?usage: sharp.sh OUT --scale smoke|cpu|gpu [--stages LIST] [--seed N]}; shift
scale=cpu stages=record,codecs,decoders,models,export seed=0
while [ $# -gt 0 ]; do
  case $1 in
    --scale) scale=${2:-}; shift 2 ;;
    --stages) stages=${2:-}; shift 2 ;;
    --seed) seed=${2:-}; shift 2 ;;
    *) echo "sharp.sh knows --scale, --stages and --seed, not $1" >&2; exit 2 ;;
  esac
done
python=${PYTHON:-python3}

# clips of free play and of held actions, their frames, workers · minutes of codecs, decoders and models · more options
case $scale in
  smoke)
    clips=40 held=16 frames=16 workers=2 codec_minutes=0.3 decoder_minutes=0.2 model_minutes=0.3
    codec="--batch-frames 8 --threads 1 --validate-frames 16" small="--override wide=32 fine=16 blocks=1"
    diffusion="--batch-frames 32 --threads 1 --validate-frames 32 --lengths 8:0.5 16:0.5 --override hidden=64 heads=2 mlp=64 layers=2"
    token="--batch-frames 32 --threads 1 --validate-frames 32 --override hidden=64 heads=2 mlp=64 layers=2" ;;
  cpu)
    clips=8000 held=2000 frames=64 workers=2 codec_minutes=240 decoder_minutes=120 model_minutes=1500
    codec="--batch-frames 32 --threads 1 --validate-every 1200" small=
    diffusion="--batch-frames 64 --threads 1 --validate-every 3600 --lengths 16:0.8 64:0.2"
    token="--batch-frames 64 --threads 1 --validate-every 3600" ;;
  gpu)
    clips=5200 held=1000 frames=64 workers=15 codec_minutes=1.2 decoder_minutes=1.2 model_minutes=6.6
    codec="--batch-frames 64 --compile off --validate-every 600" small=
    diffusion="--batch-frames 768 --average 0.999 --validate-every 600 --lengths 16:0.8 64:0.2"
    token="--batch-frames 768 --average 0.999 --validate-every 600" ;;
  *) echo "--scale is '$scale'; it must be smoke, cpu or gpu" >&2; exit 2 ;;
esac
clips=${CLIPS:-$clips} held=${HELD:-$held} frames=${FRAMES:-$frames}
codec_minutes=${CODEC_MINUTES:-$codec_minutes} decoder_minutes=${DECODER_MINUTES:-$decoder_minutes} model_minutes=${MODEL_MINUTES:-$model_minutes}
mkdir -p "$out" || exit 2
rm -f "$out"/*.failed

timed() {  # timed NAME COMMAND…: run it, write down how long it took and whether it worked
  local name=$1 begin=$SECONDS how=done; shift
  "$@" >>"$out/$name.log" 2>&1 || { how=failed; touch "$out/$name.failed"; }
  echo "$name,$((SECONDS - begin)),$how" | tee -a "$out/stages.csv"
}
both() {  # both NAME1 COMMAND1 -- NAME2 COMMAND2: side by side
  local first=(); while [ "$1" != -- ]; do first+=("$1"); shift; done; shift
  timed "${first[@]}" & local one=$!
  timed "$@"
  wait $one
}
wanted() { [[ ",$stages," == *",$1,"* ]]; }
record() {  # record FOLDER CLIPS WORKERS OPTIONS…: nothing to do where the folder is finished
  [ -f "$out/$1/manifest.json" ] ||
    nice -n 10 $python -m worldgym.record --world doom-rooms --clips "$2" --frames $frames --workers "$3" --out "$out/$1" "${@:4}"
}
record_all() {
  both record-free record free "$clips" $((workers * 3 / 4 + (workers < 4))) --seed "$seed" \
    -- record-held record held "$held" $((workers / 4 + (workers < 4))) --seed $((seed + 1)) --player mixed
}
pretrain() { $python -m worldgym.pretrain "$@" --resume; }
codec_clips() { [ -f "$out/first/manifest.json" ] && echo "$out/first" || echo "$out/free"; }
one_codec() {
  pretrain codec --kind "$1" --preset sharp --perceptual 0.3 --lr 1.5e-3 --decay 0.5 --seed "$seed" \
    --data "$(codec_clips)" --out "$out/$1-codec" --minutes "$codec_minutes" $codec $small
}
one_decoder() {  # codes and latents stay as they are, so that world models can be trained on them meanwhile
  pretrain codec --kind "$1" --init "$out/$1-codec" --decoder-only --perceptual 1 --adversary 0.1 --lr 6e-4 --seed "$seed" \
    --data "$(codec_clips)" --out "$out/$1-decoder" --minutes "$decoder_minutes" $codec
}
model() {
  pretrain "$@" --preset play --data "$out/free" --held "$out/held" --cache "$out/encoded" --decay 0.3 --seed "$seed" \
    --minutes "$model_minutes"
}
codecs() { both latent-codec one_codec latent -- frame-codec one_codec frame; }
decoders() { both latent-decoder one_decoder latent -- frame-decoder one_decoder frame; }
models() {
  both diffusion model diffusion --codec "$out/latent-codec" --out "$out/diffusion" --rollouts 0.5 --rollouts-from 0.6 $diffusion \
    -- token model token --codec "$out/frame-codec" --out "$out/token" --schedule diagonal --corrupt 0.2 --final-share 1 $token
}
export_one() { timed "export-$1" $python -m worldgym.pretrain export --run "$out/$1" --name "doom-rooms/$2" --zoo "$out/zoo" "${@:3}"; }

snapshots=
if [ -n "${SNAPSHOTS:-}" ]; then
  mkdir -p "$SNAPSHOTS"
  while sleep 60; do
    for run in "$out"/*/latest.safetensors; do [ -f "$run" ] && cp "$run" "$SNAPSHOTS/$(basename "$(dirname "$run")").safetensors"; done
  done & snapshots=$!
fi
if [ $scale = gpu ]; then
  if wanted record && [ ! -f "$out/first/manifest.json" ]; then
    timed record-first $python -m worldgym.record --world doom-rooms --clips 1300 --frames 32 --workers $workers --seed "$seed" --out "$out/first"
  fi
  if wanted record; then record_all & recording=$!; fi
  if wanted codecs; then codecs; fi
  if wanted record; then wait $recording; fi
  if wanted decoders; then decoders & decoding=$!; fi
  if wanted models; then models; fi
  if wanted decoders; then wait $decoding; fi
else
  for stage in codecs decoders models; do
    if [ $stage = codecs ] && wanted record; then record_all; fi
    if wanted $stage; then $stage; fi
  done
fi
if wanted export; then
  export_one latent-decoder latent-codec-sharp & exporting=$!
  export_one frame-decoder frame-codec-sharp
  wait $exporting
  export_one diffusion diffusion-small --codec doom-rooms/latent-codec-sharp & exporting=$!
  export_one token token-small --codec doom-rooms/frame-codec-sharp
  wait $exporting
fi
if [ -n "$snapshots" ]; then kill $snapshots 2>/dev/null; fi
failed=$(cd "$out" && ls ./*.failed 2>/dev/null | sed 's|^\./||; s|\.failed$||' | tr '\n' ' ')
if [ -n "$failed" ]; then echo "failed: $failed(each has a log in $out; the same command goes on)" >&2; exit 1; fi
