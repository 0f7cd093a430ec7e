"""The papers' settings and those for a small machine, by name; every field can be overridden on the command line.

- `PRESETS`: by algorithm and name. `preset(algorithm, name)`: its fields.
"""

from __future__ import annotations

from typing import Any

from worldgym.errors import InputError, unknown

DIFFUSION = "doom-rooms/diffusion-nano-v3"  # the best of the three that are bundled
# RLIR (arXiv 2509.23958), appendix A.3
RLIR_TOKEN = {
    "model": "doom-rooms/token-nano",
    "reward": ("idm",),
    "prompt_batch": 32,
    "group": 24,
    "lr": 3e-5,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "top_p": 0.8,
}
RLIR_DIFFUSION = {
    "model": DIFFUSION,
    "reward": ("idm",),
    "prompt_batch": 16,
    "group": 24,
    "lr": 1e-5,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "logprob": "mean",
    "denoise_steps": 10,
    "noise": "rlir",
    "noise_level": 0.75,
    "step_share": 0.6,
    "micro": 1,
}
# What one CPU core can do in an hour: smaller groups, each frame credited with its own reward, two updates per iteration and
# larger steps after a warm-up (Adam's first ones are as long as they get).
NANO = {"prompt_batch": 8, "group": 8, "credit": "frame", "minibatches": 2, "warmup": 0.08, "final_lr": 0.1, "ema": 0.9}
# Four frames instead of 16: four times the rollouts in the same time, and the first frames are where credit is clearest.
NANO_TOKEN = {
    **NANO,
    "frames": 4,
    "prompt_batch": 16,
    "group": 16,
    "micro": 32,
    "lr": 5e-4,
    "advantage": "global",
    "discount": 0.5,
}
NANO_DIFFUSION = {**NANO, "lr": 2e-4, "last_noise": False, "step_share": 0.3}
# WorldCompass (arXiv 2602.09022) as released
WORLDCOMPASS = {
    "model": DIFFUSION,
    "reward": ("if=2", "drift=1"),
    "level": "clip",
    "span": 4,
    "curriculum": "cycle",
    "terms": "each",
    "advantage": "global",
    "advantage_clip": 2.0,
    "prompt_batch": 8,
    "group": 12,
    "best_of": 6,
    "denoise_steps": 40,
    "shift": 5.0,
    "step_share": 0.5,
    "minibatches": 3,
    "lr": 1e-5,
    "weight_decay": 0.01,
    "final_lr": 1.0,
    "grad_clip": 2.0,
    "ema": 0.9,
    "old": "ema",
}
NANO_COMPASS = {"denoise_steps": 10, "shift": 1.0, "lr": 3e-4, "prompt_batch": 8, "group": 12, "best_of": 4, "step_share": 0.3}
# Candidates of one frame, whose reward is its own; all of them learn, not the best and worst only
ONE_FRAME = {"span": 1, "due": "clip", "prompt_batch": 16, "group": 16, "best_of": 0, "minibatches": 2, "micro": 32}
# RLIR's reward, WorldCompass' algorithm. Of ten noise levels the first two, because what moves is decided there
RLIR_NFT = {**ONE_FRAME, "reward": ("idm=2", "pixel=1"), "frames": 6, "early": 0.2, "step_share": 0.1, "ema": 0.95}
# WorldCompass alike: all frames of a video have their turn
COMPASS_CLIP = {
    **ONE_FRAME,
    "reward": ("if=2", "drift=1"),
    "frames": 16,
    "denoise_steps": 4,
    "early": 0.5,
    "step_share": 0.25,
    "ema": 0.97,
    "final_lr": 0.05,
}
DIFFUSION_NFT = {
    "model": DIFFUSION,
    "reward": ("idm",),
    "prompt_batch": 48,
    "group": 24,
    "lr": 3e-4,
    "weight_decay": 1e-4,
    "advantage": "global",
    "advantage_clip": 5.0,
    "denoise_steps": 10,
    "step_share": 1.0,
    "kl": 1e-4,
    "loss_scale": 5.0,
    "old_decay": 0.0,
    "old_growth": 0.001,
    "old_limit": 0.5,
    "ema": 0.9,
}
FLOW_GRPO = {
    **RLIR_DIFFUSION,
    "prompt_batch": 48,
    "lr": 3e-4,
    "weight_decay": 1e-4,
    "advantage": "global",
    "noise": "flow-grpo",
    "noise_level": 0.7,
    "clip_low": 1e-4,
    "clip_high": 1e-4,
    "step_share": 0.99,
    "kl": 0.04,
}
DANCE_GRPO = {
    **RLIR_DIFFUSION,
    "noise": "dance-grpo",
    "noise_level": 0.25,
    "denoise_steps": 16,
    "clip_low": 1e-4,
    "clip_high": 1e-4,
    "weight_decay": 1e-4,
    "same_noise": True,
    "last_noise": False,
}

