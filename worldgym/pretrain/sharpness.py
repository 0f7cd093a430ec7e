"""What keeps a codec's pictures sharp: a distance on features of the reward quality net, and an adversary.

- `Sharpness`: both terms, the adversary's own optimizer, and its state for a resumed run.

Squared error alone pays for the mean of all textures that a latent could stand for, which is a blur. A distance on deep
features (LPIPS-like, arXiv 1801.03924) and a patch adversary with feature matching (VQGAN, arXiv 2012.09841) pay for a
texture that could be real. The quality net is the one used as a reward, never the one that evaluates.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym import rng
from worldgym.judges.loading import load_judge
from worldgym.judges.quality import Quality
from worldgym.trainers.adversary import CALM, NOISE, Adversary

JUDGE = "doom-rooms/quality-reward"
QUIET = 300  # steps before the adversary counts: first it must know something
PREFIX = "adversary/"


class Sharpness:
    """The terms beside squared error.

    Args:
        perceptual: weight of the distance on the quality net's stages.
        adversary: weight of the hinge term; 0 leaves the adversary out.
        matching: weight of the distance on the adversary's features, in units of `adversary`.
        width: channels of the adversary at half of the resolution.
        lr: its learning rate.
        seed: of its first weights.
        device: where it runs.
    """

    def __init__(
        self,
        perceptual: float,
        adversary: float,
        device: torch.device,
        seed: int = 0,
        matching: float = 2.0,
        width: int = 32,
        lr: float = 4e-4,
    ):
        self.perceptual, self.weight, self.matching = perceptual, adversary, matching
        self.net = load_judge(JUDGE, Quality, device).requires_grad_(False)
        self.adversary = Adversary(seed, width, frames=1).to(device)
        self.optimizer = torch.optim.AdamW(self.adversary.parameters(), lr=lr, betas=(0.5, 0.95), weight_decay=0.0)
        self._peak = lr

    def __call__(self, made: Tensor, true: Tensor, step: int, rate: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms' weighted sum for the codec, after one step of the adversary; and what to log.

        Args:
            made, true: (B, H, W, 3) float in [0, 1]; the gradient goes to `made`.
            step: of the run.
            rate: factor on the adversary's rate.
        """
        far = self.distance(made, true)
        total, logs = self.perceptual * far, {"perceptual": far.detach()}
        if not self.weight:
            return total, logs
        logs["adversary"] = self._learn(made.detach(), true, step, rate)
        self.adversary.requires_grad_(False)
        *features, logits = self.adversary.stages(made[:, None])
        with torch.no_grad():
            *goals, _ = self.adversary.stages(true[:, None])
        self.adversary.requires_grad_(True)
        match = torch.stack([(a.float() - b.float()).abs().mean() for a, b in zip(features, goals, strict=True)]).mean()
        fooled = -logits.float().mean()
        logs["matching"] = match.detach()
        return total + self.weight * (step >= QUIET) * (fooled + self.matching * match), logs

    def distance(self, made: Tensor, true: Tensor) -> Tensor:
        """Mean over the net's stages of the squared distance of features, each of mean square 1 over its channels."""
        with torch.no_grad():
            goals = self._stages(true)
        parts = [(_unit(a) - _unit(b)).square().mean() for a, b in zip(self._stages(made), goals, strict=True)]
        return torch.stack(parts).mean()

    def state(self) -> dict[str, Tensor]:
        """Tensors of adversary and optimizer, by name."""
        tensors = {f"{PREFIX}{name}": tensor for name, tensor in self.adversary.state_dict().items()}
        for name, parameter in self.adversary.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"{PREFIX}{name}@{key}": torch.as_tensor(value) for key, value in moments.items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        own = {key.removeprefix(PREFIX): value for key, value in tensors.items() if key.startswith(PREFIX)}
        self.adversary.load_state_dict({key: value for key, value in own.items() if "@" not in key})
        for name, parameter in self.adversary.named_parameters():
            moments = {key.split("@")[1]: value for key, value in own.items() if key.startswith(f"{name}@")}
            if moments:
                self.optimizer.state[parameter] = {
                    key: value if key == "step" else torch.empty_like(parameter, requires_grad=False).copy_(value)
                    for key, value in moments.items()
                }

    def _stages(self, pictures: Tensor) -> list[Tensor]:
        x, found = pictures.movedim(-1, 1) - 0.5, []
        for stage in self.net.body:
            x = stage(x)
            found.append(x)
        return found

    def _learn(self, made: Tensor, true: Tensor, step: int, rate: float) -> Tensor:
        """One step of the adversary: hinge loss, and how far its logits move under a little noise (approximates a gradient
        penalty, as in `adversary.rivalry`)."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self._peak
        both = torch.cat([made, true])[:, None]
        noise = torch.Generator(both.device).manual_seed(rng.torch_seed(0, "calm", step))
        near = both + NOISE * torch.randn(both.shape, generator=noise, device=both.device)
        logits = self.adversary(torch.cat([both, near])).float().unflatten(0, (4, -1))
        hinge = F.relu(1 + logits[0]).mean() + F.relu(1 - logits[1]).mean()
        calm = (logits[:2] - logits[2:]).square().mean()
        (hinge + 2 * CALM * calm).backward()
        nn.utils.clip_grad_norm_(self.adversary.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return hinge.detach()


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features * torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-4)
