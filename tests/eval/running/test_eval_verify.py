"""`--verify` accepts what was made and rejects every kind of tampering, also when the tamperer computes hashes again."""

import copy
import json
import sys

import numpy as np
import pytest
from eval_finished import CLIPS, Sloppy

from worldgym.errors import InputError
from worldgym.eval import __main__, protocols
from worldgym.eval.results import record, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.digests import chain
from worldgym.eval.running.verify import accepted, verify

ENTRIES = ["truth", "shuffled", "toy--good", "toy--sloppy", "last-frame"]


def path_of(folder, entry="toy--sloppy"):
    return folder / "out" / entry / "0.json"


def check(run, path, **changes):
    options = {"suite": str(run / "toy-v1.toml"), "sample": CLIPS, "rng": np.random.default_rng(0), **changes}
    return verify(path, **options)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_of_a_run_is_accepted(finished, entry):
    found = check(finished, path_of(finished, entry))
    assert accepted(found) and len(found) == 13
    assert [finding.agrees for finding in found] == [True] * 13, list(map(str, found))
    assert "6 of them bit for bit" in found[-1].says


@pytest.mark.parametrize("entry", ENTRIES)
def test_rows_from_clips(finished, entry):
    found = check(finished, path_of(finished, entry), folder=str(finished / "out" / "clips" / entry), sample=0)
    assert accepted(found) and found[-1].what == "clips" and found[-1].agrees


def test_other_clips_are_noticed(finished):
    found = check(finished, path_of(finished), folder=str(finished / "out" / "clips" / "toy--good"), sample=0)
    assert not accepted(found) and "6 rows differ: toy/0/0" in found[-1].says


# --- tampering ----------------------------------------------------------------------------------------------------------


def again(found, folder):
    """What a careful tamperer does: all that follows from the rows is computed again."""
    rows = found["rows"]
    protocol = protocols.load(suites.load(str(folder / "toy-v1.toml")))
    found["scores"] = scores.of_rows(protocol, {found["seed"]: rows})
    found["clips"] = {"count": len(rows), "failed": len(scores.failed(rows)), "sha256": chain(r["task_sha256"] for r in rows)}
    found["frames_sha256"] = chain(row.get("frames_sha256") for row in rows)


def changed_mean(found, folder):
    found["scores"]["f1"]["value"] -= 0.01


def edited_interval(found, folder):
    found["scores"]["f1"]["low"] -= 1e-4


def edited_group(found, folder):
    found["scores"]["f1"]["groups"]["move"]["value"] -= 0.1


def edited_iqm(found, folder):
    found["scores"]["psnr"]["iqm"] += 1


def edited_direction(found, folder):
    found["scores"]["camera_error"]["better"] = "higher"


def hidden_hole(found, folder):
    found["scores"]["psnr"]["value"] = None


def changed_row_number(found, folder):
    found["rows"][2]["scores"]["psnr"] += 3


def changed_row_and_all_that_follows(found, folder):
    found["rows"][2]["predicted"] = dict(found["rows"][2]["given"])
    again(found, folder)


def better_picture_and_all_that_follows(found, folder):
    for row in found["rows"]:
        row["scores"]["psnr"] += 3
    again(found, folder)


def features_of_the_truth(found, folder):
    for row in found["rows"]:
        row["features"] = row["truth_features"]
    again(found, folder)


def dropped_clip(found, folder):
    del found["rows"][1]
    again(found, folder)


def duplicated_row(found, folder):
    found["rows"][1] = copy.deepcopy(found["rows"][0])
    again(found, folder)


def duplicated_and_renamed_row(found, folder):
    found["rows"][1] = {**found["rows"][0], "id": found["rows"][1]["id"], "task_sha256": found["rows"][1]["task_sha256"]}
    again(found, folder)


def reordered_rows(found, folder):
    found["rows"].reverse()
    again(found, folder)


def other_prompts(found, folder):
    for row in found["rows"]:
        row["id"] = row["id"].replace("toy", "easy")
    again(found, folder)