# Ours: the gradient of RLIR's judge, of a second one that sees in another way, and of pixels that hold both back; short
# videos in few steps, one model pass per update
RLIR_DRAFT = {
    "model": DIFFUSION,
    "reward": ("idm=1", "if=1", "pixel=5"),
    "frames": 8,
    "denoise_steps": 4,
    "prompt_batch": 24,
    "group": 1,
    "micro": 32,
    "step_share": 0.25,
    "lr": 5e-4,
    "warmup": 0.05,
    "final_lr": 0.05,
    "ema": 0.95,
}
RLIR_DRAFT_TOKEN = {
    **RLIR_DRAFT,
    "model": "doom-rooms/token-nano",
    "frames": 6,
    "prompt_batch": 32,
    "micro": 16,
    "top_p": 0.8,
}
# A later stage: longer videos in more steps, beside a judge of looks that learns and gives some of the lost looks back
RLIR_DRAFT_ADVERSARY = {
    **RLIR_DRAFT,
    "reward": ("idm=1", "if=1", "pixel=20"),
    "frames": 12,
    "denoise_steps": 8,
    "prompt_batch": 16,
    "step_share": 0.125,
    "lr": 3e-4,
    "adversary": 2.0,
    "adversary_lr": 5e-4,
}
COMPASS_DRAFT = {**RLIR_DRAFT, "reward": ("if=4", "pixel=5"), "frames": 9, "prompt_batch": 20}
# In one run from the base: the turn from interaction following, the walk beside it from inverse dynamics, looks from the
# adversary and from not going far
COMPASS_DRAFT_ADVERSARY = {
    **RLIR_DRAFT_ADVERSARY,
    "reward": ("idm=1.5", "if=1.5", "pixel=15"),
    "lr": 4e-4,
    "kl": 0.25,
    "adversary": 2.5,
    "ema": 0.97,
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "grpo": {
        "rlir-token": RLIR_TOKEN,
        "rlir-token-kl": {**RLIR_TOKEN, "kl": 1e-4},
        "rlir-token-nano": {**RLIR_TOKEN, **NANO_TOKEN},
        "rlir-diffusion": RLIR_DIFFUSION,
        "rlir-diffusion-nano": {**RLIR_DIFFUSION, **NANO_DIFFUSION},
        "rlvr-world": {**RLIR_TOKEN, "reward": ("pixel",), "group": 16, "prompt_batch": 8, "lr": 5e-5, "kl": 1e-3},
        "flow-grpo": FLOW_GRPO,
        "dance-grpo": DANCE_GRPO,
    },
    "nft": {
        "worldcompass": WORLDCOMPASS,
        "worldcompass-released": {**WORLDCOMPASS, "old": "detached"},
        "worldcompass-nano": {**WORLDCOMPASS, **NANO_COMPASS},
        "worldcompass-clip-nano": {**WORLDCOMPASS, **NANO_COMPASS, **COMPASS_CLIP},
        "rlir-nft-nano": {**WORLDCOMPASS, **NANO_COMPASS, **RLIR_NFT},
        "diffusion-nft": DIFFUSION_NFT,
    },
    "draft": {
        "rlir-draft-nano": RLIR_DRAFT,
        "rlir-draft-token-nano": RLIR_DRAFT_TOKEN,
        "rlir-draft-adversary-nano": RLIR_DRAFT_ADVERSARY,
        "worldcompass-draft-nano": COMPASS_DRAFT,
        "worldcompass-draft-adversary-nano": COMPASS_DRAFT_ADVERSARY,
    },
}
FIRST = {"grpo": "rlir-token-nano", "nft": "worldcompass-nano", "draft": "rlir-draft-nano"}


def preset(algorithm: str, name: str) -> dict[str, Any]:
    """The fields that a preset sets.

    Raises:
        InputError: there is no such preset; names the nearest.
    """
    homes = [each for each in PRESETS if name in PRESETS[each]]
    if homes and algorithm not in homes:
        command = f"python -m worldgym.train {homes[0]} --preset {name}"
        raise InputError(f"{name!r} is a preset of {homes[0]}, not of {algorithm}; type: {command}")
    if name not in PRESETS[algorithm]:
        raise unknown(f"{algorithm} preset", name, PRESETS[algorithm])
    return dict(PRESETS[algorithm][name])
