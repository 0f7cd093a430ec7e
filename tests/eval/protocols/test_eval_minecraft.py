"""The suite action-following-minecraft-v1: published scores exactly, the codec in the loop, a run from end to end."""

import dataclasses
import json

import minecraft_toys as toys
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score

from worldgym.actions import spec
from worldgym.data.video_file import through_codec
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics import published_macro
from worldgym.eval.protocols import published_looks
from worldgym.eval.protocols.entries import LastFrame
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant
from worldgym.eval.results.statistics import Bootstrap
from worldgym.eval.running import job
from worldgym.eval.running.arguments import Job
from worldgym.judges import vpt_idm

NAME = "action-following-minecraft-v1"
SUITE = suites.load(NAME)
MINECRAFT = spec("minecraft")
TASKS = [("back", "forward"), ("left", "right"), ("sneak", "sprint"), ("use",), ("attack",), ("jump",), ("drop",)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    toys.validation(tmp_path / "mineworld-validation")
    toys.judge(tmp_path)
    return tmp_path


@pytest.fixture
def protocol(folder):
    made = protocols.load(SUITE)
    made.load_judges()
    return made


def task_labels(buttons, keys):
    """A task's labels as the published evaluation makes them: which one of the keys, 0 for none or all."""
    pressed = np.stack([buttons[..., vpt_idm.BUTTONS.index(key)] for key in keys], -1)
    return np.where(pressed.sum(-1) == 1, pressed.argmax(-1) + 1, 0)


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0])
def test_scores_of_random_logits_are_scikit_learns(share):
    """Two roads: logits -> columns -> confusions -> our averages; logits -> the published labels -> scikit-learn.

    share 0 presses nothing in the recording: then a task counts 1 where nothing is read either.
    """
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 15, 20, 2)) + [2.0 * (share < 0.1), 0.0]
    read, given = logits.argmax(-1), (rng.random((5, 15, 20)) < share).astype(int)
    camera = torch.full((5, 15, 2), 5)
    columns = [vpt_idm.columns(MINECRAFT, torch.from_numpy(x), camera).numpy() for x in (given, read)]
    parts = following.confusions(*columns, MINECRAFT).sum(0)
    ours, theirs = published_macro.macro(parts), []
    for keys in TASKS:
        a, b = (task_labels(x, keys).ravel() for x in (given, read))
        theirs.append([f(a, b, average="macro", zero_division=0) for f in (precision_score, recall_score, f1_score)])
    np.testing.assert_allclose(ours, theirs, atol=1e-15)
    micro = [f1_score(*(task_labels(x, k).ravel() for x in (given, read)), average="micro") for k in TASKS]
    np.testing.assert_allclose(published_macro.micro(parts), micro, atol=1e-15)
    assert (published_macro.macro(np.array([[7, 0], [0, 0]])) == 1).all()


def test_rows_and_scores_of_the_truth(protocol):
    tasks = protocol.tasks(0, 500)
    assert [task.id for task in tasks] == ["clip_0/0", "clip_1/0", "clip_2/0"] and tasks[0].truth.shape == (16, 224, 384, 3)
    entrant = protocol.enter("truth")
    rows = list(protocol.answer(entrant, tasks, [0, 1, 2]).rows)
    buttons, camera = protocol.judge.read(torch.from_numpy(np.stack([task.truth[1:] for task in tasks])))
    scores = protocol.scores(json.loads(json.dumps(rows)), Bootstrap.draw(3, 20, np.random.default_rng(0), 0.95, 4))
    found, wanted = [], []
    for g, keys in enumerate(TASKS):
        given = np.stack([task.actions[:, g] for task in tasks]).ravel()
        if len(keys) == 2:  # the spec's order is not the published one, which is of no consequence
            order = [0, *(1 + keys.index(label) for label in MINECRAFT.groups[g].labels[1:])]
            given = np.array(order)[given]
        wanted.append(f1_score(given, task_labels(buttons.numpy(), keys).ravel(), average="macro", zero_division=0))
        found.append(scores["f1"].groups[MINECRAFT.groups[g].name].value)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert scores["f1"].score.value == pytest.approx(np.mean(wanted))
    degrees = np.clip(np.stack([task.extra["degrees"] for task in tasks]), -10, 10)
    bins = np.abs(vpt_idm.CAMERA.centers - degrees[..., None]).shape  # (3, 15, 2, 11)
    assert bins == (3, 15, 2, 11)
    error = np.abs(camera.numpy() - vpt_idm.CAMERA.quantise(degrees)).mean()
    assert scores["camera_error"].score.value == pytest.approx(error, abs=1e-8)
    assert np.isnan(scores["psnr"].score.value) and np.isnan(scores["fvd"].score.value)
    assert protocol.captions(rows[0]).shape == (15, 11)


def test_camera_beyond_ten_degrees_is_the_last_bin():
    assert vpt_idm.CAMERA.quantise(np.array([-40.0, -10, -0.2, 0, 0.32, 7.9, 90])).tolist() == [0, 0, 5, 5, 6, 10, 10]


class Noise:
    kind = "model"

    def generate(self, prefix, actions, seeds):
        rest = toys.noise((len(prefix), actions.shape[1], *prefix.shape[2:]))
        return np.concatenate([prefix, rest], 1)


