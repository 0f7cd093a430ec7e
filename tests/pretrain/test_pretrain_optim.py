"""Muon, parameter groups and averaged weights."""

import pretrain_toys as toys
import pytest
import torch
from torch import nn

from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.pretrain import optim

MODULES = {
    "toy": lambda: toys.Toy(toys.ToyConfig()),
    "token": lambda: TokenModel(TokenConfig(codes=10, codes_per_frame=4, hidden=16, mlp=24, heads=2, layers=2)),
    "diffusion": lambda: FrameDiffusion(DiffusionConfig(channels=3, grid=(2, 3), hidden=24, mlp=16, heads=2, layers=2)),
}


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    """Jordan's coefficients end in about [0.68, 1.13], whatever the scale; five steps reach it from 1e-3 of the largest."""
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 1, 1e3])[:, None, None]
    values = torch.linalg.svdvals(optim.orthogonalise(matrices, 5))
    assert values.min() > 0.3 and values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 100  # so it was not so before


def test_orthogonalise_keeps_the_directions():
    """U S V^T goes to about U V^T: in the singular basis it is nearly diagonal."""
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrix)
    inner = u.T @ optim.orthogonalise(matrix[None])[0] @ vt.T
    assert (inner - inner.diag().diag()).abs().max() < 1e-4
    assert inner.diag().min() > 0.3


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_equals_torchs(shape):
    """Two roads: torch's Muon iterates in bf16, so updates agree to its 8 bits, amplified by the steep polynomial."""
    generator = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(shape, generator=generator), torch.randn(4, *shape, generator=generator)
    results = []
    for make in (optim.Muon, torch.optim.Muon):
        parameter = nn.Parameter(start.clone())
        optimizer = make([parameter], lr=0.1, momentum=0.9, weight_decay=0.2)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        results.append(parameter.detach())
    moved = (results[1] - start).norm()
    assert (results[0] - results[1]).norm() < 0.03 * moved


def test_muon_batch_equals_singles():
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator) for shape in ((4, 6), (4, 6), (6, 4))]
    results = []
    for groups in ([matrices], [[m] for m in matrices]):
        ends = []
        for group in groups:
            parameters = [nn.Parameter(m.clone()) for m in group]
            for parameter, m in zip(parameters, group, strict=True):
                parameter.grad = m.sin()
            optim.Muon(parameters).step()
            ends += [p.detach() for p in parameters]
        results.append(ends)
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_parameter_is_optimised_exactly_once(name, kind):
    module = MODULES[name]()
    groups = [g for o in optim.make(module, kind, 1e-3, 0.02, 0.1) for g in o.param_groups]
    found = sorted(id(p) for group in groups for p in group["params"])
    assert found == sorted(id(p) for p in module.parameters())
    assert all(group["peak"] == group["lr"] for group in groups)


@pytest.mark.parametrize("name", MODULES)
def test_muon_takes_block_matrices_only(name):
    module = MODULES[name]()
    parts, named = optim.split(module), dict(module.named_parameters())
    assert parts.matrices and all(named[n].ndim == 2 for n in parts.matrices)
    for word in ("embed", "head", "norm", "action", "place", "modulation", "bias"):
        assert not [n for n in parts.matrices if word in n]
    assert all(named[n].ndim < 2 or "embed" in n or "action" in n for n in parts.plain)


def test_token_model_split_known_answer():
    """7 matrices per Llama block; head by AdamW with decay; embedding and norms without."""
    parts = optim.split(MODULES["token"]())
    assert (len(parts.matrices), len(parts.decayed), len(parts.plain)) == (14, 1, 1 + 2 * 2 + 1)


def test_set_rate_scales_each_peak():
    optimizers = optim.make(MODULES["toy"](), "muon", 1e-3, 0.02, 0.1)
    optim.set_rate(optimizers, 0.5)
    assert sorted({g["lr"] for o in optimizers for g in o.param_groups}) == [0.0005, 0.01]


def test_average_known_answer():
    """d = min(decay, (1 + t) / (10 + t)): 0.1, then 2/11, then the decay itself once it is smaller."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    average = optim.Average(module, decay=0.15)
    expected = 0.0
    for step, decay in enumerate((0.1, 0.15, 0.15)):
        nn.init.constant_(module.weight, step + 1.0)
        average.update(module, step)
        expected = decay * expected + (1 - decay) * (step + 1.0)
        assert average.tensors["weight"].item() == pytest.approx(expected)


def test_average_copies_counters():
    module = nn.BatchNorm1d(2)
    average = optim.Average(module, 0.5)
    module(torch.ones(3, 2))
    average.update(module, 0)
    assert average.tensors["num_batches_tracked"].item() == 1
