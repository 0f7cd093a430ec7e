"""Settings: few fields, none where it does not act, presets by kind of model, the same through YAML."""

import pytest
import trainer_toys as toys

from worldgym.errors import InputError
from worldgym.train import presets
from worldgym.train.__main__ import read
from worldgym.train.config import ALGORITHMS, from_yaml, reachable, section_classes, to_yaml

KINDS = [(algorithm, kind) for algorithm, kinds in ALGORITHMS.items() for kind in kinds]
WHERE = ["--out", "x", "--iterations", "3"]
EVERY = {name for home in KINDS for name in reachable(section_classes(*home))}
FOREIGN = [(*home, name) for home in KINDS for name in sorted(EVERY - set(reachable(section_classes(*home))))]


@pytest.mark.parametrize("home", KINDS)
def test_a_run_has_at_most_45_fields(home, capsys):
    fields = reachable(section_classes(*home))
    with capsys.disabled():
        print(f"\n{home[0]} of {home[1]} models: {len(fields)} fields")
    assert len(fields) <= 45
    assert len(fields) == len(to_yaml(_config(*home)).split("\n")) - 2 - 5 - 1 + _list_lines(home)  # head, sections, end


def _list_lines(home):
    """YAML gives every part of a list a line of its own."""
    return -sum(line.startswith("  - ") for line in to_yaml(_config(*home)).split("\n"))


def _config(algorithm, kind):
    return read([algorithm, "--preset", next(iter(presets.PRESETS[algorithm, kind])), *WHERE])


@pytest.mark.parametrize(("algorithm", "kind", "name"), FOREIGN)
def test_a_field_that_acts_elsewhere_is_refused_with_the_place_where_it_acts(algorithm, kind, name):
    preset = next(iter(presets.PRESETS[algorithm, kind]))
    word = f"--{name.replace('_', '-')}"
    with pytest.raises(InputError, match=rf"{word} is a setting of .*; this is {algorithm} of a {kind} model"):
        read([algorithm, "--preset", preset, *WHERE, word, "1"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["grpo", "--preset", "worldcompass-nano"], "is a preset of nft: python -m worldgym.train nft"),
        (["grpo", "--preset", "rlir-token", "--model", "doom-rooms/diffusion-nano-v3"], "is for token models, but --model is"),
        (["nft", "--model", "doom-rooms/token-nano"], "nft does not train token models; use grpo or draft"),
        (["grpo", "--grup", "3"], "did you mean '--group'"),
    ],
)
def test_a_wrong_preset_or_name_is_one_sentence(words, sentence):
    with pytest.raises(InputError, match=sentence):
        read([*words, *WHERE])


@pytest.mark.parametrize(("model", "kind"), [("token-nano", "token"), ("diffusion-nano-v3", "diffusion")])
@pytest.mark.parametrize("algorithm", ["grpo", "draft"])
def test_the_first_preset_is_one_for_the_kind_of_model(algorithm, model, kind, capsys):
    config = read([algorithm, "--model", f"doom-rooms/{model}", *WHERE])
    name, preset = next(iter(presets.PRESETS[algorithm, kind].items()))
    assert (config.rollout, config.algorithm) == (preset.rollout, preset.algorithm)
    assert f"preset {name!r}: {algorithm} of {kind} models" in capsys.readouterr().err


@pytest.mark.parametrize("home", KINDS)
def test_yaml_gives_the_same_settings(home, tmp_path):
    config = _config(*home)
    assert from_yaml(to_yaml(config)) == config
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(config))
    again = read([home[0], "--settings", str(file), "--lr", "0.5", "--minutes", "2"])
    assert (again.optimisation.lr, again.run.minutes, again.run.iterations) == (0.5, 2.0, None)
    assert (again.task, again.rollout, again.algorithm) == (config.task, config.rollout, config.algorithm)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  group:", "  grup:", "did you mean '--group'"),
        ("  group:", "  denoise_steps:", "is a setting of rollouts of diffusion models"),
        ("  group:", "  lr:", "stands in the section 'rollout', but belongs to 'optimisation'"),
        ("group: 16", "group: many", "group is 'many', but must be int"),
    ],
)
def test_wrong_yaml_is_one_sentence(old, new, sentence):
    text = to_yaml(_config("grpo", "token"))
    assert old in text
    with pytest.raises(InputError, match=sentence):
        from_yaml(text.replace(old, new, 1))


def test_a_run_writes_its_settings(tmp_path):
    from worldgym.train import run

    config = toys.run_config(toys.files(tmp_path / "files"), tmp_path / "run", iterations=1)
    run.train(config, "x")
    assert from_yaml((tmp_path / "run" / "settings.yaml").read_text()) == config
