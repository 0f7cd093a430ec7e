"""Options, files and terminals that nobody meant: one sentence each, exit status 2, and no memory taken for a promise."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from worldgym import errors, files, zoo
from worldgym.arena import pairs
from worldgym.data.clips import ARRAYS, ClipStore
from worldgym.errors import InputError
from worldgym.eval.protocols import videos
from worldgym.eval.results import suite as suites
from worldgym.models.files import checkpoint
from worldgym.untrusted import check_numbers, check_types, json_object

ROOT = Path(__file__).parents[1]


# --- options ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("train", "grpo --lr inf", "--lr is inf, but a finite number"),
        ("train", "grpo --kl inf", "--kl is inf"),
        ("train", "nft --betas inf .5", "--betas is inf"),
        ("train", "grpo --advantage-clip 1e300", r"--advantage-clip is 1e\+300, but at most"),
        ("train", "grpo --group 99999999999999999999", "--group is 99999999999999999999, but it must be from 0 to 100000"),
        ("train", "grpo --prompt-batch 1000000000", "--prompt-batch is 1000000000"),
        ("train", "grpo --threads -1", "--threads is -1"),
        ("record", "--workers -2", "--workers is -2"),
        ("record", "--seed 99999999999999999999", "--seed is 99999999999999999999"),
        ("eval", "--batch 1000000000", "--batch is 1000000000"),
        ("eval", "--seed -99999999999999999999", "--seed is -99999999999999999999"),
        ("arena", "a b --port 99999", "--port is 99999, but ports go from 0 to 65535"),
        ("arena", "a b --port -1", "--port is -1"),
    ],
)
def test_an_option_beyond_all_measure_is_a_sentence(name, words, sentence, tmp_path, monkeypatch, capsys):
    import importlib
    import re

    program = importlib.import_module(f"worldgym.{name}" if name == "record" else f"worldgym.{name}.__main__")
    words = words.split() + (["--out", str(tmp_path / "out")] if name != "arena" else [])
    words += ["--iterations", "1"] if name == "train" else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as ended:
        program.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and re.search(sentence, said) and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []  # nothing half-made


def test_nested_settings_are_looked_at_too():
    @dataclasses.dataclass
    class Inner:
        rate: float = 1.0
        sizes: tuple[float, ...] = (1.0, float("nan"))

    @dataclasses.dataclass
    class Outer:
        flag: bool = True
        inner: Inner = dataclasses.field(default_factory=Inner)

    with pytest.raises(InputError, match="--sizes is nan"):
        check_numbers(Outer())
    check_numbers(Outer(inner=Inner(sizes=(1.0, 2.0))))


# --- files ------------------------------------------------------------------------------------------------------------------

HEADERS = {
    "brackets": "(" * 3000,
    "58 TiB": "{'descr': '|u1', 'fortran_order': False, 'shape': (64000000000000,), }",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "nothing": "",
}


def npy(header: str) -> bytes:
    text = header.encode().ljust(128, b" ") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 64


@pytest.fixture
def store(tmp_path) -> Path:
    """A whole clip store of two clips, three frames each."""
    folder = tmp_path / "store"
    folder.mkdir()
    shapes = {"frames": (2, 3, 4, 4, 3), "actions": (2, 2, 8), "poses": (2, 3, 6), "lead": (2, 1, 8)}
    for name, (kind, _) in ARRAYS.items():
        np.save(folder / f"{name}.npy", np.zeros(shapes.get(name, (2,)), kind))
    manifest = {"format": 1, "clips": 2, "spec": "doom", "sha256": "0"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert len(ClipStore(folder)) == 2
    return folder


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe\x00", b'{"format": 1}', b'{"format": 1, "clips": "2", "spec": "doom", "sha256": "0"}',
     b'{"format": 1, "clips": 2, "spec": 3, "sha256": "0"}', b'{"format": [1], "clips": 2}', b'"text"', b"[" * 100_000],
)  # fmt: skip
def test_a_manifest_that_is_none_is_a_sentence(store: Path, content: bytes):
    (store / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="clip store"):
        ClipStore(store)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("wrong", ["kind", "rank", "length", *HEADERS])
def test_an_array_of_the_wrong_kind_is_a_sentence(store: Path, name: str, wrong: str):
    array = np.load(store / f"{name}.npy")
    changed = {"kind": lambda: array.astype("complex64"), "rank": lambda: array[..., None], "length": lambda: array[:1]}
    if wrong in changed:
        np.save(store / f"{name}.npy", changed[wrong]())
    else:
        (store / f"{name}.npy").write_bytes(npy(HEADERS[wrong]))
    with pytest.raises(InputError, match=rf"is damaged: {name}.npy"):
        ClipStore(store)


@pytest.mark.parametrize("name", ["frames", "actions", "poses", "lead"])
def test_arrays_that_do_not_belong_together_are_a_sentence(store: Path, name: str):
    array = np.load(store / f"{name}.npy")
    np.save(store / f"{name}.npy", np.repeat(array, 2, -1))
    with pytest.raises(InputError, match="do not belong together"):
        ClipStore(store)


@pytest.mark.parametrize("wrong", HEADERS)
def test_a_video_with_such_a_header_is_a_sentence(tmp_path: Path, wrong: str):
    (tmp_path / "clip.npy").write_bytes(npy(HEADERS[wrong]))
    with pytest.raises(InputError, match="is not a readable .npy array"):
        videos.read(tmp_path / "clip.npy", 3, (4, 4))
    with pytest.raises(InputError, match="is not a readable .npy array"):
        pairs.load(tmp_path, "clip")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": 3}', '{"sha256": null}', "[" * 100_000])
def test_a_card_that_is_none_is_a_sentence(tmp_path: Path, content: str):
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(InputError, match="the card"):
        zoo.card(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [[], {"kind": 3, "config": {}, "format": 1}, {"kind": "token", "config": [], "format": 1},
     {"kind": "token", "config": {"codes": "many"}, "format": 1}, {"kind": "token", "config": {"hidden": 10**15}, "format": 1},
     {"kind": "token", "config": {"layers": True}, "format": 1}, {"kind": ["token"], "config": {}, "format": 1}],
)  # fmt: skip
def test_a_model_file_with_fields_of_the_wrong_type_is_a_sentence(tmp_path: Path, metadata):
    path = tmp_path / "model.safetensors"
    checkpoint.write_tensors(path, {"x": torch.zeros(1)}, metadata)
    with pytest.raises(InputError):
        zoo.load(str(path))


@pytest.mark.parametrize(
    ("line", "field"),
    [("protocol = 2", "protocol"), ("split = []", "split"), ("judge = 1.5", "judge"), ("frames = true", "frames"),
     ('clips = "many"', "clips"), ("world = 3", "world"), ("size = [1, 2, 3]", "size"), ("name = 4", "name"),
     ("clips = 99999999999999999999", "clips")],
)  # fmt: skip
def test_a_suite_with_fields_of_the_wrong_type_is_a_sentence(tmp_path: Path, line: str, field: str):
    text = (suites.FOLDER / "action-following-doom-rooms-v1.toml").read_text(encoding="utf-8")
    kept = [each for each in text.splitlines() if not each.startswith(f"{field} =")]
    path = tmp_path / "mine-v1.toml"
    path.write_text("\n".join([line, *kept]), encoding="utf-8")
    with pytest.raises(InputError, match=f"suite file .*{field}"):
        suites.load(str(path))


def test_types_of_fields():
    @dataclasses.dataclass
    class Config:
        count: int = 1
        rate: float = 1.0
        sizes: tuple[int, ...] = ()
        name: str | None = None

    for good in ({"count": 3, "rate": 2, "sizes": [1, 2], "name": None}, {"sizes": (), "name": "x"}):
        check_types(Config, good, "it")
    for bad in (
        {"count": 1.5},
        {"count": True},
        {"rate": "fast"},
        {"sizes": 3},
        {"sizes": ["a"]},
        {"name": 4},
        {"count": 10**12},
    ):
        with pytest.raises(InputError, match=f"it has .* in '{next(iter(bad))}'"):
            check_types(Config, bad, "it")


def test_json_of_a_size_that_nobody_wrote(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("worldgym.untrusted.LARGEST_JSON", 10)
    (tmp_path / "big.json").write_text('{"a": "aaaaaaaaaaaaa"}')
    with pytest.raises(InputError, match="it has 22 bytes; at most 10 are read"):
        json_object(tmp_path / "big.json", "it")


# --- terminals and disks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["train", "record", "eval"])
@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_help_on_any_terminal(program: str, encoding: str):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    found = subprocess.run([sys.executable, "-m", f"worldgym.{program}", "--help"], env=environment, capture_output=True)
    assert found.returncode == 0 and b"Traceback" not in found.stderr and len(found.stdout) > 200


def test_an_output_folder_with_an_umlaut_where_nobody_knows_umlauts(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["-m", "worldgym.record", "--clips", "1", "--frames", "2", "--workers", "1", "--out", "dä".encode()]
    subprocess.run([sys.executable, *words], env=environment, check=True, cwd=tmp_path, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["dä"]


def test_text_with_bytes_of_another_encoding_is_written_as_it_was(tmp_path: Path):
    files.write_json(tmp_path / "x.json", {"path": "d\udcc3\udca4"})
    assert json.loads((tmp_path / "x.json").read_bytes().decode()) == {"path": "dä"}


def test_a_full_disk_names_the_file(tmp_path: Path, capsys):
    for write in (
        lambda file: file.write_bytes(b"x") and (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
        lambda file: np.save(file, np.zeros(3)) or (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")),
        lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")),
    ):

        @errors.exit_with_sentence
        def main(write=write):
            with files.atomic_path(tmp_path / "result.json") as temporary:
                for _ in write(temporary):
                    pass

        with pytest.raises(SystemExit):
            main()
        assert f"the disk is full: could not write '{tmp_path / 'result.json'}'" in capsys.readouterr().err
        assert not [path for path in tmp_path.iterdir() if "tmp-" in path.name and path.suffix != ".npy"]
