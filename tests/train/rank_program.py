"""One process of several: python -m torch.distributed.run --nproc-per-node 2 rank_program.py OUT TASK.

- "sameness": the loss and the first gradient of toys under DDP and FSDP, written to OUT by the first process; a sharded run
  saved and loaded again.
- "lonely": the second process dies in its second iteration; the first one says so.
"""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "envs")]

import torch  # noqa: E402
import trainer_toys as toys  # noqa: E402

from worldgym.errors import exit_with_sentence  # noqa: E402
from worldgym.runs.ranks import ranks  # noqa: E402
from worldgym.train import state  # noqa: E402

CASES = {
    "grpo-token": ("token", False, {}),
    "grpo-split": ("token", False, {"prompt_batch": 1}),
    "grpo-diffusion": ("diffusion", False, {"compare": "last"}),
    "nft": ("diffusion", True, {"best_of": 2, "advantage": "global"}),
    "draft": ("diffusion", True, {"cls": toys.rivals}),
}


def gradients(processes=None, micro: int = 4) -> dict[str, tuple[float, torch.Tensor]]:
    """Loss and gradient of the first update in every case; of an adversary beside it, too."""
    found = {}
    for name, (kind, nft, settings) in CASES.items():
        learner = toys.learner(kind, nft, ranks=processes, micro=micro, grad_clip=1e9, **settings)
        kept = []
        clip, step, beside = learner.ranks.clip, learner.update.optimizer.step, getattr(learner, "adversary", None)
        learner.ranks.clip = lambda module, limit, kept=kept, clip=clip: (
            kept.append(toys.flat_gradient(module)) or clip(module, limit)
        )
        if beside is not None:
            learner.update.optimizer.step = lambda kept=kept, step=step, beside=beside: (
                kept.append(toys.flat_gradient(beside)) or step()
            )
        logs = learner.iterate(0)
        found[name] = logs["loss"], torch.cat(kept)
        learner.ranks.clip = clip
    return found


@exit_with_sentence
def main() -> None:
    torch.set_num_threads(1)
    out, task = Path(sys.argv[1]), sys.argv[2]
    copied, sharded = ranks("cpu"), ranks("cpu", sharded=True)
    if task == "sameness":
        found = {"copied": gradients(copied), "sharded": gradients(sharded)}
        if copied.rank == 0:
            torch.save(found, out)
        saved_and_loaded(sharded, out.with_name("run.safetensors"))
    else:
        learner = toys.learner(ranks=copied)
        learner.iterate(0)
        if copied.rank == 1:
            os._exit(0)
        learner.iterate(1)
    copied.close()


def saved_and_loaded(processes, out: Path) -> None:
    """A sharded run goes on after loading as it does without."""
    config = toys.run_config(out.parent, out)
    first, second = (toys.learner(ranks=processes, ema=0.5) for _ in range(2))
    first.iterate(0)
    tensors = state.collect(first.update)
    if processes.rank == 0:
        state.save(out, tensors, first.update, state.Progress(1), config.fixed())
    processes.barrier()
    state.restore(out, second.update, config)
    logs = [learner.iterate(1) for learner in (first, second)]
    assert logs[0]["gradient"] == logs[1]["gradient"]
    assert torch.equal(toys.weights(first.policy), toys.weights(second.policy))


if __name__ == "__main__":
    main()
