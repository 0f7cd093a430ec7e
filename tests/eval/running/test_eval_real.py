"""The whole road with nothing in place of anything: game, zoo files, both families of model, judge; weights are random."""

import json

import pytest
import torch

from worldgym.eval.protocols import action_following, clips
from worldgym.eval.results import suite as suites
from worldgym.eval.running import job
from worldgym.eval.running.arguments import Job
from worldgym.judges.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig, LatentCodec, LatentCodecConfig
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.files import checkpoint
from worldgym.models.token.token_model import TokenConfig, TokenModel

SMALL = {"wide": 8, "fine": 8, "blocks": 1}


@pytest.fixture
def weights(tmp_path):
    """A folder of tiny model files with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frame_codec = FrameCodec(FrameCodecConfig(levels=(4, 4), **SMALL))
        latent_codec = LatentCodec(LatentCodecConfig(channels=4, **SMALL))
        token = TokenModel(TokenConfig(codes=16, hidden=16, mlp=16, heads=1, kv_heads=1, layers=1, max_frames=3))
        diffusion = FrameDiffusion(DiffusionConfig(channels=4, hidden=16, mlp=16, heads=1, layers=1, max_frames=3))
        judge = InverseDynamics(InverseDynamicsConfig(widths=(4, 4, 4), hidden=32, layers=1, after=True, trunk="gru"))
    save = lambda name, *rest: checkpoint.save(tmp_path / f"{name}.safetensors", *rest)  # noqa: E731
    save("frame-codec", frame_codec, "frame-codec")
    save("latent-codec", latent_codec, "latent-codec")
    save("judge", judge, "inverse-dynamics")
    save("token", token, "token", {"codec": str(tmp_path / "frame-codec.safetensors")})
    save("diffusion", diffusion, "diffusion", {"codec": str(tmp_path / "latent-codec.safetensors")})
    return tmp_path


def test_the_whole_road(weights, monkeypatch):
    text = (suites.FOLDER / "action-following-doom-rooms-v1.toml").read_text()
    text = text.replace("frames = 16", "frames = 3").replace("doom-rooms/idm-heldout", str(weights / "judge.safetensors"))
    (weights / "short-v1.toml").write_text(text)
    tasks = clips.record(suites.load(str(weights / "short-v1.toml")), 0, 3)
    monkeypatch.setattr(action_following, "record", lambda *_: tasks)  # played once for both runs
    models = tuple(f"{name}={weights / name}.safetensors" for name in ("token", "diffusion"))
    run = lambda out, **changes: job.run(  # noqa: E731
        Job(str(weights / "short-v1.toml"), models, clips=3, device="cpu", out=str(weights / out), **changes)
    )
    run("one", batch=3)
    run("two", batch=2)
    read = lambda out, name: json.loads((weights / out / name / "0.json").read_text())  # noqa: E731
    kinds = {"truth": "truth", "shuffled": "shuffled", "token": "token", "diffusion": "diffusion"}
    for name, kind in kinds.items():
        one, two = read("one", name), read("two", name)
        assert one["entry"]["kind"] == kind and [row["id"] for row in one["rows"]] == [task.id for task in tasks]
        assert set(one["scores"]) == set(two["scores"]) and one["clips"] == two["clips"]
    token, diffusion = read("one", "token"), [read(out, "diffusion") for out in ("one", "two")]
    assert token["entry"]["sampling"] == {"top_p": 0.8, "temperature": 1.0} and len(token["entry"]["weights_sha256"]) == 64
    # Both batch sizes draw the same noise; pixels may differ by rounding, so the token model alone must agree exactly.
    assert token["frames_sha256"] == read("two", "token")["frames_sha256"]
    psnr = [one["scores"]["psnr"]["value"] for one in diffusion]
    assert 0 < psnr[0] < 40 and psnr[0] == pytest.approx(psnr[1], abs=0.01)
