"""Data order, windows, encoded data, scores, presets and the tasks, on a store whose frames show their own index."""

import json

import numpy as np
import pretrain_toys as toys
import pytest
import torch

from worldgym import zoo
from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.models.files import checkpoint
from worldgym.models.token.token_model import PRESETS
from worldgym.pretrain import codec_task, judge_task
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import DiffusionRunConfig, JudgeRunConfig, TokenRunConfig
from worldgym.pretrain.diffusion_task import DiffusionTask
from worldgym.pretrain.encoded import encoded
from worldgym.pretrain.judge_task import JudgeTask
from worldgym.pretrain.networks import configure
from worldgym.pretrain.task import evenly, rows
from worldgym.pretrain.token_task import TokenTask
from worldgym.runs import card

CPU = torch.device("cpu")
TINY = ("hidden=16", "mlp=16", "heads=2", "layers=1")


@pytest.fixture
def store(tmp_path):
    return toys.write_store(tmp_path / "store")


@pytest.fixture
def codecs(tmp_path, monkeypatch):
    """Toy codecs as files that the zoo can load."""
    monkeypatch.setattr(zoo, "CLASSES", {**zoo.CLASSES, **toys.CLASSES})
    for kind, cls in (("frame-codec", toys.ToyCodec), ("latent-codec", toys.ToyLatents)):
        checkpoint.save(tmp_path / f"{kind}.safetensors", cls(toys.ToyCodecConfig()), kind)
    return tmp_path


def token_config(store, codecs, **values):
    values = {"steps": 4, "batch_frames": 32, "override": (*TINY, "kv_heads=1"), **values}
    return TokenRunConfig(data=store, out=codecs / "runs" / "a", codec=str(codecs / "frame-codec.safetensors"), **values)


def diffusion_config(store, codecs, **values):
    values = {"steps": 4, "batch_frames": 32, "override": TINY, **values}
    return DiffusionRunConfig(data=store, out=codecs / "runs" / "b", codec=str(codecs / "latent-codec.safetensors"), **values)


def test_rows_are_shuffled_epochs():
    """Four steps of 3 of 6 clips: two epochs, each clip once in each, in different orders."""
    steps = [rows(0, step, 3, 6).tolist() for step in range(4)]
    first, second = steps[0] + steps[1], steps[2] + steps[3]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second and first != list(range(6))
    assert rows(0, 2, 3, 6).tolist() == steps[2]  # asked for again, out of order
    assert [rows(1, step, 3, 6).tolist() for step in range(4)] != steps


def test_rows_cross_epochs():
    assert sorted(rows(0, 0, 10, 5)) == sorted([*range(5), *range(5)])


@pytest.mark.parametrize(("total", "count", "expected"), [(10, 4, [0, 3, 6, 9]), (3, 9, [0, 1, 2]), (5, 1, [0])])
def test_evenly(total, count, expected):
    assert evenly(total, count).tolist() == expected


def test_only_visible_training_seeds_are_used(store):
    clips = Clips.open(store)
    seen = {int(clip) for step in range(20) for clip in clips.rows(0, step, 8)}
    assert seen == {n for n in range(40) if n % 10 < 8 and n != 3}
    assert clips.held_out(99, 4)[0].tolist() == [8, 18, 28, 38]


def test_halves_are_disjoint_and_complete(store):
    halves = [set(Clips.open(store, half).train.tolist()) for half in "01"]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == set(Clips.open(store).train.tolist())
    assert abs(len(halves[0]) - len(halves[1])) <= 1


def test_a_store_without_validation_is_refused(tmp_path):
    with pytest.raises(InputError, match="no visible clip in the validation split"):
        Clips.open(toys.write_store(tmp_path / "s", clips=7))


def test_windows_are_consecutive_frames_with_their_actions(store):
    """Frame t of clip n is grey n + 10 t, so pictures tell where they come from."""
    clips = Clips.open(store)
    rows_, moments = clips.windows(0, 5, 200, 4)
    frames, actions = clips.frames(rows_, moments, CPU), clips.actions(rows_, moments, CPU)
    assert frames.shape == (200, 4, 16, 24, 3) and actions.shape == (200, 3, 8)
    grey = frames[:, :, 0, 0, 0].numpy().astype(int)
    assert (grey == (rows_[:, None] + 10 * moments) % 256).all()
    assert (np.diff(moments) == 1).all() and moments.min() == 0 and moments.max() == 15  # anywhere in the clip
    for row, moment, action in zip(rows_, moments, actions, strict=True):
        # action i - 1 of the store leads from frame i - 1 to frame i
        assert np.array_equal(action, clips.store.actions[row, moment[0] : moment[0] + 3])


