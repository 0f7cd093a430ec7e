"""One GRPO step of ours against one of TRL's `GRPOTrainer`: same Llama, same prompts, same number of sampled tokens.

    python benchmarks/grpo_vs_trl.py --out benchmarks/results/grpo-vs-trl.json

Both sides start from the bundled token model (TRL's copy through `models/llama_format.py`; the program checks that both give
the same logits), are prompted with one frame and one action segment, sample one frame's codes G times for each of P prompts,
score them by the same trivial rule (share of even codes, so that neither side pays for a judge) and make one AdamW update.

TRL gets its fastest plain settings: no KL, no reference model, one pass, full softmax (top_p 1, top_k 0, temperature 1), no
checkpointing of activations, one batch for all rows, equal lengths by min_new_tokens, no logging. Ours pays for what an
environment does besides: encoding the prompt's pictures, stepping, checking.

The two alternate step by step in one process; the first pairs are dropped. Wall time and CPU time are both kept: where other
programs share the machine, wall time is stretched for both, CPU time is not. The interval of the ratio is a 95 % bootstrap
over pairs.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import VectorWrapper

import worldgym
from worldgym.data.prompts import record_prompts
from worldgym.data.splits import seeds
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.models.token.llama_format import llama_config, to_llama_state
from worldgym.models.world_model import WorldModel
from worldgym.train.grpo import Grpo, TokenGrpo
from worldgym.train.policy import Policy
from worldgym.train.settings import Optimisation, Settings, TokenRollout
from worldgym.types import Prompts

LR = 1e-6  # both sides stay the model they began as


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare one GRPO step with TRL's."""

    out: str = "benchmarks/results/grpo-vs-trl.json"
    """Result file."""
    model: str = "doom-rooms/token-nano"
    """A token model."""
    prompts: int = 2
    """P per step."""
    group: int = 8
    """G rollouts per prompt."""
    pairs: int = 8
    """Steps of each side that count."""
    warmup: int = 2
    """Steps of each side before."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """CPU threads."""


class EvenCodes(VectorWrapper):
    """Share of even codes among those that were sampled, read without decoding a picture."""

    def step(self, actions: Any) -> tuple:
        """The reward where the episode ends."""
        observation, reward, over, cut, info = self.env.step(actions)
        if self.unwrapped.finished:
            reward = (observation["codes"][:, 1:] % 2 == 0).float().mean((1, 2))
        return observation, reward, over, cut, info


def our_step(arguments: Arguments, world: WorldModel, prompts: Prompts) -> Callable[[], None]:
    """A call that makes our next step."""
    rows = arguments.prompts * arguments.group
    settings = Settings(
        rollout=TokenRollout(prompt_batch=arguments.prompts, group=arguments.group),
        algorithm=TokenGrpo(),
        optimisation=Optimisation(micro=rows, lr=LR),
    )
    name = "worldgym/DoomRooms-Token-v0"
    env = gym.make_vec(name, num_envs=rows, prompts=prompts, codec=world.codec, frames=2, device=arguments.device)
    learner, done = Grpo(EvenCodes(env), Policy(world), settings), iter(range(10**9))
    return lambda: learner.iterate(next(done))


def even_codes(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """The same reward for TRL."""
    return [float(np.mean(np.array(ids) % 2 == 0)) for ids in completion_ids]


def word_tokenizer(rows: int):
    """A tokenizer whose words are the numbers of the tokens; the last row, which nobody samples on purpose, pads and ends."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({str(i): i for i in range(rows)}, unk_token=str(rows - 1)))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    last = str(rows - 1)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=last, eos_token=last, padding_side="left")


