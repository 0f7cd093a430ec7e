"""The way of docs/worldplay.md, from files to frames, at tiny size."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_worldplay_codec import hunyuan_vae, wan_vae
from worldplay_toys import CONFIGS, noisy, toy

from worldgym.actions import worldplay
from worldgym.models.diffusion.worldplay import conditions, files, rollout, route, video_codec
from worldgym.rng import RowNoise

SIZE = (32, 32)


@pytest.mark.parametrize(("kind", "vae"), [("wan", wan_vae), ("hunyuan", hunyuan_vae)])
def test_from_files_to_frames(kind, vae, tmp_path):
    network, text = toy(kind, 1)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[kind]))
    noisy(vae()).save_pretrained(tmp_path / "vae")
    conditions.save_condition(tmp_path, "door", text[0] if kind == "wan" else text)

    network, codec = files.load(tmp_path / "model.safetensors"), video_codec.open_codec(tmp_path / "vae", size=SIZE)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    first = codec.encode(torch.from_numpy(video_codec.fit(image, codec.size))[None])
    path = worldplay.walk(worldplay.pose_string("w-3, right-2, w+right-1"))
    told = conditions.load_conditions(tmp_path, ["door"])
    latents = rollout.generate(
        network, route.Route.of([path]), RowNoise([0]), first.shape[1:], steps=2, given=first, text=told
    )
    assert latents.shape == (1, 7, *first.shape[1:])
    frames = codec.decode(latents[0])
    assert frames.shape == (25, *SIZE, 3)
    if kind == "wan":
        assert torch.equal(frames[:1], codec.decode(first))
    stream = codec.stream()
    pieces = torch.cat([stream.push(latents[0, :4]), stream.push(latents[0, 4:])])
    assert (pieces.int() - frames.int()).abs().max() <= 1
