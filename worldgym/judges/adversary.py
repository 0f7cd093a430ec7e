"""A judge of looks that learns beside the policy: which of two videos is the game?

- `Adversary`: patches of neighbouring frames to logits.
- `realism`: what a policy is paid. `rivalry`: what the adversary learns from.

A frozen judge of looks has blind spots, and a gradient finds them (baselines/README.md, "Both rewards, further"). One that is
trained all along on the policy's present videos closes them as they open: the adversarial reward of Adv-GRPO (arXiv
2511.20256), here by its gradient, as in adversarial post-training of diffusion models (arXiv 2501.08316). What true videos
are compared with are the policy's own on the same prompt (relativistic pairing, arXiv 2501.05441).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from worldgym.rng import generator, torch_seed

# Of pictures in [0, 1], and what their logits' distance weighs. By trial: with 0.01 and 100, at larger rates, its loss jumped
NOISE, CALM = 0.02, 1000.0


class Adversary(nn.Module):
    """Convolutions over neighbouring frames; one logit for every 8x8 pixels.

    Args:
        seed: of the first weights.
        width: channels at half of the resolution; twice as many at a quarter, four times at an eighth.
        frames: n, neighbouring frames that are looked at together; 1 judges single pictures.
        plain: kernels of 4x4 that halve the resolution and no residual block, a patch discriminator as in pix2pix
            (arXiv 1611.07004): it learns in fewer steps, and as a judge of single pictures it was the better teacher.
    """

    def __init__(self, seed: int, width: int = 24, frames: int = 2, plain: bool = False):
        super().__init__()
        self.frames = frames
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(seed, "adversary"))
            kernel = 4 if plain else 3
            self.body = nn.Sequential(
                nn.PixelUnshuffle(2),
                nn.Conv2d(12 * frames, width, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 2 * width, kernel, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(2 * width, 4 * width, kernel, 2, 1),
                *([] if plain else [_Residual(4 * width)]),
                nn.LeakyReLU(0.2),
                nn.Conv2d(4 * width, 1, 3, padding=1) if plain else nn.Conv2d(4 * width, 1, 1),
            ).to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, T, H, W, 3) float in [0, 1], H and W multiples of 8 -> (B, T-n+1, H/8, W/8) logits, high for the game."""
        return self.stages(pictures)[-1][:, 0].unflatten(0, (len(pictures), -1))

    def stages(self, pictures: Tensor) -> list[Tensor]:
        """Features after each convolution, from fine to coarse, the logits last: (B (T-n+1), C, h, w) each."""
        last = pictures.shape[1] - self.frames + 1
        together = torch.cat([pictures[:, i : i + last] for i in range(self.frames)], -1)
        x, found = 2 * together.flatten(0, 1).movedim(-1, 1) - 1, []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return [*found, x]


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))


def realism(adversary: Adversary, pictures: Tensor, true: Tensor) -> Tensor:
    """log sigmoid(D(pictures) - D(true)), mean over a frame's patches: (B, T-1), at most 0; log 1/2 where nothing tells.

    The gradient goes to the pictures alone.

    Args:
        adversary: D.
        pictures: (B, T, H, W, 3) float in [0, 1].
        true: the same, of what truly happened after the same first frames.
    """
    weights = {name: p.detach() for name, p in adversary.named_parameters()}
    made = functional_call(adversary, weights, (pictures,))
    with torch.no_grad():
        goal = adversary(true)
    return F.logsigmoid(made - goal).mean((2, 3))


def rivalry(adversary: Adversary, pictures: Tensor, true: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The adversary's loss, and the share of patches where the true one has the higher logit.

    Mean of -log sigmoid(D(true) - D(pictures)), and how far logits move under a little noise (gradient penalties of both
    sides, approximated: arXiv 2501.05441, 2501.08316). Without, it soon knows everything and teaches nothing.

    Args:
        adversary, pictures, true: as in `realism`; the gradient goes to the adversary alone.
        seeds: B integers, of the rows' noise.
    """
    both = torch.stack([pictures.detach(), true])
    drawn = [generator(seed, "noise").standard_normal((2, *true.shape[1:]), dtype="float32") for seed in seeds]
    noise = torch.from_numpy(np.stack(drawn, 1)).to(both.device)
    made, goal = logits = adversary(both.flatten(0, 1)).unflatten(0, (2, -1))
    near = adversary((both + NOISE * noise).flatten(0, 1)).unflatten(0, (2, -1))
    calm = (logits - near).square().mean((1, 2, 3, 4)).sum()
    return F.softplus(made - goal).mean() + CALM * calm, (goal > made).float().mean()
