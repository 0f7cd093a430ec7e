"""World models' own clips beside the true ones, for judges that should tell them apart: made once, kept on disk.

- `generated(name, clips, …)`: (m, T, H, W, 3) what a world model makes of recorded clips' first frames and actions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from worldgym import zoo
from worldgym.data.clips import ClipStore
from worldgym.data.prompts import store_prompts
from worldgym.errors import InputError
from worldgym.files import atomic_path, output_folder
from worldgym.models.world_model import WorldModel
from worldgym.rng import torch_seed

SAMPLING = {"token": {"top_p": 0.8}, "diffusion": {}}
PIECE = 16  # clips that are generated together


def generated(
    name: str, digest: str, store: ClipStore, clips: np.ndarray, frames: int, seed: int, folder: Path, device: torch.device
) -> np.ndarray:
    """Clips of a world model, uint8; frame 0 is the recorded one.

    Read from `folder` if they are there under the hashes of data and model, otherwise made and written there, atomically.

    Args:
        name: world model, by zoo name or path.
        digest: sha256 of its file.
        store: recorded clips.
        clips: (m,) indices into the store.
        frames: T.
        seed: of the models' noise.
        folder: where results are kept.
        device: where the model runs.
    """
    key = torch_seed(seed, digest, store.sha256, frames, *clips.tolist())
    path = output_folder(folder) / f"generated-{key:016x}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    made = _generate(name, store, clips, frames, seed, device)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, made, allow_pickle=False)
        file.flush()
    return made


def _generate(name: str, store: ClipStore, clips: np.ndarray, frames: int, seed: int, device: torch.device) -> np.ndarray:
    model = zoo.load(name, device)
    if not isinstance(model, WorldModel):
        raise InputError(f"{name!r} is a {type(model).__name__}, but a world model is needed here")
    pieces = []
    for start in tqdm(range(0, len(clips), PIECE), desc=f"clips of {name}", unit=f"x{PIECE} clips", mininterval=1):
        chosen = clips[start : start + PIECE]
        prompts = store_prompts(store, chosen, np.zeros(len(chosen), int), frames)
        seeds = [torch_seed(seed, "generated", clip) for clip in prompts.ids]
        pieces.append(model.generate(prompts.prefix, prompts.actions, seeds, **SAMPLING[model.kind]).numpy())
    return np.concatenate(pieces)
