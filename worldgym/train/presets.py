"""The papers' settings and those for a small machine, by algorithm and kind of model; every field can be overridden.

- `PRESETS`: (algorithm, kind) -> name -> `Settings`; the first of each is the one that is taken when none is named.
- `find(algorithm, name, kind)`: one of them.
"""

from __future__ import annotations

from worldgym.errors import InputError, unknown
from worldgym.train.config import replaced, section_classes
from worldgym.train.draft import DiffusionDraft, TokenDraft
from worldgym.train.grpo import DiffusionGrpo, TokenGrpo
from worldgym.train.nft import NftSettings
from worldgym.train.settings import DiffusionRollout, Optimisation, Settings, Task, TokenRollout

TOKEN = Task(model="doom-rooms/token-nano")
DIFFUSION = Task(model="doom-rooms/diffusion-nano-v3")  # the best of those that are bundled
# RLIR (arXiv 2509.23958), appendix A.3
RLIR_TOKEN = Settings(
    task=TOKEN,
    rollout=TokenRollout(prompt_batch=32, group=24, top_p=0.8),
    algorithm=TokenGrpo(clip=0.2),
    optimisation=Optimisation(lr=3e-5),
)
RLIR_DIFFUSION = Settings(
    task=DIFFUSION,
    rollout=DiffusionRollout(prompt_batch=16, group=24, denoise_steps=10),
    algorithm=DiffusionGrpo(clip=0.2, noise="rlir", noise_level=0.75, step_share=0.6),
    optimisation=Optimisation(lr=1e-5, micro=1),
)
# What one CPU core can do in an hour: smaller groups, each frame credited with its own reward, two updates per iteration and
# larger steps after a warm-up (Adam's first ones are as long as they get).
NANO = {"prompt_batch": 8, "group": 8, "frame_discount": 0.0, "minibatches": 2, "warmup": 0.08, "final_lr": 0.1, "ema": 0.9}
# Four frames instead of 16: four times the rollouts in the same time, and the first frames are where credit is clearest.
FOUR_FRAMES = {"frames": 4, "prompt_batch": 16, "group": 16, "micro": 32, "lr": 5e-4, "frame_discount": 0.5}
# WorldCompass (arXiv 2602.09022) as released
WORLDCOMPASS = Settings(
    task=Task(model=DIFFUSION.model, reward=("if=2", "drift=1")),
    rollout=DiffusionRollout(prompt_batch=8, group=12, denoise_steps=40, shift=5.0),
    algorithm=NftSettings(
        compare="cycle", span=4, terms="each", advantage="global", advantage_clip=2.0, best_of=6, step_share=0.5
    ),
    optimisation=Optimisation(minibatches=3, lr=1e-5, weight_decay=0.01, final_lr=1.0, grad_clip=2.0, ema=0.9),
)
COMPASS_NANO = replaced(WORLDCOMPASS, denoise_steps=10, shift=1.0, lr=3e-4, best_of=4, step_share=0.3)
# Candidates of one frame, whose reward is its own; all of them learn, not the best and worst only
ONE_FRAME = replaced(COMPASS_NANO, span=1, prompt_batch=16, group=16, best_of=0, minibatches=2, micro=32)
# WorldCompass alike: all frames of a video have their turn
COMPASS_CLIP = replaced(ONE_FRAME, denoise_steps=4, early=0.5, step_share=0.25, ema=0.97, final_lr=0.05)
# RLIR's reward, WorldCompass' algorithm. Of ten noise levels the first two, because what moves is decided there
RLIR_NFT = replaced(ONE_FRAME, reward=("idm=2", "pixel=1"), frames=6, early=0.2, step_share=0.1, ema=0.95)
DIFFUSION_NFT = Settings(
    task=DIFFUSION,
    rollout=DiffusionRollout(prompt_batch=48, group=24, denoise_steps=10),
    algorithm=NftSettings(advantage="global", kl=1e-4, loss_scale=5.0, old="diffusion-nft"),
    optimisation=Optimisation(lr=3e-4, weight_decay=1e-4, ema=0.9),
)
FLOW_GRPO = Settings(
    task=DIFFUSION,
    rollout=DiffusionRollout(prompt_batch=48, group=24, denoise_steps=10),
    algorithm=DiffusionGrpo(advantage="global", noise="flow-grpo", noise_level=0.7, clip=1e-4, step_share=0.99, kl=0.04),
    optimisation=Optimisation(lr=3e-4, micro=1, weight_decay=1e-4),
)
DANCE_GRPO = Settings(
    task=DIFFUSION,
    rollout=DiffusionRollout(prompt_batch=16, group=24, denoise_steps=16),
    algorithm=DiffusionGrpo(
        noise="dance-grpo", noise_level=0.25, clip=1e-4, same_noise=True, last_noise=False, step_share=0.6
    ),
    optimisation=Optimisation(lr=1e-5, micro=1, weight_decay=1e-4),
)
# Ours: the gradient of RLIR's judge, of a second one that sees in another way, and of pixels that hold both back; short
# videos in few steps, one model pass per update
JUDGES = ("idm=1", "if=1", "pixel=5")
GENTLE = Optimisation(micro=32, lr=5e-4, warmup=0.05, final_lr=0.05, ema=0.95)
RLIR_DRAFT = Settings(
    task=Task(model=DIFFUSION.model, reward=JUDGES, frames=8),
    rollout=DiffusionRollout(denoise_steps=4, prompt_batch=24, group=1),
    algorithm=DiffusionDraft(step_share=0.25),
    optimisation=GENTLE,
)
RLIR_DRAFT_TOKEN = Settings(
    task=Task(model=TOKEN.model, reward=JUDGES, frames=6),
    rollout=TokenRollout(prompt_batch=32, group=1, top_p=0.8),
    algorithm=TokenDraft(),
    optimisation=Optimisation(micro=16, lr=5e-4, warmup=0.05, final_lr=0.05, ema=0.95),
)