@pytest.mark.parametrize("name", ["frame-codec", "latent-codec"])
def test_encoded_equals_encoding_clip_by_clip(store, codecs, name):
    clips, codec = Clips.open(store), zoo.load(codecs / f"{name}.safetensors")
    codes = encoded(clips.store, codec, "a" * 64, codecs / "cache", CPU)
    assert codes.dtype == (np.int32 if name == "frame-codec" else np.float16)
    for clip in (0, 7, 8, 39):  # on both sides of a piece's border
        expected = codec.encode(torch.from_numpy(np.array(clips.store.frames[clip]))).detach()
        np.testing.assert_allclose(codes[clip], expected, atol=1e-3)


def test_encoded_data_are_made_once_per_data_and_codec(store, codecs):
    clips, codec = Clips.open(store).store, zoo.load(codecs / "frame-codec.safetensors")
    first = encoded(clips, codec, "a" * 64, codecs / "cache", CPU)
    codec.encode = None  # would fail if asked
    assert np.array_equal(encoded(clips, codec, "a" * 64, codecs / "cache", CPU), first)
    with pytest.raises(TypeError):
        encoded(clips, codec, "b" * 64, codecs / "cache", CPU)
    assert [p.name for p in (codecs / "cache").iterdir()] == [f"data-{clips.sha256[:16]}-codec-{'a' * 16}.npy"]


@pytest.mark.parametrize(("make", "task"), [(token_config, TokenTask), (diffusion_config, DiffusionTask)])
def test_world_model_tasks(store, codecs, make, task):
    """Windows by share; loss and validation are functions of (seed, step) and weights alone."""
    config = make(store, codecs)
    learner = task(config, CPU)
    module = learner.build()
    (loss, logs), (again, _) = learner.loss(module, 3, 0.5), learner.loss(module, 3, 0.5)
    assert torch.equal(loss, again) and logs["window"] == 4
    assert learner.loss(module, 3, 0.9)[1]["window"] == 16
    assert not torch.equal(loss, learner.loss(module, 4, 0.5)[0])
    assert not torch.equal(loss, task(make(store, codecs, seed=1), CPU).loss(module, 3, 0.5)[0])
    with torch.no_grad():
        assert learner.validate(module) == learner.validate(module)
    assert learner.origin["codec_sha256"] == sha256(config.codec)


def test_network_follows_codec_and_data(store, codecs):
    config = TokenTask(token_config(store, codecs), CPU).build().config
    assert (config.codes, config.codes_per_frame, config.spec, config.hidden) == (16, 6, "doom", 16)
    config = DiffusionTask(diffusion_config(store, codecs), CPU).build().config
    assert (config.channels, config.grid, config.spec, config.hidden) == (3, (2, 3), "doom", 16)


def held_store(tmp_path):
    """Clips of another recording, told apart by their frames' color."""
    folder = toys.write_store(tmp_path / "held")
    frames = np.load(folder / "frames.npy")
    frames[..., 0] = 255 - frames[..., 0]  # never grey
    np.save(folder / "frames.npy", frames)
    toys.write_manifest(folder, json.loads((folder / "manifest.json").read_text()))
    return folder


