"""Windows of encoded frames: what both families of world model train on.

- `Windows`: encoded clips; `batch(step, share)`, `scores(loss)` and `initial(...)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from worldgym import rng, zoo
from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import WorldModelRunConfig
from worldgym.pretrain.encoded import encoded
from worldgym.runs import schedule

Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of codes and actions


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A store behind the codec.

    Attributes:
        clips: the store and its splits.
        codes: (N, T, …) codes or latents of all its clips, on the device that trains.
        actions: (N, T-1, A) int64, likewise.
    """

    clips: Clips
    codes: torch.Tensor
    actions: torch.Tensor

    @classmethod
    def of(cls, clips: Clips, codes: np.ndarray, device: torch.device) -> Source:
        """A store and its codes, moved to where they are used."""
        actions = torch.from_numpy(np.array(clips.store.actions, np.int64))
        return cls(clips, torch.from_numpy(codes).to(device), actions.to(device))

    def cut(self, clips: np.ndarray, moments: np.ndarray, device: torch.device) -> Batch:
        """Codes (B, t, …) and actions (B, t-1, A) of clips (B,) at moments (B, t)."""
        rows, columns = (torch.from_numpy(np.array(x)).to(device) for x in (clips[:, None], moments))
        codes = self.codes[rows, columns]
        return codes.float() if codes.is_floating_point() else codes.long(), self.actions[rows, columns[:, :-1]]


class Windows:
    """Stores encoded by the codec named in the config.

    Attributes:
        codec: frozen, on the device.
        clips: the store of `--data`.
        origin: JSON that identifies data and codec.
    """

    def __init__(self, config: WorldModelRunConfig, device: torch.device, kind: str):
        self.config, self.device = config, device
        self.codec: nn.Module = zoo.load_codec(config.codec, kind, device)
        digest = sha256(zoo.locate(config.codec))
        folder = config.cache or config.out.resolve().parent / "encoded"
        stores = {"": Clips.open(config.data)} | ({"held_": Clips.open(config.held)} if config.held else {})
        self.clips = stores[""]
        for clips in stores.values():
            if clips.origin["spec"] != self.clips.origin["spec"] or clips.picture != self.clips.picture:
                raise InputError(f"the clips in {str(config.held)!r} (--held) have another action spec or size than --data")
        self.sources = {
            name: Source.of(clips, encoded(clips.store, self.codec, digest, folder, device), device)
            for name, clips in stores.items()
        }
        self.origin = {**self.clips.origin, "codec": config.codec, "codec_sha256": digest}
        if config.held:
            self.origin["held_sha256"] = stores["held_"].store.sha256

    def batch(self, step: int, share: float) -> Batch:
        """A step's windows of consecutive frames, anywhere in training clips: codes (B, t, …), actions (B, t-1, A).

        The last `held_share` of the rows, rounded, are windows of the clips of `--held`.
        """
        length = self.length(step, share)
        return self._draw(self.config.seed, step, max(1, self.config.batch_frames // length), length)

    def draw(self, name: str, step: int, rows: int, length: int) -> Batch:
        """Other windows than any step's, under a name of their own, in mixed order: as `batch`."""
        codes, actions = self._draw(rng.torch_seed(self.config.seed, name, step), 0, rows, length)
        order = torch.from_numpy(rng.generator(self.config.seed, name, step).permutation(rows)).to(self.device)
        return codes[order], actions[order]

    def _draw(self, seed: int, step: int, rows: int, length: int) -> Batch:
        held = round(rows * self.config.held_share) if self.config.held else 0
        counts = {"": rows - held, "held_": held}
        parts = [
            source.cut(*source.clips.windows(seed, step, counts[name], length), self.device)
            for name, source in self.sources.items()
            if counts[name]
        ]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def scores(self, fresh: Callable[[], Loss]) -> dict[str, float]:
        """Mean of a loss over whole held-out clips: "loss", and "held_loss" where there is `--held`.

        "action_ratio" is the loss with the actions of other clips over the loss: 1 says that actions are not looked at.

        Args:
            fresh: gives a function of codes and actions; each one it gives draws the same noise.
        """
        loss, other = fresh(), fresh()
        scores = {f"{name}loss": self._mean(source, loss) for name, source in self.sources.items()}
        others = self._mean(self.sources[""], lambda codes, actions: other(codes, actions.roll(1, 0)))
        return {**scores, "action_ratio": others / scores["loss"]}

    def _mean(self, source: Source, loss: Loss) -> float:
        clips, moments = source.clips.held_out(self.config.validate_frames // self.longest, self.longest)
        count = max(1, moments.size // self.config.batch_frames)  # pieces that cost as much as a step
        pieces = zip(np.array_split(clips, count), np.array_split(moments, count), strict=True)
        return sum(float(loss(*source.cut(*piece, self.device))) * len(piece[0]) for piece in pieces) / len(clips)

    def length(self, step: int, share: float) -> int:
        """Frames per window of a step."""
        config = self.config
        if not config.mixed:
            return schedule.window(share, config.window, self.longest, config.final_share)
        lengths, shares = zip(*config.mixed, strict=True)
        drawn = rng.generator(config.seed, "length", step).choice(lengths, p=np.array(shares) / sum(shares))
        return min(int(drawn), *(source.clips.length for source in self.sources.values()))

    @property
    def longest(self) -> int:
        """Frames of the final window."""
        return min(self.config.final_window, *(source.clips.length for source in self.sources.values()))

    def initial(self, name: str, kind: str) -> nn.Module:
        """The network of the world model `name`, ready to be trained on.

        Raises:
            InputError: it is of another kind, or was trained behind another codec or with another action spec.
        """
        model = zoo.load(name)
        if getattr(model, "kind", None) != kind:
            raise InputError(f"--init takes a {kind} model, and {name!r} is none")
        found = zoo.origin(name)[1].get("codec_sha256")
        if found != self.origin["codec_sha256"]:
            raise InputError(
                f"--init {name!r} was trained behind another codec than {self.config.codec!r} (sha256 differs); "
                "give its own with --codec"
            )
        if model.spec.name != self.origin["spec"]:
            raise InputError(f"--init {name!r} has the action spec {model.spec.name!r}, the clips {self.origin['spec']!r}")
        return model.model.requires_grad_(True).train()
