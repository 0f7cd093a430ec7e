"""A whole data set behind a codec: encoded once, kept in memory, and on disk for the next run.

- `encoded(clips, codec, folder, …)`: (N, T, …) codes or latents of all clips of a store.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from worldgym.data.clips import ClipStore
from worldgym.files import atomic_path, output_folder

PIECE = 8  # clips that go through the codec together; a training set needs no bits that are equal on all machines


def encoded(store: ClipStore, codec: nn.Module, codec_sha256: str, folder: Path, device: torch.device) -> np.ndarray:
    """Codes (N, T, L) int32 or latents (N, T, C, h, w) float16 of a store's clips.

    Read from `folder` if they are there under the hashes of data and codec, otherwise made and written there, atomically.
    """
    path = output_folder(folder) / f"data-{store.sha256[:16]}-codec-{codec_sha256[:16]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    codes = _encode(store, codec.to(device), device)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, codes, allow_pickle=False)
        file.flush()
    return codes


@torch.no_grad()
def _encode(store: ClipStore, codec: nn.Module, device: torch.device) -> np.ndarray:
    pieces = []
    for start in tqdm(range(0, len(store), PIECE), desc="encode the data set", unit=f"x{PIECE} clips", mininterval=1):
        code = codec.encode(torch.from_numpy(np.array(store.frames[start : start + PIECE])).to(device))
        pieces.append(code.to(torch.float16 if code.is_floating_point() else torch.int32).cpu().numpy())
    return np.concatenate(pieces)
