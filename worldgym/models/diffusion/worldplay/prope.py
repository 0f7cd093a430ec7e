"""Cameras in attention: projective positional encoding (PRoPE, arXiv 2507.10496).

- `Lenses`: the projection of every latent's camera, and its inverse. `project`: apply 4x4 matrices to groups of 4 channels.

With P_i = diag(fx, fy, 1, 1) w2c_i, queries become P_i^T q, keys and values P_j^-1 k and P_j^-1 v, and what attention returns
P_i o. So a score q^T P_i P_j^-1 k depends only on how two cameras stand to each other: K_i w2c_i w2c_j^-1 K_j^-1.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Lenses:
    """Projections of F latents.

    Attributes:
        forward: (B, F, 4, 4) float32, P.
        inverse: (B, F, 4, 4) float32, P^-1.
    """

    forward: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, camera_to_world: Tensor, intrinsics: Tensor) -> Lenses:
        """From cameras (B, F, 4, 4) and normalised intrinsics (B, F, 3, 3); the principal point is not looked at."""
        cameras = camera_to_world.double()
        one = torch.ones_like(intrinsics[..., 0, 0], dtype=torch.float64)
        scale = torch.stack([intrinsics[..., 0, 0].double(), intrinsics[..., 1, 1].double(), one, one], -1)
        turned = cameras[..., :3, :3].mT
        world_to_camera = cameras.clone()
        world_to_camera[..., :3, :3] = turned
        world_to_camera[..., :3, 3:] = -turned @ cameras[..., :3, 3:]
        return cls((scale[..., :, None] * world_to_camera).float(), (cameras / scale[..., None, :]).float())


def project(x: Tensor, matrices: Tensor) -> Tensor:
    """Multiply every 4 neighbouring channels by the matrix of their latent.

    Args:
        x: (B, heads, F L, d), d a multiple of 4.
        matrices: (B, F, 4, 4).

    Returns:
        The shape and dtype of x; computed in float32.
    """
    frames = matrices.shape[1]
    cells = x.float().unflatten(2, (frames, -1)).unflatten(-1, (-1, 4)).flatten(3, 4)  # (B, heads, F, L d/4, 4)
    moved = cells @ matrices[:, None].mT
    return moved.unflatten(3, (-1, x.shape[-1] // 4)).flatten(-2).flatten(2, 3).to(x.dtype)
