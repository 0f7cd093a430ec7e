"""Files that are whole or not there, named generators, the door of programs."""

import errno

import numpy as np
import pytest

from worldgym import files, rng
from worldgym.errors import InputError, exit_with_sentence, unknown


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_run_go_and_nothing_else(tmp_path):
    kept = [tmp_path / "a" / "0.json", tmp_path / "a" / "b" / "0.webm.tmp-7", tmp_path / "tmp-7.json"]
    left = [tmp_path / "result.json.tmp-7", tmp_path / "a" / "0.webm.tmp-71"]
    for path in kept + left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    files.remove_leftovers(tmp_path, "*")
    assert [path.exists() for path in kept + left] == [True] * 3 + [False] * 2


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the output folder"):
        files.output_folder(tmp_path / "file" / "below")


def test_sha256_of_the_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert files.sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_streams_differ_by_seed_and_name_and_are_repeatable():
    draws = {key: rng.generator(*key).integers(2**62) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]}
    assert len(set(draws.values())) == len(draws)
    assert rng.generator(0, "a").integers(2**62) == draws[0, "a"]
    assert rng.torch_seed(0, "a") == 4950127121108668649  # the same on every machine and Python


def test_a_row_does_not_know_its_neighbours():
    together = rng.RowNoise([3, 4, 5])
    alone = rng.RowNoise([4])
    for draw in (lambda n: n.normal(2, 3), lambda n: n.uniform(5)):
        np.testing.assert_array_equal(draw(together)[1].numpy(), draw(alone)[0].numpy())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("what came"), "error: what came"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "error: the disk is full: could not write '/x/y'"),
    ],
)
def test_programs_end_with_one_sentence(error, words, capsys):
    @exit_with_sentence
    def main():
        raise error

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(words) and said.count("\n") == 1


def test_a_bug_is_not_hidden():
    @exit_with_sentence
    def main():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        main()


def test_unknown_names_the_nearest():
    assert "did you mean 'doom-rooms'?" in str(unknown("world", "doom-room", ["doom-rooms", "other"]))