@pytest.mark.parametrize(("share", "window", "rows"), [(0.25, 4, 2), (0.25, 16, 0), (0.5, 16, 1), (1.0, 4, 8), (0.0, 4, 0)])
def test_a_share_of_every_batch_is_held(store, codecs, share, window, rows):
    """Of 32 frames: 8 windows of 4 or 2 of 16, the last from the other store; with none, the batch of a run without."""
    config = diffusion_config(store, codecs, held=held_store(codecs), held_share=share)
    mixed, plain = (DiffusionTask(c, CPU).windows for c in (config, diffusion_config(store, codecs)))
    (codes, actions), (alone, _) = (w.batch(3, 0.9 if window == 16 else 0.5) for w in (mixed, plain))
    assert codes.shape[:2] == (32 // window, window) and actions.shape[:2] == (32 // window, window - 1)
    other = mixed.sources["held_"].codes
    held = [bool((other == first.half().numpy()).all((2, 3, 4)).any()) for first in codes[:, 0]]  # a color, not a grey
    assert held == [False] * (len(codes) - rows) + [True] * rows
    assert rows or torch.equal(codes, alone)


def test_held_clips_have_a_loss_of_their_own(store, codecs):
    one = DiffusionTask(diffusion_config(store, codecs, held=held_store(codecs)), CPU)
    two = DiffusionTask(diffusion_config(store, codecs), CPU)
    module = two.build()
    with torch.no_grad():
        assert one.validate(module).keys() == {"loss", "held_loss", "action_ratio"}
        assert one.validate(module)["loss"] == two.validate(module)["loss"] != one.validate(module)["held_loss"]
    assert one.origin["held_sha256"] and "held_sha256" not in two.origin


def test_held_clips_of_another_world_are_refused(store, codecs):
    held = held_store(codecs)
    manifest = json.loads((held / "manifest.json").read_text())
    (held / "manifest.json").write_text(json.dumps({**manifest, "spec": "minecraft"}))
    with pytest.raises(InputError, match="--held. have another action spec or size than --data"):
        DiffusionTask(diffusion_config(store, codecs, held=held), CPU)
    assert not (codecs / "runs").exists()  # said before anything was encoded


def test_a_run_may_begin_with_a_models_weights(store, codecs):
    first = DiffusionTask(diffusion_config(store, codecs), CPU)
    module, path = first.build(), codecs / "before.safetensors"
    checkpoint.save(path, module, "diffusion", first.origin)
    again = DiffusionTask(diffusion_config(store, codecs, init=str(path), seed=7, override=()), CPU).build()
    assert again.training and all(p.requires_grad for p in again.parameters()) and again.config == module.config
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_first_model_that_does_not_fit_is_refused(store, codecs):
    first = DiffusionTask(diffusion_config(store, codecs), CPU)
    path = codecs / "before.safetensors"
    checkpoint.save(path, first.build(), "diffusion", first.origin)
    with pytest.raises(InputError, match="--init takes a token model"):
        TokenTask(token_config(store, codecs, init=str(path), override=()), CPU).build()
    other = codecs / "other.safetensors"
    checkpoint.save(other, toys.ToyLatents(toys.ToyCodecConfig(codes=17)), "latent-codec")
    with pytest.raises(InputError, match="behind another codec .* give its own with --codec"):
        task = DiffusionRunConfig(data=store, out=codecs / "runs" / "c", codec=str(other), init=str(path), steps=4)
        DiffusionTask(task, CPU).build()


def test_validation_loss_of_a_uniform_model_is_log_of_the_codes(store, codecs):
    learner = TokenTask(token_config(store, codecs), CPU)
    module = learner.build()
    torch.nn.init.zeros_(module.lm_head.weight)
    with torch.no_grad():
        assert learner.validate(module)["loss"] == pytest.approx(np.log(16), abs=1e-5)


def test_a_network_that_is_taken_over_has_no_overrides(store, codecs):
    with pytest.raises(InputError, match="--override hidden=16 changes nothing beside --init"):
        token_config(store, codecs, init="doom-rooms/token-nano")


@pytest.mark.parametrize("value", [{"window": 1}, {"window": 17}, {"final_share": 1.5}, {"batch_frames": 8}])
def test_wrong_windows_are_refused(store, codecs, value):
    with pytest.raises(InputError, match="--window|--final-share|--batch-frames"):
        token_config(store, codecs, **value)


def test_psnr_known_answer():
    """All pixels off by 5: 20 log10(255 / 5) = 34.15 dB; equal frames count as 100."""
    truth = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    guess = truth.clone()
    guess[0] += 5
    np.testing.assert_allclose(codec_task.psnr(truth, guess), [20 * np.log10(51), 100])


def test_judge_scores_known_answer():
    """One group, 4 frames: labels 0 0 1 1 read as 0 1 1 1: F1 are 2/3 and 4/5; a group that never acts is left out."""
    truth = np.tile(DOOM.null, (1, 4, 1))
    guess = truth.copy()
    truth[0, 2:, 3], guess[0, 1:, 3] = 1, 1
    guess[0, 0, 7] += 3  # yaw three bins off once: 3 / (4 frames * 2 axes)
    found = judge_task.scores(DOOM, truth, guess)
    assert found["f1"] == found["f1_attack"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["camera_bins"] == pytest.approx(3 / 8)
    assert found["exact"] == pytest.approx(0.5)
    assert "f1_jump" not in found


def test_judge_task(store):
    config = JudgeRunConfig(data=store, out=store / "out", steps=2, batch_frames=32, override=("widths=[4,4,4]", "hidden=32"))
    learner = JudgeTask(config, CPU)
    module = learner.build()
    assert (module.config.height, module.config.width, module.config.frames) == (16, 24, 16)
    loss, _ = learner.loss(module, 0, 0.0)
    loss.backward()
    assert all(p.grad is not None for p in module.parameters())
    assert 0 <= learner.validate(module)["f1"] <= 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a --data /x/y/data/rooms --out runs/a", "a --data data/rooms --out runs/a"),
        ("--data /rooms", "--data rooms"),
        ("--override 'patch=[1, 3]' --out '/x/my runs/a'", "--override 'patch=[1, 3]' --out 'my runs/a'"),
    ],
)
def test_cards_do_not_name_this_machines_folders(given, expected):
    assert card.portable(given) == expected