@pytest.mark.parametrize("codec", [True, False])
def test_generated_frames_go_through_the_codec_and_true_ones_do_not(folder, codec):
    protocol = protocols.load(dataclasses.replace(SUITE, protocol_options={"codec": codec}))
    protocol.load_judges()
    task = protocol.tasks(0, 1 + 1)[0]
    made = Noise().generate(task.prefix[None], task.actions[None], [0])[0, 1:]
    shown = through_codec(made, 6) if codec else made
    row = protocol.answer(Entrant("noise", "model", Noise()), [task], [0]).rows[0]
    mse = ((shown / 255.0 - task.truth[1:] / 255.0) ** 2).mean((1, 2, 3))
    assert row["scores"]["psnr"] == pytest.approx((-10 * np.log10(mse)).mean(), abs=1e-6)
    assert row["predicted"] == protocol._read(shown)


def test_fvd_is_the_mean_over_prefixes(folder, monkeypatch):
    toys.looks(folder, monkeypatch)
    protocol = protocols.load(SUITE)
    protocol.load_judges()
    assert set(protocol.looks.networks) == {"fvd", "lpips"} and set(protocol.looks.missing) == {
        "imaging_quality",
        "dynamic_degree",
    }
    assert set(protocol.judges()) == {
        f"published/{n}" for n in ("4x_idm.weights", "i3d_torchscript.pt", "alexnet-owt-7be5be79.pth", "lpips-alex.pth")
    }
    tasks = protocol.tasks(0, 3)
    rows = list(protocol.answer(Entrant("last-frame", "baseline", LastFrame()), tasks, [0, 1, 2]).rows)
    scores = protocol.scores(rows, Bootstrap.draw(3, 20, np.random.default_rng(0), 0.95, 4))
    from worldgym.eval.metrics.frechet import frechet

    made = [through_codec(np.repeat(task.prefix, 15, 0), 6) for task in tasks]
    values = []
    for length in (10, 11, 12, 13, 14, 15):
        network = protocol.looks.networks["fvd"]
        a, b = (
            torch.cat([network(torch.from_numpy(c)[None], (length,))[:, 0] for c in clips]).numpy()
            for clips in (made, [task.truth[1:] for task in tasks])
        )
        values.append(frechet(a, b))
    assert scores["fvd"].score.value == pytest.approx(np.mean(values), rel=2e-2) and np.mean(values) > 0  # kept as float16
    assert scores["lpips"].score.value > 0
    one = protocol.scores(rows[:1], Bootstrap.draw(1, 20, np.random.default_rng(0), 0.95, 4))
    assert np.isnan(one["fvd"].score.value) and np.isfinite(one["f1"].score.value)


def test_dynamic_degree_is_vbenchs_rule():
    """15 frames of 224 rows: a pair moves above 5.25 pixels (mean of the longest 5 %), 4 such pairs make a clip dynamic."""
    looks = published_looks.PublishedLooks((), "cpu")

    def flow(first, _):
        field = torch.zeros(1, 2, 224, 384)
        field[0, 0].flatten()[: int(0.05 * 224 * 384)] = float(first[0, 0, 0, 0])
        return field

    looks.networks["dynamic_degree"] = flow
    for moving, length, expected in ((4, 6, 1), (3, 6, 0), (14, 5, 0)):
        frames = np.zeros((15, 224, 384, 3), np.uint8)
        frames[:moving] = length
        assert looks.dynamic(frames, 6) == expected, (moving, length)


def test_a_run_from_end_to_end_says_what_is_missing(folder, monkeypatch, capsys):
    found = job.run(Job(suite=NAME, models=("last-frame",), clips=2, out=str(folder / "out"), device="cpu", batch=2))
    said = capsys.readouterr().out
    assert "note: fvd will be empty" in said and "raft-things.pth" in said and "spaq_ckpt.npz" in said
    assert {entry["name"] for entry in found["entries"]} == {"truth", "shuffled", "last-frame"}
    assert (folder / "out" / "result.json").is_file()


def test_without_data_or_judge_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    with pytest.raises(InputError, match="4x_idm.weights, MIT.* is not here; get it"):
        job.run(Job(suite=NAME, clips=2, out=str(tmp_path / "out"), device="cpu"))
    toys.judge(tmp_path)
    with pytest.raises(InputError, match="validation clips.*is not here; get it.*unpack validation/validation.zip"):
        job.run(Job(suite=NAME, clips=2, out=str(tmp_path / "out"), device="cpu"))


@pytest.mark.long
def test_a_random_checkpoint_of_mineworlds_form_runs_from_end_to_end(folder, monkeypatch):
    """2 clips of 15 x 336 codes, token by token: 48 s of one core."""
    import mineworld_toys

    from worldgym.models.codecs.vq_codec import VQConfig
    from worldgym.models.token.token_model import TokenConfig

    toys.looks(folder, monkeypatch)
    codec = mineworld_toys.random_codec(VQConfig((32,) * 5, layers=1, latent=6, embed=5, codes=8192))
    model = mineworld_toys.random_model(
        TokenConfig(8192, 336, "minecraft", hidden=64, mlp=96, heads=1, kv_heads=1, layers=2, max_frames=16)
    )
    mineworld_toys.write(folder / "tiny_16f.ckpt", model, codec)
    name = f"tiny={folder / 'tiny_16f.ckpt'}"
    found = job.run(Job(suite=NAME, models=(name,), clips=2, out=str(folder / "out"), device="cpu", batch=2))
    entry = next(entry for entry in found["entries"] if entry["name"] == "tiny")
    for metric in ("f1", "camera_error", "fvd", "lpips", "ssim", "psnr"):
        assert entry["scores"][metric]["value"] is not None
