"""The mean of models: numbers on paper, a model that loads and plays, a card that says of what, bad use."""

import json

import pytest
import torch
import trainer_toys as toys

import worldgym
from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.models.files import checkpoint
from worldgym.train import run


@pytest.fixture(scope="module")
def means(program):
    return program("baselines/average.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 4 iterations with a snapshot after each."""
    folder = tmp_path_factory.mktemp("average")
    files = toys.files(folder / "files", "diffusion")
    run.train(toys.run_config(files, folder / "run", "nft", snapshot_every=1), "python -m worldgym.train x")
    return folder


def snapshots(trained):
    return sorted(str(path) for path in (trained / "run").glob("step-*.safetensors"))


def test_mean_on_paper(means):
    mean = means.mean
    count = torch.tensor([7])
    found = mean([{"w": torch.tensor([1.0, 2.0]), "n": count}, {"w": torch.tensor([4.0, 2.0]), "n": count + 1}])
    assert found["w"].tolist() == [2.5, 2.0] and found["n"].tolist() == [7]
    found = mean([{"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([4.0, 2.0])}], [3, 1])
    assert found["w"].tolist() == [1.75, 2.0]
    halves = [{"w": torch.tensor([60000.0], dtype=torch.float16)}] * 4  # their sum is no float16
    assert mean(halves)["w"].item() == 60000


def test_a_mean_is_a_model_with_a_card(means, trained, tmp_path, monkeypatch):
    sources = snapshots(trained)
    monkeypatch.setattr("sys.argv", ["average.py", "--models", *sources[1:], "--out", str(tmp_path / "mean")])
    means.main()
    path = tmp_path / "mean" / "model.safetensors"
    tensors, parts = checkpoint.read(path)[2], [checkpoint.read(source)[2] for source in sources[1:]]
    assert any(not torch.equal(parts[0][name], parts[1][name]) for name in tensors)
    for name, values in tensors.items():
        torch.testing.assert_close(values, sum(part[name].double() for part in parts).div(len(parts)).float())
    world = worldgym.load(str(tmp_path / "mean"))
    made = world.generate(
        torch.zeros(1, 1, 24, 32, 3, dtype=torch.uint8), torch.zeros(1, 2, 8, dtype=torch.int64), [0], steps=2
    )
    assert made.shape == (1, 3, 24, 32, 3)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == sha256(path) and [source["sha256"] for source in card["sources"]] == list(
        map(sha256, sources[1:])
    )
    assert card["steps"] == 4 and card["commands"] == ["python -m worldgym.train x"]  # one run: its longest snapshot counts


def test_a_base_among_them_adds_weights_and_no_training(means, trained, tmp_path):
    """Toward its base a model gets nearer to it; time, steps and origin are those of its own training, in either order."""
    base, last = str(trained / "files" / "model.safetensors"), snapshots(trained)[-1]
    for name, order in {"first": (base, last), "last": (last, base)}.items():
        path = means.average(means.AverageConfig(models=order, out=tmp_path / name), "x")
        card = json.loads(path.with_suffix(".json").read_text())
        assert card["steps"] == 4 and card["post_training"] == "nft" and card["commands"] == ["python -m worldgym.train x"]
        assert card["base_sha256"] == sha256(base) and len(card["sources"]) == 2
        assert checkpoint.read(path)[3]["post_training"] == "nft"
    again = means.average(means.AverageConfig(models=(str(path), last), out=tmp_path / "again"), "y")
    assert json.loads(again.with_suffix(".json").read_text())["commands"] == ["python -m worldgym.train x", "x"]


def test_bad_use_is_one_sentence_and_leaves_nothing(means, trained, tmp_path):
    sources, out = snapshots(trained), tmp_path / "none"
    with pytest.raises(InputError, match="a mean needs at least 2"):
        means.AverageConfig(models=(sources[0],), out=out)
    with pytest.raises(InputError, match="--weights has 1 numbers, but --models names 2: give one for each"):
        means.AverageConfig(models=tuple(sources[:2]), out=out, weights=(1.0,))
    with pytest.raises(InputError, match="every weight must be a number above 0"):
        means.AverageConfig(models=tuple(sources[:2]), out=out, weights=(1.0, 0.0))
    with pytest.raises(InputError, match="differ in settings and kind and weights and codec"):
        means.average(means.AverageConfig(models=("doom-rooms/diffusion-nano", "doom-rooms/token-nano"), out=out), "x")
    with pytest.raises(InputError, match="there is no file"):
        means.average(means.AverageConfig(models=(sources[0], "nowhere/x.safetensors"), out=out), "x")
    assert not out.exists()
    with pytest.raises(InputError, match="already holds a model"):
        means.average(means.AverageConfig(models=tuple(sources), out=trained / "run"), "x")
    with pytest.raises(InputError, match="the mean of 'w' is not finite"):
        means.mean([{"w": torch.tensor([1.0])}, {"w": torch.tensor([torch.nan])}])
