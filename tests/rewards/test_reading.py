"""Judges behind a shared prefix: the same numbers as row by row, each step once, no row depends on its neighbours."""

import pytest
import torch

from worldgym.actions import DOOM
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.judges.camera_motion import CameraMotion, CameraMotionConfig
from worldgym.judges.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldgym.judges.quality import Quality, QualityConfig
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.rewards import DriftReward, IDMReward, InteractionFollowingReward, PixelReward, VisualQualityReward
from worldgym.rewards.reading import SIZE, distinct, in_batches, rows, single_frames, single_steps
from worldgym.types import Prompts

SMALL = {"height": 56, "width": 96}


def candidates(groups: int = 3, members: int = 5, frames: int = 5) -> torch.Tensor:
    """(groups x members, frames, H, W, 3): members of a group differ in their last frame."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (groups, 1, frames, 7, 12, 3), generator=random, dtype=torch.uint8)
    clips = coarse.expand(-1, members, -1, -1, -1, -1).flatten(0, 1).repeat_interleave(8, 2).repeat_interleave(8, 3).clone()
    clips[:, -1] = torch.randint(0, 256, clips[:, -1].shape, generator=random, dtype=torch.uint8)
    return clips


def judges() -> dict[str, torch.nn.Module]:
    torch.manual_seed(1)
    small = {"widths": (8, 16, 16), "hidden": 32, "layers": 1, **SMALL}
    found = {
        "pixels": InverseDynamics(InverseDynamicsConfig(**small)),
        "correlation": InverseDynamics(InverseDynamicsConfig(stem="correlation", **small)),
        "matching": InverseDynamics(InverseDynamicsConfig(stem="matching", trunk="gru", **small)),
        "camera": CameraMotion(CameraMotionConfig(**small)),
        "camera, volume": CameraMotion(CameraMotionConfig(stem="volume", trunk="gru", **small)),
    }
    return {name: judge.eval().requires_grad_(False) for name, judge in found.items()}


def reading(judge: torch.nn.Module):
    """The judge's two halves, and the whole: (see, read, whole), each to one tensor."""
    if isinstance(judge, CameraMotion):
        return judge.seen, judge.read, judge.motion
    return judge.seen, lambda seen: torch.cat(judge.read(seen), -1), lambda frames: torch.cat(judge(frames), -1)


@pytest.mark.parametrize("name", judges())
def test_steps_seen_once_give_what_whole_rows_give(name):
    see, read, whole = reading(judges()[name])
    clips, looks = candidates(), []

    def counted(pairs):
        looks.append(len(pairs))
        return see(pairs)

    found = in_batches(read, single_steps(counted, clips))
    expected = rows(whole, clips)
    assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-5)
    different = 3 * 3 + 15  # three shared steps of three groups, then everybody's own
    assert sum(looks) == different + -different % SIZE


@pytest.mark.parametrize("name", judges())
def test_a_row_does_not_depend_on_its_neighbours(name):
    see, read, _ = reading(judges()[name])
    clips = candidates()
    together = in_batches(read, single_steps(see, clips))
    for row in (0, 7, 14):
        assert torch.equal(in_batches(read, single_steps(see, clips[row : row + 1]))[0], together[row])
    turned = in_batches(read, single_steps(see, clips.flip(0))).flip(0)
    assert torch.equal(turned, together)


def test_frames_that_come_again_are_found():
    clips = candidates(2, 3, 3)
    number, first = distinct(clips)
    assert number == [[0, 1, 2], [0, 1, 3], [0, 1, 4], [5, 6, 7], [5, 6, 8], [5, 6, 9]]
    assert first == [0, 1, 2, 5, 8, 9, 10, 11, 14, 17]


def test_single_frames_are_read_once():
    torch.manual_seed(0)
    judge = Quality(QualityConfig(widths=(8, 16, 16), **SMALL)).eval().requires_grad_(False)
    clips = candidates()
    assert torch.allclose(single_frames(judge, clips), judge(clips), atol=1e-5)
    assert torch.equal(single_frames(judge, clips[4:5])[0], single_frames(judge, clips)[4])


class Noise(LatentCodec):
    """A codec for an environment whose frames nobody looks at."""

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*frames.shape[:-3], 1, 7, 12)


def rewards() -> dict[str, tuple[type, dict]]:
    nets = judges()
    torch.manual_seed(2)
    quality = Quality(QualityConfig(widths=(8, 16, 16), **SMALL)).eval().requires_grad_(False)
    idm = {
        f"idm, {mode}": (IDMReward, {"judge": nets["correlation"], "mode": mode}) for mode in ("mean", "exact", "probability")
    }
    follow = {
        f"if, {mode}": (InteractionFollowingReward, {"judge": nets["camera"], "mode": mode})
        for mode in ("soft", "fine", "exact")
    }
    looks = {"quality": (VisualQualityReward, {"judge": quality}), "drift": (DriftReward, {"judge": quality})}
    pixel = {f"pixel, {net}": (PixelReward, {"perceptual": net}) for net in (None, "bundled")}
    return {**idm, **follow, **looks, **pixel}


@pytest.mark.parametrize("name", rewards())
def test_rewards_of_last_frames_are_those_of_whole_clips(name):
    cls, arguments = rewards()[name]
    codec = Noise(LatentCodecConfig(channels=1, wide=8, fine=8, blocks=1, **SMALL))
    clips = candidates()
    actions = some_actions(15, 4)
    first = Prompts(clips[:1, :1].numpy(), actions[:1].numpy(), clips[:1].numpy(), ("toy/0/0",))
    env = DenoiseVectorEnv(1, codec=codec, prompts=first, frames=5, steps=1)
    reward = cls(env, **arguments)
    whole = reward.per_frame(clips, actions, clips.flip(0)) if name[:2] != "if" else None
    late = reward.score(clips, actions, clips.flip(0), given=4)
    assert late.per_frame.shape == (15, 1) and late.total.shape == (15,)
    one = reward.score(clips[3:4], actions[3:4], clips.flip(0)[3:4], given=4)
    assert torch.equal(one.total, late.total[3:4])
    if whole is None:  # the threshold is chosen by the scored frames, so read rows as a judge of no special class does
        reward.judge = type("Another", (CameraMotion,), {})(reward.judge.config).eval()
        reward.judge.load_state_dict(arguments["judge"].state_dict())
        whole = reward.score(clips, actions, None, given=4).per_frame
    assert torch.allclose(late.per_frame[:, 0], whole[:, -1].float(), atol=1e-5)
    assert late.per_frame.isfinite().all()
    assert "exact" in name or len(set(late.per_frame[:, 0].tolist())) > 1


def some_actions(rows: int, steps: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.stack([torch.randint(0, n, (rows, steps), generator=random) for n in DOOM.sizes], -1)