def trl_trainer(arguments: Arguments, world: WorldModel, tokens: torch.Tensor, after_step: Callable[[float, float], None]):
    """A `GRPOTrainer` on the same network that calls `after_step(wall, cpu)` after each of its steps.

    Args:
        arguments: of the program.
        world: where the weights come from.
        tokens: (P, n) the prompts as token ids.
        after_step: gets the seconds of the step.
    """
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    llama = LlamaForCausalLM(LlamaConfig(**llama_config(world.model.config)))
    llama.load_state_dict({name: tensor.clone() for name, tensor in to_llama_state(world.model).items()})
    check_same(world, llama, tokens)
    rows, length = arguments.prompts * arguments.group, world.model.config.codes_per_frame

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            after_step(time.perf_counter() - self.start[0], time.process_time() - self.start[1])

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=rows,
        num_generations=arguments.group,
        max_completion_length=length,
        generation_kwargs={"min_new_tokens": length},
        max_steps=arguments.pairs + arguments.warmup,
        learning_rate=LR,
        lr_scheduler_type="constant",
        loss_type="grpo",
        beta=0.0,
        num_iterations=1,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=arguments.device == "cpu",
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"prompt": [" ".join(map(str, row)) for row in tokens.tolist()]})
    tokenizer = word_tokenizer(world.model.config.rows)
    return GRPOTrainer(llama, even_codes, config, data, processing_class=tokenizer, callbacks=[Clock()])


@torch.no_grad()
def check_same(world: WorldModel, llama: torch.nn.Module, tokens: torch.Tensor) -> None:
    """Both networks must say the same of the prompts."""
    ours, theirs = world.model(tokens).float(), llama.to(tokens.device)(tokens).logits.float()
    assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3), f"logits differ by up to {(ours - theirs).abs().max()}"


def ratio(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Ratio of mean times, ours over TRL's, with a bootstrap interval over pairs."""
    picks = np.random.default_rng(0).integers(len(ours), size=(10_000, len(ours)))
    low, high = np.quantile(ours[picks].mean(1) / theirs[picks].mean(1), [0.025, 0.975])
    return {
        "ours_seconds": ours.tolist(),
        "trl_seconds": theirs.tolist(),
        "ratio": float(ours.mean() / theirs.mean()),
        "interval": [float(low), float(high)],
    }


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(arguments.threads)
    world = worldgym.load(arguments.model, device=arguments.device)
    prompts = record_prompts("doom-rooms", seeds("train", 0, arguments.prompts), frames=2)
    with torch.no_grad():
        codes = world.codec.encode(torch.from_numpy(prompts.prefix).to(arguments.device))[:, 0]
        actions = world.model.segments(torch.from_numpy(prompts.actions).to(arguments.device))[:, 0]
    tokens = torch.cat([codes, actions], 1)
    pairs: list[tuple[float, float, float, float]] = []
    step = our_step(arguments, world, prompts)

    def after_step(wall: float, cpu: float) -> None:
        start = time.perf_counter(), time.process_time()
        step()
        pairs.append((time.perf_counter() - start[0], wall, time.process_time() - start[1], cpu))
        print("ours {:.2f} s, TRL {:.2f} s; CPU {:.2f} and {:.2f}".format(*pairs[-1]), flush=True)

    trl_trainer(arguments, world, tokens, after_step).train()
    kept = np.array(pairs[arguments.warmup :])
    result = {
        "command": "python benchmarks/grpo_vs_trl.py " + shlex.join(sys.argv[1:]),
        "settings": dataclasses.asdict(arguments) | {"out": None},
        "prompt_tokens": tokens.shape[1],
        "sampled_tokens": world.model.config.codes_per_frame * arguments.prompts * arguments.group,
        "parameters": sum(p.numel() for p in world.model.parameters()),
        "wall": ratio(kept[:, 0], kept[:, 1]),
        "cpu": ratio(kept[:, 2], kept[:, 3]),
        "hardware": {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "accelerate")},
    }
    write_json(arguments.out, result)
    for kind in ("wall", "cpu"):
        print(f"{kind}: ours / TRL = {result[kind]['ratio']:.3f} {[round(x, 3) for x in result[kind]['interval']]}")


if __name__ == "__main__":
    main()
