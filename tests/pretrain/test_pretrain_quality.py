"""Ladders whose order is known, generated clips on disk, and the task that learns from them."""

import numpy as np
import pretrain_toys as toys
import pytest
import torch

from worldgym import zoo
from worldgym.actions import DOOM
from worldgym.data.degradations import DEGRADATIONS
from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.models.world_model import WorldModel
from worldgym.pretrain import generated as made_clips
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import QualityRunConfig
from worldgym.pretrain.ladders import FIXED, RUNGS, Ladders, accuracy, pairs
from worldgym.pretrain.quality_task import QualityTask

CPU = torch.device("cpu")


class Painter(WorldModel):
    """Paints frame i of every clip in grey 3 i; counts its calls."""

    kind, spec, calls = "token", DOOM, 0

    def __init__(self):
        pass

    def generate(self, prefix, actions, seeds, **sampling):
        Painter.calls += 1
        frames = 3 * torch.arange(actions.shape[1] + 1, dtype=torch.uint8)[None, :, None, None, None]
        return frames.expand(len(prefix), -1, *prefix.shape[2:]).clone()


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A store, a codec file and a world model's file, all toys."""
    store = toys.write_store(tmp_path / "store")
    monkeypatch.setattr(zoo, "CLASSES", {**zoo.CLASSES, **toys.CLASSES})
    for kind, cls in (("frame-codec", toys.ToyCodec), ("latent-codec", toys.ToyLatents)):
        checkpoint.save(tmp_path / f"{kind}.safetensors", cls(toys.ToyCodecConfig()), kind)
    (tmp_path / "painter.safetensors").write_bytes(b"weights")
    load = zoo.load
    monkeypatch.setattr(made_clips.zoo, "load", lambda name, *more: Painter() if "painter" in str(name) else load(name, *more))
    Painter.calls = 0
    return store


def config(store, **values):
    folder = store.parent
    codecs = tuple(str(folder / f"{kind}-codec.safetensors") for kind in ("frame", "latent"))
    values = {"steps": 3, "batch_frames": 48, "generated": 4, "override": ("widths=[4,4,8]",), **values}
    return QualityRunConfig(
        data=store, out=folder / "run", codecs=codecs, models=(str(folder / "painter.safetensors"),), **values
    )


def test_every_ladder_begins_with_the_real_frame(world):
    clips = Clips.open(world)
    codec = toys.ToyCodec(toys.ToyCodecConfig())
    chosen = clips.train[:4]
    frames = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None, None, None], (4, 16, 16, 24, 3))
    ladders = Ladders(clips, [codec], [(chosen, frames)], CPU)
    assert ladders.kinds == [*DEGRADATIONS, "codec/0", "model/0"]
    indices, moments = clips.train[4:7], np.array([2, 5, 9])
    for kind in ladders.kinds:
        made = ladders.of(kind, indices, moments, np.tile(FIXED, (3, 1)), torch.Generator().manual_seed(0))
        assert made.shape == (3, RUNGS, 16, 24, 3) and made.dtype == torch.uint8
        if kind != "model/0":
            assert (made[:, 0, 0, 0, 0].numpy() == (indices + 10 * moments) % 256).all()
    rows, at = indices % 4, 1 + moments % 15  # a model's ladder is about its own clips, never about the given frame
    assert (made[:, 0, 0, 0, 0].numpy() == (chosen[rows] + 10 * at) % 256).all()
    assert (made[:, 2, 0, 0, 0].numpy() == at).all()  # what the model showed at the same moment


def test_pairs_by_hand():
    """Two ladders, the second visibly damaged: six pairs in each, and the top of the first above the second's last."""
    found = pairs(["darken", "blur"]).tolist()
    assert found[:6] == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]] and len(found) == 13
    assert [0, 7] in found and [4, 3] not in found


def test_accuracy_by_hand():
    """Darken: one of six pairs wrong; the model's ladder: generated above the reconstruction in one of two rows."""
    q = {"darken": torch.tensor([[0.9, 0.8, 0.4, 0.5]]), "model/0": torch.tensor([[0.9, 0.8, 0.7, 0.1], [0.9, 0.5, 0.7, 0.1]])}
    found = accuracy(q)
    assert found["order_darken"] == pytest.approx(5 / 6) and found["order_model/0"] == pytest.approx(11 / 12)
    assert found["generated"] == 1 and found["codec_generated"] == 0.5 and "between" not in found
    assert accuracy({"blur": torch.tensor([[0.9, 0.5, 0.4, 0.3], [0.2, 0.15, 0.12, 0.1]])})["between"] == 0.75


def test_the_task_is_a_function_of_seed_and_step(world):
    task = QualityTask(config(world), CPU)
    module = task.build()
    (loss, _), (again, logs) = task.loss(module, 3, 0.5), task.loss(module, 3, 0.5)
    assert torch.equal(loss, again) and 0 <= logs["accuracy"] <= 1
    assert not torch.equal(loss, task.loss(module, 4, 0.5)[0])
    assert not torch.equal(loss, QualityTask(config(world, seed=1), CPU).loss(module, 3, 0.5)[0])
    with torch.no_grad():
        scores = task.validate(module)
    assert {"accuracy", "generated", "between", "order_codec/0"} <= set(scores) and task.origin["split_half"] == "none"


def test_clips_are_generated_once(world):
    QualityTask(config(world), CPU)
    assert Painter.calls == 2  # training and validation clips
    QualityTask(config(world), CPU)
    assert Painter.calls == 2
    QualityTask(config(world, seed=5), CPU)
    assert Painter.calls == 4


def test_only_world_models_generate(world):
    with pytest.raises(InputError, match="is a ToyCodec, but a world model is needed here"):
        made_clips.generated(
            world.parent / "frame-codec.safetensors", "0", Clips.open(world).store, np.arange(2), 4, 0, world.parent / "c", CPU
        )
