"""Advantages: how much better a rollout was than those it is compared with.

Rows b G to b G + G - 1 are a group: rollouts of one prompt, or forks of one prefix. On several ranks gather the rewards of
all ranks first (in row order), compute, and take your own rows back: then a group may lie on several ranks.

- `group_normalised` (GRPO, arXiv 2402.03300, section 4.1.2), `global_std` (Flow-GRPO's and WorldCompass' code),
  `leave_one_out` (RLOO, arXiv 2402.14740); `ADVANTAGES`, `advantage(name, …)`: by name.
- `composed`: several terms, each normalised on its own and then weighted (WorldCompass). `optimality`: to [0, 1].
- `frame_credit`: rewards per frame become advantages per frame. `per_step`: from frames (or clips) to steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from worldgym.errors import InputError, unknown

EPSILON = 1e-8  # below any spread that means something; DanceGRPO's and WorldCompass' value


def group_normalised(rewards: Tensor, group_size: int, eps: float = EPSILON) -> Tensor:
    """A = (r - mean of the group) / (std of the group + eps): (B,) -> (B,) float32.

    The std is that of the G numbers themselves (divided by G); TRL and DanceGRPO divide by G - 1, which makes every
    advantage smaller by sqrt((G - 1) / G).

    Args:
        rewards: (B,); or (B, F), then each column is compared within its own group.
        group_size: G, divides B.
        eps: added to the std; a group without differences gets 0.
    """
    groups = _groups(rewards, group_size)
    return _flat((groups - groups.mean(1, keepdim=True)) / (groups.std(1, correction=0, keepdim=True) + eps))


def global_std(rewards: Tensor, group_size: int, eps: float = EPSILON) -> Tensor:
    """A = (r - mean of the group) / (std over all rows + eps): (B,) -> (B,) float32.

    A group whose rollouts are nearly alike then weighs less than one with real differences. Flow-GRPO uses eps = 1e-4.

    Args:
        rewards: (B,) of all groups together; or (B, F), then each column has its own std.
        group_size: G, divides B.
        eps: added to the std.
    """
    groups = _groups(rewards, group_size)
    spread = groups.std((0, 1), correction=0)
    return _flat((groups - groups.mean(1, keepdim=True)) / (spread + eps))


def leave_one_out(rewards: Tensor, group_size: int) -> Tensor:
    """A_i = r_i - mean of the other G - 1 rewards of the group: (B,) -> (B,) float32, in units of the reward.

    The baseline does not hold r_i itself, so the policy gradient is unbiased.

    Args:
        rewards: (B,); or (B, F), column by column.
        group_size: G >= 2, divides B.
    """
    if group_size < 2:
        raise InputError(f"group_size is {group_size}, but leaving one out needs at least 2 rollouts per group")
    groups = _groups(rewards, group_size)
    return _flat((groups - groups.mean(1, keepdim=True)) * (group_size / (group_size - 1)))


ADVANTAGES = {"group": group_normalised, "global": global_std, "leave-one-out": leave_one_out}


def advantage(name: str, rewards: Tensor, group_size: int) -> Tensor:
    """By name, see `ADVANTAGES`: (B,) or (B, F) -> same shape."""
    if name not in ADVANTAGES:
        raise unknown("advantage", name, ADVANTAGES)
    return ADVANTAGES[name](rewards, group_size)


def composed(terms: Sequence[tuple[float, Tensor]], group_size: int, name: str = "global") -> Tensor:
    """A = sum_k w_k A_k, the weights brought to sum 1: (B,).

    Args:
        terms: weight and values (B,) of every term; at least one, weights above 0 together.
        group_size: G, divides B.
        name: of `ADVANTAGES`.
    """
    total = sum(weight for weight, _ in terms)
    return sum(weight / total * advantage(name, values, group_size) for weight, values in terms)


def optimality(advantage: Tensor, clip: float = 5.0) -> Tensor:
    """r = clamp(clip(A, -c, c) / c / 2 + 1/2, 0, 1): any shape, 0 for the worst, 1 for the best, 1/2 for the average.

    Args:
        advantage: A, normalised.
        clip: c; DiffusionNFT 5, WorldCompass 2.
    """
    if not clip > 0:
        raise InputError(f"clip is {clip}, but it must be above 0")
    return (advantage / clip / 2 + 0.5).clamp(0, 1)


def frame_credit(rewards: Tensor, group_size: int, name: str = "group", discount: float = 0.0) -> Tensor:
    """Advantages per frame: a frame is credited with its own reward and with what follows.

    The return of frame t, R_t = sum_{u >= t} discount^(u-t) r_u, is compared with the returns of the same frame in the
    group's other rollouts. Rewards of earlier frames do not count.

    Args:
        rewards: (B, F), one number per generated frame (info["reward_frames"]).
        group_size: G, divides B.
        name: of `ADVANTAGES`.
        discount: 0 for the frame's own reward only, 1 for the whole rest.

    Returns:
        (B, F) float32.
    """
    if rewards.ndim != 2 or not 0 <= discount <= 1:
        raise InputError(
            f"rewards have shape {tuple(rewards.shape)} and discount is {discount}: frame credit needs (B, F) rewards and a "
            "discount from 0 to 1"
        )
    returns = rewards.float().clone()
    for frame in range(rewards.shape[1] - 2, -1, -1):
        returns[:, frame] += discount * returns[:, frame + 1]
    return advantage(name, returns, group_size)


def per_step(advantages: Tensor, steps: int) -> Tensor:
    """Spread advantages over the S steps of an episode: (B,) or (B, F) -> (B, S).

    Args:
        advantages: one per row, or one per frame (or clip).
        steps: S, a multiple of F; frame f owns steps f S / F to (f + 1) S / F - 1.
    """
    if advantages.ndim == 1:
        return advantages[:, None].expand(-1, steps)
    if steps % advantages.shape[1]:
        raise InputError(f"{steps} steps cannot be shared evenly by {advantages.shape[1]} frames")
    return advantages.repeat_interleave(steps // advantages.shape[1], 1)


def _groups(rewards: Tensor, group_size: int) -> Tensor:
    """(B, …) -> (B / G, G, …) float64: the mean of equal numbers is then that number, and no rounding looks like a reward."""
    if group_size < 1 or len(rewards) % group_size:
        raise InputError(f"group_size is {group_size}, but it must divide the {len(rewards)} rewards")
    return rewards.double().unflatten(0, (-1, group_size))


def _flat(groups: Tensor) -> Tensor:
    return groups.flatten(0, 1).float()
