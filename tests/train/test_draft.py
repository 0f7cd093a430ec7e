"""Reward gradients: exact where the chain has one step, the sum over steps otherwise, a reward that rises, bad use."""

import copy

import pytest
import torch
import trainer_toys as toys

from worldgym.errors import InputError
from worldgym.train.draft import Draft, nudged

SETTINGS = {"prompt_batch": 4, "group": 1, "lr": 0.01}


def brightness(pictures, actions, truth, given, seeds):
    """A differentiable `Bright`, neither rounded nor cut to [0, 1]."""
    score = pictures[:, given:].mean((2, 3, 4))
    return score, {"bright": score}


def dark(*arguments):
    score, _ = brightness(*arguments)
    return -score, {"bright": -score}


def learner(objective=brightness, kind="diffusion", **settings):
    def make(env, policy, config, ranks):
        return Draft(env, policy, toys.settings_of("draft", kind, **SETTINGS | settings), ranks, objective=objective)

    rows = (SETTINGS | settings)["prompt_batch"] * (SETTINGS | settings)["group"]
    return toys.learner(kind, cls=make, prompt_batch=rows // 2, group=2)  # an environment of as many rows


def test_nudged_has_the_values_of_the_clip_and_the_gradient_of_its_steps():
    """Velocity theta z: the mean over single steps is the gradient of all steps, sum_k change_k z_k."""
    z, change = torch.tensor([2.0, -3.0, 5.0]), torch.tensor([-0.5, -0.3, -0.2])
    x0 = torch.full((1, 1, 1, 1, 1, 1), 7.0)

    def slope(steps):
        theta = torch.tensor(4.0, requires_grad=True)
        v = (theta * z[steps]).reshape(1, len(steps), 1, 1, 1, 1)
        found = nudged(x0, v, change[steps][None], usable=3)
        assert torch.equal(found.detach(), x0)
        (gradient,) = torch.autograd.grad(found.sum(), theta)
        return float(gradient)

    assert slope([0, 1, 2]) == pytest.approx(-0.5 * 2 + 0.3 * 3 - 0.2 * 5)
    assert sum(slope([k]) for k in range(3)) / 3 == pytest.approx(slope([0, 1, 2]))
    assert slope([0, 2]) == pytest.approx((-0.5 * 2 - 0.2 * 5) * 3 / 2)


def test_nudged_keeps_clips_apart():
    v = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1, 1, 1).requires_grad_()
    found = nudged(torch.zeros(1, 2, 1, 1, 1, 1), v, torch.full((1, 4), -0.25), usable=4)
    (gradient,) = torch.autograd.grad(found[0, 1].sum(), v)
    assert gradient.flatten().tolist() == [0, 0, -0.5, -0.5]


def played(seed, model=None):
    """One denoising step, one generated frame: a learner, its rollout, what `loss` takes."""
    from worldgym.train.rollout import play

    made = learner()
    if model is not None:
        made.policy.model.load_state_dict(model)
    return made, play(made.env, made.policy, made.plan(seed))


def test_one_step_from_noise_has_the_exact_gradient(monkeypatch):
    """K = 1, one new frame: the loss's gradient against playing again with moved weights (a central difference)."""
    import env_toys

    make = env_toys.denoise_env
    monkeypatch.setattr(
        env_toys,
        "denoise_env",
        lambda rows, **more: make(rows, **{**more, "steps": 1, "frames": 2} | {"prompts": env_toys.prompts(frames=2)}),
    )
    made, rollout = played(0)
    core = made.env.unwrapped
    given, truth = core.video()[:, :1], core.truth()
    loss, _ = made.loss(rollout, [0, 1, 2, 3], made.levels(rollout, 0), given, truth, [0] * 4)
    (loss / 4).backward()
    state = copy.deepcopy(made.policy.model.state_dict())
    gradient = {name: p.grad.clone() for name, p in made.policy.model.named_parameters() if p.grad is not None}
    length = torch.cat([g.flatten() for g in gradient.values()]).norm()
    assert length > 0

    def score(move):
        model = {name: x + move * gradient[name] / length if name in gradient else x for name, x in state.items()}
        again, other = played(0, model)
        pictures = again.codec.pictures(other.trajectory.latents[:, 1:])
        return float(pictures.double().mean())

    slope = (score(1e-2) - score(-1e-2)) / 2e-2
    assert slope == pytest.approx(-float(length), rel=0.02)


@pytest.mark.parametrize("settings", [{}, {"kl": 1e-3}, {"top_p": 0.8}, {"minibatches": 2, "micro": 1}])
def test_draft_raises_the_reward_of_a_token_model(settings):
    """A decoder that is linear in what codes stand for: there the straight-through gradient is exact, in expectation."""
    for objective, sign in ((brightness, 1), (dark, -1)):
        made = learner(objective, kind="token", **settings)
        made.codec.pictures = lambda values: values.mean((-1, -2))[..., None, None, None].expand(-1, -1, 24, 32, 3)
        found = [sign * made.iterate(i)["smooth/bright"] for i in range(12)]
        assert sign * (found[-1] - found[0]) > 0.3  # values run from -1 to 1
        assert "kl" not in settings or made.iterate(12)["kl"] > 0


@pytest.mark.parametrize("settings", [{}, {"step_share": 0.4}, {"early": 0.5}, {"kl": 1e-3}, {"minibatches": 2, "micro": 1}])
def test_draft_raises_the_reward(settings):
    made = learner(**settings)
    found = [made.iterate(i)["smooth/bright"] for i in range(12)]
    assert found[-1] - found[0] > 0.004  # of at most .0075 for this decoder; without learning the noise is .0005
    assert "kl" not in settings or made.iterate(12)["kl"] > 0


def test_the_wrong_sign_lowers_it():
    made = learner(dark)
    found = [-made.iterate(i)["smooth/bright"] for i in range(12)]
    assert found[-1] - found[0] < -0.004


def test_rows_per_pass_change_nothing():
    losses, gradients = [], []
    for micro in (4, 1):
        made = learner(micro=micro, step_share=0.4)
        made.update.step = lambda made=made: float(made.ranks.clip(made.update.scorer, 1e9))
        losses.append(made.iterate(3)["loss"])
        gradients.append(toys.flat_gradient(made.policy.model))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert gradients[0].norm() > 0 and (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[0].norm()


def test_the_codec_learns_nothing():
    made = learner()
    made.iterate(0)
    assert not any(p.requires_grad or p.grad is not None for p in made.codec.parameters())


def test_bad_use_is_one_sentence():
    with pytest.raises(InputError, match="--compare is a setting of grpo"):
        learner(compare="last")
    with pytest.raises(InputError, match="--group must be above 0"):
        toys.settings_of("draft", group=0)