PRESETS: dict[tuple[str, str], dict[str, Settings]] = {
    ("grpo", "token"): {
        "rlir-token-nano": replaced(RLIR_TOKEN, **NANO | FOUR_FRAMES, advantage="global"),
        "rlir-token": RLIR_TOKEN,
        "rlir-token-kl": replaced(RLIR_TOKEN, kl=1e-4),
        "rlvr-world": replaced(RLIR_TOKEN, reward=("pixel",), group=16, prompt_batch=8, lr=5e-5, kl=1e-3),
    },
    ("grpo", "diffusion"): {
        "rlir-diffusion-nano": replaced(RLIR_DIFFUSION, **NANO, lr=2e-4, last_noise=False, step_share=0.3),
        "rlir-diffusion": RLIR_DIFFUSION,
        "flow-grpo": FLOW_GRPO,
        "dance-grpo": DANCE_GRPO,
    },
    ("nft", "diffusion"): {
        "worldcompass-nano": COMPASS_NANO,
        "worldcompass-clip-nano": COMPASS_CLIP,
        "worldcompass": WORLDCOMPASS,
        "worldcompass-released": replaced(WORLDCOMPASS, old="detached"),
        "rlir-nft-nano": RLIR_NFT,
        "diffusion-nft": DIFFUSION_NFT,
    },
    ("draft", "diffusion"): {"rlir-draft-nano": RLIR_DRAFT},
    ("draft", "token"): {"rlir-draft-token-nano": RLIR_DRAFT_TOKEN},
}


def names(algorithm: str) -> list[str]:
    """Names of an algorithm's presets."""
    return [name for (owner, _), group in PRESETS.items() if owner == algorithm for name in group]


def find(algorithm: str, name: str | None, kind: str | None) -> tuple[str, Settings]:
    """Name and settings of a preset.

    Args:
        algorithm: "grpo", "nft" or "draft".
        name: of the preset; the first one for this kind of model when left out.
        kind: of the model that is asked for, if one is: "token" or "diffusion".

    Raises:
        InputError: no such preset, one of another algorithm, or one for another kind of model.
    """
    if name is None:
        kind = kind or next(k for owner, k in PRESETS if owner == algorithm)
        section_classes(algorithm, kind)  # refuses a kind that the algorithm does not train
        return next(iter(PRESETS[algorithm, kind].items()))
    homes = [home for home, group in PRESETS.items() if name in group]
    if not homes:
        raise unknown(f"{algorithm} preset", name, names(algorithm))
    (owner, trains), *_ = homes
    if owner != algorithm:
        raise InputError(f"{name!r} is a preset of {owner}: python -m worldgym.train {owner} --preset {name}")
    if kind not in (None, trains):
        others = ", ".join(PRESETS.get((algorithm, kind), ())) or "none"
        raise InputError(f"the preset {name!r} is for {trains} models, but --model is a {kind} model; for those: {others}")
    return name, PRESETS[owner, trains][name]
