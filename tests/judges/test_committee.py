"""Several judges as one: the mean of what the members say, by name or as objects, and what is no committee."""

import pytest
import torch
from torch.nn.functional import log_softmax

from worldgym.errors import InputError
from worldgym.judges.camera_motion import CameraMotion, CameraMotionConfig
from worldgym.judges.committee import CameraMotionCommittee, InverseDynamicsCommittee, committee
from worldgym.judges.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldgym.judges.quality import Quality, QualityConfig
from worldgym.models.files.checkpoint import save
from worldgym.zoo import load_judge

SMALL = {"height": 56, "width": 96, "widths": (8, 16, 16), "hidden": 32, "layers": 1}


def readers(**changed):
    torch.manual_seed(0)
    return [InverseDynamics(InverseDynamicsConfig(stem=stem, **SMALL | changed)).eval() for stem in ("matching", "pixels")]


def cameras():
    torch.manual_seed(0)
    return [CameraMotion(CameraMotionConfig(stem=stem, **SMALL)).eval() for stem in ("volume", "pixels")]


def clips():
    return torch.randint(0, 256, (2, 4, 56, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_log_probabilities_are_averaged():
    one, two = readers()
    both = committee([one, two])
    assert isinstance(both, InverseDynamicsCommittee) and not both.training
    for found, a, b in zip(both(clips()), one(clips()), two(clips()), strict=True):
        torch.testing.assert_close(found, (log_softmax(a, -1) + log_softmax(b, -1)) / 2)
    assert both.labels(clips()).shape == (2, 3, 8)
    assert not both.steps_alone


@torch.no_grad()
def test_motion_is_averaged():
    one, two = cameras()
    both = committee([one, two])
    assert isinstance(both, CameraMotionCommittee)
    torch.testing.assert_close(both.motion(clips()), (one.motion(clips()) + two.motion(clips())) / 2)
    torch.testing.assert_close(both(clips()), (one(clips()) + two(clips())) / 2)


@torch.no_grad()
def test_a_plus_joins_names():
    names = ["doom-rooms/idm-reward", "doom-rooms/idm-heldout"]
    both = load_judge("+".join(names), InverseDynamics, "cpu")
    each = [load_judge(name, InverseDynamics, "cpu") for name in names]
    torch.testing.assert_close(both(clips())[0], sum(log_softmax(judge(clips())[0], -1) for judge in each) / 2)
    with pytest.raises(InputError, match="no-such"):
        load_judge("doom-rooms/idm-reward+no-such", InverseDynamics, "cpu")


def test_a_file_may_have_a_plus_in_its_name(tmp_path):
    save(tmp_path / "a+b.safetensors", readers()[0], "inverse-dynamics", {})
    assert type(load_judge(tmp_path / "a+b.safetensors", InverseDynamics, "cpu")) is InverseDynamics


def test_what_is_no_committee_is_one_sentence():
    with pytest.raises(
        InputError, match="several InverseDynamics judges or CameraMotion judges, all of one kind; got CameraM"
    ):
        committee([*cameras(), *readers()])
    with pytest.raises(InputError, match="got InverseDynamics$"):
        committee(readers()[:1])
    with pytest.raises(InputError, match="got Quality, Quality"):
        committee([Quality(QualityConfig()), Quality(QualityConfig())])
    with pytest.raises(InputError, match="must read the same frames and actions; got 40x96 doom, 56x96 doom"):
        committee([readers()[0], readers(height=40)[1]])
    with pytest.raises(InputError, match="has no features of its own"):
        committee(readers()).features(clips())