def other_truth(found, folder):
    found["rows"][0]["task_sha256"] = "1" * 64
    again(found, folder)


def other_actions(found, folder):
    """The actions that were "given" are those that the judge read."""
    for row in found["rows"]:
        row["given"] = dict(row["predicted"])
    again(found, folder)


def hidden_failure(found, folder):
    """A row that would be a failure is a copy of the neighbour's values."""
    found["rows"][3] = {**copy.deepcopy(found["rows"][2]), "id": found["rows"][3]["id"]}
    again(found, folder)


def failure_left_out_of_the_count(found, folder):
    found["rows"][3] = {key: found["rows"][3][key] for key in ("id", "task_sha256")} | {"failure": "sorry"}
    again(found, folder)
    found["clips"]["failed"] = 0


def invented_failure(found, folder):
    found["rows"][3] = {key: found["rows"][3][key] for key in ("id", "task_sha256")} | {"failure": "sorry"}
    again(found, folder)


def mean_over_a_hole(found, folder):
    kept = copy.deepcopy(found["scores"])
    invented_failure(found, folder)
    found["scores"] = kept


def swapped_weights(found, folder):
    found["entry"]["weights_sha256"] = "2" * 64


def another_models_name(found, folder):
    """Weights and name of the better model beside the rows of the worse one."""
    good = json.loads(path_of(folder, "toy--good").read_text())
    found["entry"] = good["entry"]


def another_models_rows(found, folder):
    good = json.loads(path_of(folder, "toy--good").read_text())
    found["rows"] = good["rows"]
    again(found, folder)


def other_sampling(found, folder):
    found["entry"]["sampling"] = {"top_p": 0.1}


def truth_under_another_name(found, folder):
    truth = json.loads(path_of(folder, "truth").read_text())
    found.update({key: truth[key] for key in ("rows", "scores", "frames_sha256", "clips")})
    found["entry"] = {**truth["entry"], "name": "my-model"}


def other_suite_bytes(found, folder):
    found["suite"]["sha256"] = "3" * 64


def other_suite_version(found, folder):
    found["suite"].update(version=2)


def other_suite_name(found, folder):
    found["suite"]["name"] = "action-following-doom-rooms-v2"


def other_judge(found, folder):
    found["judges"] = {name: "4" * 64 for name in found["judges"]}


def other_seed(found, folder):
    found["seed"] = 1


def other_bootstrap(found, folder):
    found["bootstrap"]["level"] = 0.5


def metric_left_out(found, folder):
    del found["scores"]["camera_error"]


def metric_invented(found, folder):
    found["scores"]["beauty"] = {"better": "higher", "value": 1.0, "low": 1.0, "high": 1.0}


def other_frames(found, folder):
    found["rows"][0]["frames_sha256"] = "5" * 64


def other_clip_hash(found, folder):
    found["clips"]["sha256"] = "6" * 64


def wrong_count(found, folder):
    found["clips"]["count"] = 7


TAMPERING = {  # what must notice it, when all hashes are computed again
    "scores": [
        *(changed_mean, edited_interval, edited_group, edited_iqm, edited_direction, hidden_hole),
        *(changed_row_number, mean_over_a_hole),
    ],
    "sample": [
        *(changed_row_and_all_that_follows, better_picture_and_all_that_follows, features_of_the_truth),
        *(invented_failure, another_models_name, another_models_rows),
    ],
    "questions": [dropped_clip, reordered_rows, other_prompts, other_truth, other_actions, hidden_failure, other_seed],
    "rows": [duplicated_row, duplicated_and_renamed_row],
    "counts": [failure_left_out_of_the_count, wrong_count],
    "weights": [swapped_weights, other_sampling, truth_under_another_name],
    "suite": [other_suite_bytes, other_suite_version, other_suite_name],
    "judges": [other_judge],
    "protocol": [other_bootstrap, metric_left_out, metric_invented],
    "frames": [other_frames],
    "test clips": [other_clip_hash],
}
CASES = [(what, change) for what, changes in TAMPERING.items() for change in changes]


