"""The adversary: numbers known on paper, whose gradient goes where, that it learns, that a policy learns from it."""

import functools
import math

import pytest
import torch
import trainer_toys as toys

from worldgym.errors import InputError
from worldgym.judges.adversary import Adversary, realism, rivalry
from worldgym.rng import generator
from worldgym.train.draft import Draft, DraftSettings


class Contrast(torch.nn.Module):
    """The logit of every 8x8 pixels is k times the mean of the later frame."""

    def __init__(self, k):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor(float(k)))

    def forward(self, pictures):
        patches = pictures[:, 1:].unflatten(3, (-1, 8)).unflatten(2, (-1, 8))
        return self.k * patches.mean((3, 5, 6))


def grey(value, rows=2):
    return torch.full((rows, 3, 16, 24, 3), float(value))


def learner(kind="diffusion", **settings):
    return toys.learner(kind, cls=functools.partial(toys.rivals, **settings))


def flat(module):
    return torch.cat([p.grad.flatten() for p in module.parameters()])


def test_realism_on_paper():
    """k = 8, brightness .25 against .5: log sigmoid(-2) for every frame; as good as the truth: log 1/2."""
    found = realism(Contrast(8), grey(0.25), grey(0.5))
    assert found.shape == (2, 2)
    torch.testing.assert_close(found, torch.full((2, 2), -math.log1p(math.exp(2))))
    torch.testing.assert_close(realism(Contrast(8), grey(0.5), grey(0.5)), torch.full((2, 2), -math.log(2)))


def test_realism_pays_pictures_alone():
    judge, made = Contrast(8), grey(0.25).requires_grad_()
    realism(judge, made, grey(0.5)).sum().backward()
    assert (made.grad[:, 1:] > 0).all() and not made.grad[:, 0].any() and judge.k.grad is None


def test_rivalry_on_paper():
    """The loss of the pairing, and 1000 (k mean noise)^2 of both sides, mean over patches."""
    made = grey(0.25).requires_grad_()
    judge = Contrast(8)
    loss, told = rivalry(judge, made, grey(0.5), [5, 6])
    noise = [torch.from_numpy(generator(seed, "noise").standard_normal((2, 3, 16, 24, 3), "float32")) for seed in (5, 6)]
    moved = 0.02 * Contrast(8)(torch.cat(noise)).detach()
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)) + 1000 * 2 * float(moved.square().mean()), rel=1e-4)
    assert told == 1 and rivalry(judge, grey(0.5), grey(0.25), [5, 6])[1] == 0
    loss.backward()
    assert made.grad is None and judge.k.grad != 0


def test_it_learns_what_tells_videos_apart():
    """Stripes of one pixel, fair and swapped with the frame: alike in every mean over two pixels and in every single frame."""
    judge = Adversary(0, width=8)
    optimizer = torch.optim.Adam(judge.parameters(), 3e-3)
    stripes = (torch.arange(24) % 2).float()[None, None, None, :, None]
    still, flicker = (torch.stack([stripes[:, 0], other[:, 0]], 1).expand(4, 2, 16, 24, 3) for other in (stripes, 1 - stripes))
    for step in range(60):
        loss, told = rivalry(judge, still, flicker, [4 * step + row for row in range(4)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert told == 1
    assert realism(judge, flicker, flicker).mean() > realism(judge, still, flicker).mean() + 0.5


def test_its_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = toys.weights(Adversary(3))
    torch.manual_seed(2)
    assert torch.equal(first, toys.weights(Adversary(3))) and not torch.equal(first, toys.weights(Adversary(4)))


@pytest.mark.parametrize("kind", ["token", "diffusion"])
def test_a_policy_learns_from_it(kind, monkeypatch):
    """The game is white, the toy is grey; nothing but the adversary says so."""
    monkeypatch.setattr(Draft, "best_possible", lambda self, given, truth: torch.ones_like(truth, dtype=torch.float32))
    made = learner(kind, adversary_lr=3e-3)
    if kind == "token":
        made.codec.pictures = lambda values: (values.mean((-1, -2)) / 2 + 0.5)[..., None, None, None].expand(-1, -1, 24, 32, 3)
    bright = []
    shown = made.objective

    def watched(pictures, *more):
        bright.append(pictures[:, 1:].mean().item())
        return shown(pictures, *more)

    made.objective = watched
    logs = [made.iterate(i) for i in range(20)]
    assert logs[0]["smooth/realism"] == pytest.approx(-math.log(2), abs=0.05)
    assert logs[1]["adversary_told"] > 0.9
    rise = sum(bright[-3:]) / 3 - bright[0]
    assert rise > {"token": 0.1, "diffusion": 0.004}[kind]


def test_rows_per_pass_change_neither_gradient():
    found = []
    for micro in (8, 1):
        made = learner(micro=micro, step_share=0.4, grad_clip=1e9)
        kept = []
        made.update.optimizer.step = lambda made=made, kept=kept: kept.extend(
            [toys.flat_gradient(made.policy.model).clone(), flat(made.adversary).clone()]
        )
        found.append((made.iterate(3)["loss"], *kept))
    (loss, policy, rival), (other, *gradients) = found
    assert loss == pytest.approx(other, abs=1e-5)
    for a, b in zip((policy, rival), gradients, strict=True):
        assert a.norm() > 0 and (a - b).norm() < 1e-5 * a.norm()


def test_its_rate_is_constant_and_its_target_is_what_the_codec_can_draw():
    made = learner(adversary_lr=2e-3)
    made.iterate(0, rate=0.1)
    assert [group["lr"] for group in made.update.optimizer.param_groups] == [pytest.approx(0.001), 2e-3]
    core = made.env.unwrapped
    given, truth = core.video()[:, :1], core.truth()
    target = made.best_possible(given, truth)
    assert torch.equal(target[:, :1], given / 255)
    assert torch.equal(target[:, 1:], made.codec.decode(made.codec.encode(truth[:, 1:])) / 255)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"adversary": -1.0}, "--adversary is -1.0"), ({"adversary_lr": 0.0}, "--adversary-lr must be above 0, not 0.0")],
)
def test_bad_settings_are_one_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        DraftSettings(**settings)
