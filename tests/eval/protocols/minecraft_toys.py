"""A folder of published files in small: validation clips, a random inverse dynamics model, I3D and LPIPS."""

import dataclasses
import hashlib
import json

import numpy as np
import published_toys
import recording_toys
import torch
import vpt_toys

from worldgym.actions import vpt
from worldgym.data.video_file import encode
from worldgym.judges.published.lpips import LPIPS
from worldgym.judges.vpt_idm import VPTConfig
from worldgym.models.files import published_files

IDM = VPTConfig(channels=2, width=1, features=32, hidden=64, heads=4, size=32)


class Brightness(torch.nn.Module):
    """In place of I3D: mean brightness of 4x100 parts of the clip."""

    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        return torch.nn.functional.adaptive_avg_pool3d(x.mean(1, keepdim=True), (4, 10, 10)).flatten(1)


def validation(folder, clips=3, frames=16):
    """MineWorld's layout: 384x224, action dictionaries line by line."""
    folder.mkdir()
    for number in range(clips):
        pictures = recording_toys.pictures(frames, 224, 384, seed=number)
        encode(pictures, folder / f"clip_{number}.mp4", 6)
        steps = [vpt.from_recording(step) for step in recording_toys.steps(frames, seed=number)]
        (folder / f"clip_{number}.jsonl").write_text("\n".join(json.dumps(step) for step in steps))


def judge(folder):
    torch.save(vpt_toys.random_state(IDM), folder / "4x_idm.weights")


def looks(folder, monkeypatch):
    """I3D, vouched for, and LPIPS, whose hashes are made known."""
    path = folder / "i3d_torchscript.pt"
    torch.jit.save(torch.jit.script(Brightness()), str(path))
    path.with_name(f"{path.name}.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    state = published_toys.random_state(LPIPS("alex").state_dict())
    heads = {f"lin{k}.model.1.weight": state.pop(f"heads.{k}")[None, :, None, None] for k in range(5)}
    for name, content in (("alexnet-owt-7be5be79.pth", state), ("lpips-alex.pth", heads)):
        torch.save(content, folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(published_files.FILES, name, dataclasses.replace(published_files.FILES[name], sha256=digest))


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