@pytest.mark.parametrize(("what", "change"), CASES, ids=[change.__name__ for _, change in CASES])
def test_tampering_is_rejected_by_name(finished, tmp_path, what, change):
    """First as an edit of the file alone (the seal breaks), then with the seal computed again (its own check notices)."""
    found = json.loads(path_of(finished).read_text())
    change(found, finished)
    path = tmp_path / "0.json"
    path.write_text(json.dumps(found))
    plain = [finding for finding in check(finished, path, sample=0) if finding.agrees is False]
    assert "seal" in [finding.what for finding in plain]
    found["sha256"] = record.seal(found)
    path.write_text(json.dumps(found))
    sealed = [finding for finding in check(finished, path) if finding.agrees is False]
    names = [finding.what for finding in sealed]
    assert what in names and "seal" not in names, list(map(str, sealed))


def test_there_are_many_kinds():
    assert len(CASES) == len({change for _, change in CASES}) >= 12


def test_anything_else_breaks_the_seal(finished, tmp_path):
    """Commit, versions, hardware, command: nothing here can compute them again, but they can't be edited in passing."""
    for key in ("commit", "command", "env_spec", "batch"):
        found = json.loads(path_of(finished).read_text())
        found["run"][key] = 7 if key == "batch" else "b" * 40
        (tmp_path / "0.json").write_text(json.dumps(found))
        assert [f.what for f in check(finished, tmp_path / "0.json", sample=0) if f.agrees is False] == ["seal"]


# --- what cannot be checked -----------------------------------------------------------------------------------------------


def test_weights_that_are_not_here_are_unknown_not_wrong(finished, tmp_path):
    found = json.loads(path_of(finished).read_text())
    found["entry"].update(name="far", origin="far/away")
    found["sha256"] = record.seal(found)
    (tmp_path / "0.json").write_text(json.dumps(found))
    findings = {finding.what: finding for finding in check(finished, tmp_path / "0.json")}
    assert findings["weights"].agrees is None and "give it by --models" in findings["weights"].says
    assert findings["sample"].agrees is None and accepted(list(findings.values()))
    named = check(finished, tmp_path / "0.json", model="toy/sloppy")
    assert all(finding.agrees for finding in named)


def test_rounding_is_forgiven_and_more_is_not(finished, monkeypatch):
    """Another machine: a pixel differs by one level here and there. Then frames differ, but rows hardly do."""

    def shifted(self, prefix, actions, seeds, **options):
        frames = whole(self, prefix, actions, seeds, **options)
        frames[:, 1:, 5:, :, 1] = frames[:, 1:, 5:, :, 1].clamp(min=amount)
        return frames

    whole, amount = Sloppy.generate, 1
    monkeypatch.setattr(Sloppy, "generate", shifted)
    found = check(finished, path_of(finished))
    assert accepted(found) and "6 clips from weights, 0 of them bit for bit" in found[-1].says
    amount = 200
    assert [finding.what for finding in check(finished, path_of(finished)) if not finding.agrees] == ["sample"]


def test_command_line(finished, monkeypatch, capsys, tmp_path):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["worldgym.eval", "--suite", str(finished / "toy-v1.toml"), *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            __main__.main()
        return stop.value.code

    found = json.loads(path_of(finished).read_text())
    changed_mean(found, finished)
    (tmp_path / "bad.json").write_text(json.dumps(found))
    assert run("--verify", path_of(finished), path_of(finished, "truth")) == 0
    assert capsys.readouterr().out.count(": accepted") == 2
    assert run("--verify", path_of(finished), tmp_path / "bad.json", "--sample", 0) == 1
    out = capsys.readouterr().out
    assert "bad.json: REJECTED" in out and "DIFFERS  scores: not what the rows give: f1.value" in out
    assert run("--verify", tmp_path / "none.json") == 2
    error = capsys.readouterr().err
    assert "none.json' does not exist" in error and error.count("\n") == 1


def test_a_summary_is_not_a_result(finished):
    with pytest.raises(InputError, match="is the summary of a run; name the file of one entry"):
        check(finished, finished / "out" / "result.json")