def test_configure():
    assert configure(PRESETS, "nano", ["hidden=320", "rope_theta=500"], codes=7).rope_theta == 500.0
    assert configure(PRESETS, "nano", ["hidden=320"], codes=7).codes == 7


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        ("nanno", [], "unknown preset 'nanno'; did you mean 'nano'"),
        ("nano", ["hiden=3"], "unknown field of TokenConfig 'hiden'; did you mean 'hidden'"),
        ("nano", ["hidden"], "takes field=value, not 'hidden'"),
        ("nano", ["hidden=wide"], r"hidden takes int, as in hidden=\d+, not 'wide'"),
        ("nano", ["codes=3"], "codes cannot be set: it is 7 because"),
    ],
)
def test_wrong_presets_and_overrides(name, override, sentence):
    with pytest.raises(InputError, match=sentence):
        configure(PRESETS, name, override, codes=7)


def test_every_field_of_every_config_is_documented_and_in_the_help(capsys):
    import dataclasses

    from worldgym.pretrain.__main__ import main

    for name, cls in (("token", TokenRunConfig), ("judge", JudgeRunConfig)):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        assert all(f"--{f.name.replace('_', '-')}" in text for f in dataclasses.fields(cls))


def test_commands_from_codec_to_bundled_world_model(tmp_path, monkeypatch, capsys):
    """The whole road: codec, token model, export of both; the exported pair loads and generates."""
    from worldgym.pretrain.__main__ import main

    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    toys.write_store(tmp_path / "rooms" / "data")
    common = ["--data", str(tmp_path / "rooms" / "data"), "--steps", "2", "--validate-frames", "32", "--device", "cpu"]
    tiny = ["--override", "wide=8", "fine=4", "blocks=1", "levels=[3,4]"]
    main(["codec", *common, "--out", "runs/codec", "--batch-frames", "8", *tiny])
    model = ["--override", *TINY, "kv_heads=1", "--batch-frames", "16", "--codec", "runs/codec"]
    main(["token", *common, "--out", "runs/token", *model])
    main(["export", "--run", "runs/codec", "--name", "toy/frame-codec", "--zoo", "zoo"])
    main(["export", "--run", "runs/token", "--name", "toy/token-nano", "--codec", "toy/frame-codec", "--zoo", "zoo"])
    printed = capsys.readouterr().out.split()
    assert printed == [
        "runs/codec/model.safetensors",
        "runs/token/model.safetensors",
        "zoo/toy/frame-codec.safetensors",
        "zoo/toy/token-nano.safetensors",
    ]
    model = zoo.load("toy/token-nano")
    prefix = np.zeros((1, 1, 16, 24, 3), np.uint8)
    assert model.generate(prefix, np.tile(DOOM.null, (1, 2, 1)), [0]).shape == (1, 3, 16, 24, 3)
    text = (tmp_path / "zoo/toy/token-nano.json").read_text()
    facts = json.loads(text)
    assert facts["command"].startswith("python -m worldgym.pretrain token --data rooms/data --steps 2")
    assert str(tmp_path) not in text
    assert (facts["name"], facts["codec"], facts["dtype"]) == ("toy/token-nano", "toy/frame-codec", "float16")
    assert facts["sha256"] == sha256(tmp_path / "zoo/toy/token-nano.safetensors")
    with pytest.raises(SystemExit) as refused:  # another codec than the one of the run
        main(["codec", *common, "--out", "runs/other", "--batch-frames", "8", *tiny, "--seed", "1"])
        main(["export", "--run", "runs/token", "--name", "toy/x", "--codec", "runs/other", "--zoo", "zoo"])
    assert refused.value.code == 2 and "is another network than" in capsys.readouterr().err
    with pytest.raises(SystemExit) as refused:  # a path that nobody else has
        main(["export", "--run", "runs/token", "--name", "toy/x", "--zoo", "zoo"])
    assert refused.value.code == 2 and "is not in the zoo" in capsys.readouterr().err
    assert not (tmp_path / "zoo/toy/x.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["codec", "--data", "nowhere", "--out", "o", "--steps", "2"], "no clip store at 'nowhere'"),
        (["codec", "--data", "data", "--out", "o"], "exactly one of --steps and --minutes"),
        (["codec", "--data", "data", "--out", "data/manifest.json/o", "--steps", "2"], "cannot write to the output folder"),
        (["token", "--data", "data", "--out", "o", "--steps", "2", "--codec", "toy/cod"], "unknown model 'toy/cod'"),
        (["export", "--run", "data", "--name", "toy/x"], "holds no model.safetensors"),
        (["export", "--run", "data", "--name", "x"], "--name takes <world>/<name>"),
    ],
)
def test_commands_answer_wrong_input_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    from worldgym.pretrain.__main__ import main

    monkeypatch.chdir(tmp_path)
    toys.write_store(tmp_path / "data")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and sentence in error.replace("\n", " ") and "Traceback" not in error
