"""Do two judges want a video changed the same way? Cosines of their gradients, before either is followed.

    python baselines/judge_gradients.py --judges doom-rooms/idm-reward doom-rooms/idm-heldout --clips data/rooms

A trainer that follows one judge's gradient (`worldgym.train.draft`) gains by another judge as far as both point the same
way. Videos of a world model after first frames from validation seeds; the gradient of the mean log-probability of the
commanded actions in what the codec decodes (latents, or the values of codes). Judges joined by a plus are one committee. Mean
cosine over clips with its 95 % interval (percentile bootstrap over clips).
"""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
import tyro

import worldgym
from worldgym.data.clips import ClipStore
from worldgym.errors import InputError, exit_with_sentence
from worldgym.eval.results.statistics import Bootstrap
from worldgym.files import write_json
from worldgym.judges.inverse_dynamics import InverseDynamics, probabilities_of
from worldgym.models.codecs.codec import as_shown
from worldgym.rng import generator
from worldgym.zoo import load_judge


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare the gradients of inverse dynamics judges on a world model's videos."""

    judges: tuple[str, ...]
    """At least two: names or files; a+b is a committee of a and b."""
    model: str = "doom-rooms/token-nano"
    """World model whose videos are judged."""
    clips: str = "data/rooms"
    """Clip store; validation seeds are taken."""
    count: int = 32
    """Videos."""
    frames: int = 8
    """Per video, the given one included."""
    seed: int = 0
    """Of the videos."""
    out: str = "baselines/results/judge-gradients-token.json"
    """Result file."""


def gradient(
    judge: InverseDynamics, codec: torch.nn.Module, given: torch.Tensor, x: torch.Tensor, actions: torch.Tensor
) -> torch.Tensor:
    """(B, n): of the mean log-probability of `actions` (B, T-1, A), for what the codec decodes, x (B, T-1, …)."""
    x = x.detach().requires_grad_(True)
    pictures = as_shown(torch.cat([given.float() / 255, codec.pictures(x)], 1))
    found = probabilities_of(judge.logits_of(pictures), actions).log()
    return torch.autograd.grad(found.mean((1, 2)).sum(), x)[0].flatten(1)


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    if len(arguments.judges) < 2:
        raise InputError(f"{len(arguments.judges)} judges were named, but at least two are compared; give --judges A B")
    judges = {name: load_judge(name, InverseDynamics, "cpu").requires_grad_(False) for name in arguments.judges}
    store = ClipStore(arguments.clips)
    chosen = np.asarray(store.split("validation"))[: arguments.count]
    given = torch.from_numpy(np.array(store.frames[chosen][:, :1]))
    actions = torch.from_numpy(np.array(store.actions[chosen][:, : arguments.frames - 1]).astype(np.int64))
    world = worldgym.load(arguments.model)
    codec = world.codec.requires_grad_(False)
    video = world.generate(given, actions, [arguments.seed * 1000 + row for row in range(len(chosen))])
    x = codec.encode(video[:, 1:])
    x = x if x.is_floating_point() else codec.values(torch.arange(codec.codes))[x]
    found = {name: gradient(judge, codec, given, x, actions).double() for name, judge in judges.items()}
    bootstrap, rows = Bootstrap.draw(len(chosen), 1000, generator(arguments.seed, "bootstrap")), []
    for a, b in combinations(judges, 2):
        score = bootstrap.mean(F.cosine_similarity(found[a], found[b], dim=1).numpy())
        rows.append({"judges": [a, b], "cosine": [score.value, score.low, score.high]})
        print(f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]  {a} | {b}")
    settings = {key: value for key, value in dataclasses.asdict(arguments).items() if key != "out"}
    write_json(arguments.out, {"settings": settings, "cosines": rows})


if __name__ == "__main__":
    main()
