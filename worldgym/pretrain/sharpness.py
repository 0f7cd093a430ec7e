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

from worldgym.judges.adversary import Adversary
from worldgym.judges.quality import Quality
from worldgym.zoo import load_judge

JUDGE = "doom-rooms/quality-reward"
BETAS = (0.5, 0.95)  # of both sides: with more momentum two players chase one another
ALONE, RISE = 0.1, 0.1  # shares of the budget: the adversary learns alone, then its weight rises
PENALTY, LAZY = 0.02, 8  # of the squared gradient of the adversary at true frames, taken every few steps (StyleGAN2)
PREFIX = "adversary/"


class Sharpness:
    """The terms beside squared error.

    Args:
        perceptual: weight of the distance on the quality net's stages.
        adversary: weight of the hinge term; 0 leaves the adversary out.
        matching: weight of the distance on the adversary's features, in units of `adversary`.
        width: channels of the adversary at half of the resolution.
        lr: its learning rate.
        begin: share of the budget from which on the adversary takes part.
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
        begin: float = 0.0,
    ):
        self.perceptual, self.weight, self.matching, self.begin = perceptual, adversary, matching, begin
        self.net = load_judge(JUDGE, Quality, device).requires_grad_(False)
        self.adversary = Adversary(seed, width, frames=1, plain=True).to(device)
        self.optimizer = torch.optim.AdamW(self.adversary.parameters(), lr=lr, betas=BETAS, weight_decay=0.0)
        self._peak = lr

    def __call__(self, made: Tensor, true: Tensor, step: int, rate: float, share: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms' weighted sum for the codec, after one step of the adversary; and what to log.

        Args:
            made, true: (B, H, W, 3) float in [0, 1]; the gradient goes to `made`.
            step: of the run.
            rate: factor on the adversary's rate.
            share: of the run's budget that is spent.
        """
        far = self.distance(made, true)
        total, logs = self.perceptual * far, {"perceptual": far.detach()}
        if not self.weight or share < self.begin:
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
        known = min(1.0, max(0.0, share - self.begin - ALONE) / RISE)
        return total + known * self.weight * (fooled + self.matching * match), logs

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
        """One step of the adversary: hinge loss, and every few steps a penalty on its gradient at true frames."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self._peak
        false, right = self.adversary(torch.cat([made, true])[:, None]).float().chunk(2)
        hinge = F.relu(1 + false).mean() + F.relu(1 - right).mean()
        loss = hinge + (LAZY * PENALTY * self._steepness(true) if step % LAZY == 0 else 0.0)
        loss.backward()
        nn.utils.clip_grad_norm_(self.adversary.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return hinge.detach()

    def _steepness(self, true: Tensor) -> Tensor:
        """Mean squared norm of the gradient of a frame's summed logits, for pixels in [-1, 1]; in float32."""
        with torch.autocast(true.device.type, enabled=False):
            pictures = true.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.adversary(pictures[:, None]).sum(), pictures, create_graph=True)
        return gradient.div(2).square().sum((1, 2, 3)).mean()


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features * torch.rsqrt(features.square().mean(1, keepdim=True) + 1e-4)
