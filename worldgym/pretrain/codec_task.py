"""Training a codec on single frames.

- `CodecTask`: random frames of training clips; validated by PSNR on held-out seeds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from worldgym import rng, zoo
from worldgym.errors import InputError
from worldgym.models.codecs import codec as codecs
from worldgym.pretrain import optim
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import CodecRunConfig
from worldgym.pretrain.networks import configure
from worldgym.pretrain.sharpness import BETAS, Sharpness
from worldgym.runs import schedule


class CodecTask:
    """Frames to codes or latents and back; see `worldgym.pretrain.task.Task`."""

    def __init__(self, config: CodecRunConfig, device: torch.device):
        if config.decoder_only and config.init is None:
            raise InputError("--decoder-only needs --init, the codec whose encoder stays as it is")
        self.config, self.device = config, device
        self.kind = f"{config.kind}-codec"
        self.clips = Clips.open(config.data)
        self.origin = self.clips.origin
        self.companion = None
        self.betas = BETAS if config.adversary else optim.BETAS
        if config.perceptual or config.adversary:
            terms = config.perceptual, config.adversary
            self.companion = Sharpness(*terms, device, config.seed, begin=config.adversary_from)

    def build(self) -> nn.Module:
        """A `FrameCodec` or `LatentCodec` for frames of the store's size."""
        if self.config.init is not None:
            return self._initial(self.config.init)
        presets = codecs.FRAME_PRESETS if self.config.kind == "frame" else codecs.LATENT_PRESETS
        cls = codecs.FrameCodec if self.config.kind == "frame" else codecs.LatentCodec
        return cls(configure(presets, self.config.preset, self.config.override, **self.clips.picture))

    def _initial(self, name: str) -> nn.Module:
        module = zoo.load_codec(name, self.kind).requires_grad_(True).train()
        if self.config.decoder_only:
            module.encoder.requires_grad_(False)
        return module

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """The codec's own loss on single frames, each from another clip, and what keeps them sharp."""
        count = self.config.batch_frames
        clips = self.clips.rows(self.config.seed, step, count)
        moments = rng.generator(self.config.seed, "moments", step).integers(self.clips.length, size=count)
        frames = torch.from_numpy(self.clips.store.frames[clips, moments]).to(self.device)
        truth, guess, extra = module.reconstruct(frames)
        loss, logs = codecs.reconstruction(truth, guess, extra)
        if self.companion is None:
            return loss, logs
        rate = schedule.learning_rate(share, self.config.warmup, self.config.final_lr, self.config.decay)
        true, made = ((picture.float().movedim(1, -1) + 1) / 2 for picture in (truth, guess))
        more, found = self.companion(made, true, step, rate, share)
        return loss + more, {**logs, **found}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Mean PSNR in dB over held-out frames, and the share of codes in use where there are codes."""
        clips, moments = self.clips.held_out(self.config.validate_frames // 4, min(4, self.clips.length))
        values, used = [], set()
        for piece in zip(clips[:, None], moments[:, None], strict=True):
            frames = self.clips.frames(*piece, self.device)[0]
            code = module.encode(frames)
            values.append(psnr(frames, module.decode(code)))
            if self.config.kind == "frame":
                used.update(code.unique().tolist())
        scores = {"psnr": float(np.concatenate(values).mean())}
        return {**scores, "codes_used": len(used) / module.codes} if used else scores


def psnr(truth: torch.Tensor, guess: torch.Tensor) -> np.ndarray:
    """(B, H, W, 3) uint8 twice -> (B,) 10 log10(255^2 / MSE) in dB, at most 100."""
    error = (truth.double() - guess.double()).square().mean((1, 2, 3)).cpu().numpy()
    return np.minimum(10 * np.log10(255**2 / np.maximum(error, 1e-10)), 100.0)
