"""Less memory, the same numbers: recomputed blocks, adapters that merge into plain weights, bf16."""

import contextlib
import json

import pytest
import torch
import trainer_toys as toys

from worldgym import zoo
from worldgym.runs import memory
from worldgym.runs.ranks import Ranks
from worldgym.train import run


@pytest.mark.parametrize(("kind", "nft"), [("token", False), ("diffusion", False), ("diffusion", True)])
def test_recomputed_blocks_change_no_number(kind, nft):
    plain, frugal = toys.learner(kind, nft), toys.learner(kind, nft)
    memory.checkpoint_blocks(frugal.policy.model)
    seen = []
    checkpoint = memory.checkpoint
    try:
        memory.checkpoint = lambda *a, **k: seen.append(1) or checkpoint(*a, **k)
        logs = frugal.iterate(0)
    finally:
        memory.checkpoint = checkpoint
    assert seen and plain.iterate(0)["gradient"] == pytest.approx(logs["gradient"], rel=1e-5)
    torch.testing.assert_close(toys.weights(plain.policy), toys.weights(frugal.policy), atol=1e-4, rtol=0)


def test_adapters_alone_are_trained_and_merge_into_plain_weights(tmp_path):
    files = toys.files(tmp_path / "files", "token")
    config = toys.run_config(files, tmp_path / "run", lora=2, iterations=2, kl=1e-3)
    learner = run.build(config)
    names = [name for name, p in learner.policy.named_parameters() if p.requires_grad]
    assert names and all(".lora_" in name for name in names)
    path = run.train(config, "x")
    base, world = zoo.load(config.task.model).model, zoo.load(path).model
    changed = {name for name, tensor in world.state_dict().items() if not torch.equal(tensor, base.state_dict()[name])}
    assert changed and all(".layers." in name and name.endswith("_proj.weight") for name in changed)
    assert json.loads(path.with_suffix(".json").read_text())["parameters"] == sum(p.numel() for p in world.parameters())


def test_merged_weights_compute_what_adapters_do():
    world = toys.world("token")
    plain = toys.world("token").model
    memory.add_adapters(world.model, 2)
    for name, parameter in world.model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.arange(30)[None] % 6
    adapted = world.model(tokens)
    assert (adapted - plain(tokens)).abs().max() > 0.1
    plain.load_state_dict(memory.merged(world.model))
    torch.testing.assert_close(plain(tokens), adapted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "nft"), [("token", False), ("diffusion", False), ("diffusion", True)])
def test_half_precision_starts_at_ratio_one_and_keeps_float32_weights(kind, nft):
    learner = toys.learner(kind, nft, ranks=Ranks(half=True))
    logs = learner.iterate(0)
    assert nft or logs["ratio_off"] < 0.02
    assert {p.dtype for p in learner.policy.parameters()} == {torch.float32}
    exact = toys.learner(kind, nft).iterate(0)
    assert logs["gradient"] == pytest.approx(exact["gradient"], rel=0.5) and logs["gradient"] != exact["gradient"]


class Recomputing(Ranks):
    """Float32 that takes half precision's way to old log-probs."""

    def __init__(self):
        super().__init__()
        self.half = True

    def autocast(self):
        return contextlib.nullcontext()


def test_recomputed_old_logprobs_are_those_of_acting():
    logs = toys.learner("token", micro=3, ranks=Recomputing()).iterate(0)
    assert logs["ratio_off"] < 1e-5
