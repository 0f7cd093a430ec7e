"""The runner on a world whose scores are known on paper."""

import dataclasses
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_toys import SUITE, Obedient, Toy, clips_of, entrant
from sklearn.metrics import f1_score, precision_score, recall_score

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.eval.display import picture, report
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.protocols import entries
from worldgym.eval.protocols.action_following import derangement
from worldgym.eval.results import record, rows
from worldgym.eval.running.runner import Run
from worldgym.rng import torch_seed


def run(models, clips=None, seed=0, batch=5, suite=SUITE):
    protocol, tasks = Toy(suite), Toy.with_donors(clips_of() if clips is None else clips, seed, suite)
    protocol.load_judges()
    entrants = [protocol.enter(name) for name in protocol.references] + [entrant(*model) for model in models.items()]
    with tempfile.TemporaryDirectory() as folder:
        work = Run(protocol, tasks, seed, batch, Path(folder), {}, shown=range(len(tasks)))
        return [work.entry(one) for one in entrants]


def value(answer, metric):
    found = answer.scores[metric]["value"]
    return np.nan if found is None else found


def labels(answer, key):
    return np.stack([rows.labels(DOOM.names, row[key]) for row in answer.rows])


@pytest.fixture(scope="module")
def answers():
    models = {"good": Obedient(), "no-move": Obedient(wrong=("move",)), "still": entries.LastFrame()}
    return {answer.name: answer for answer in run(models)}


def circumstances(seed=0):
    return record.Circumstances(SUITE, seed, {}, ["0" * 64] * 12, 5, "cpu", 1, [], {"total_s": 1.0})


def summary(found):
    return record.summary(circumstances(), list(found), ["-"] * len(found), ["-"] * len(found))


def test_rows_come_in_order(answers):
    assert list(answers) == ["truth", "shuffled", "good", "no-move", "still"]
    assert [a.entrant.kind for a in answers.values()] == ["truth", "shuffled", "token", "token", "baseline"]


def test_truth_is_the_ceiling_and_is_not_compared_with_itself(answers):
    for metric in ("f1", "precision", "recall", "exact_match", "group_accuracy"):
        assert value(answers["truth"], metric) == value(answers["good"], metric) == 1
    assert value(answers["truth"], "camera_error") == 0
    for row in ("truth", "shuffled"):
        assert np.isnan([value(answers[row], m) for m in ("psnr", "ssim", "frechet_idm_heldout")]).all()
    assert value(answers["good"], "frechet_idm_heldout") > 0


def test_shuffled_is_scored_against_the_donors_actions(answers):
    row, clips = answers["shuffled"], {task.id: task for task in clips_of()}
    for clip, found in zip(clips.values(), row.rows, strict=True):
        assert found["given_from"] != clip.id
        assert (rows.labels(DOOM.names, found["given"]) == clips[found["given_from"]].actions).all()
        assert (rows.labels(DOOM.names, found["predicted"]) == clip.actions).all()
    assert len({found["given_from"] for found in row.rows}) == 12
    assert 0.2 < value(row, "f1") < 0.8


@pytest.mark.parametrize("name", ["shuffled", "still"])
def test_scores_equal_scikit_learn(answers, name):
    given, read = labels(answers[name], "given"), labels(answers[name], "predicted")
    used = [g for g, group in enumerate(DOOM.groups) if group.name != "weapon"]
    pairs = [(given[..., g].ravel(), read[..., g].ravel()) for g in used]
    for metric, by_sklearn in {"f1": f1_score, "precision": precision_score, "recall": recall_score}.items():
        wanted = np.mean([by_sklearn(a, b, average="macro", zero_division=0) for a, b in pairs])
        assert value(answers[name], metric) == pytest.approx(wanted, abs=1e-9)  # 9 digits are written
    micro = np.mean([f1_score(a, b, average="micro") for a, b in pairs])
    assert value(answers[name], "f1_micro") == pytest.approx(micro, abs=1e-9)
    assert answers[name].scores["f1_micro"]["groups"]["weapon"] is None


def test_unused_group_is_left_out(answers):
    assert answers["truth"].scores["f1"]["groups"]["weapon"] is None
    assert answers["truth"].scores["f1"]["groups"]["move"]["value"] == 1


def test_one_wrong_group_of_five(answers):
    """Every "move" is read as the next label, so its F1 is 0 and the mean over the 5 used groups is 4/5."""
    wrong = answers["no-move"]
    assert value(wrong, "f1") == pytest.approx(4 / 5)
    assert value(wrong, "exact_match") == 0 and value(wrong, "group_accuracy") == pytest.approx(4 / 5)
    groups = wrong.scores["f1"]["groups"]
    assert groups["move"]["value"] == 0 and groups["jump"]["value"] == 1


def test_last_frame_repeats_the_prompt(answers):
    for clip, task in enumerate(clips_of()):
        assert (answers["still"].shown[clip] == task.prefix).all()
    assert (labels(answers["still"], "predicted") == DOOM.null).all()


def test_prefix_is_not_scored(answers):
    """Six frames, one of them given: pixels are compared on the last five only."""
    good, clips = answers["good"], clips_of()
    frames, truth = np.stack(list(good.shown.values())), np.stack([task.truth for task in clips])
    assert labels(good, "given").shape == (12, 5, 8)
    assert value(good, "psnr") == pytest.approx(psnr(frames[:, 1:], truth[:, 1:]).mean(), abs=1e-8)


def test_batch_size_changes_nothing():
    a, b = (run({"m": Obedient(("yaw",)), "still": entries.LastFrame()}, batch=batch) for batch in (1, 12))
    for one, two in zip(a, b, strict=True):
        assert one.rows == two.rows and one.scores == two.scores


def test_same_seed_same_result_other_seed_other_noise():
    first, again, other = (
        [record.entry_record(circumstances(s), answer) for answer in run({"m": Obedient()}, seed=s)] for s in (3, 3, 4)
    )
    assert [found["sha256"] for found in first] == [found["sha256"] for found in again]
    assert first[2]["frames_sha256"] != other[2]["frames_sha256"]


def test_global_random_state_is_untouched():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run({"m": Obedient()})
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_noise_belongs_to_the_clip_and_sampling_to_the_kind():
    model, clips = Obedient(), clips_of()
    found = run({"m": model}, clips, seed=7)[2]
    assert model.calls[0] == {"batch": 5, "inference": True, "top_p": 0.8, "temperature": 1.0}
    noise = np.random.default_rng(torch_seed(7, clips[3].id)).integers(0, 256, (6, 16, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(found.shown[3][2, 1:], noise[2, 1:])


def test_two_frames_given():
    """With P = 2 the first action lies inside the prefix and is not scored."""
    suite, clips = dataclasses.replace(SUITE, prefix=2), clips_of(prefix=2)
    found = run({"m": Obedient()}, clips, batch=4, suite=suite)[2]
    assert labels(found, "given").shape == labels(found, "predicted").shape == (12, 4, 8)
    assert all((found.shown[i][:2] == task.prefix).all() for i, task in enumerate(clips)) and value(found, "f1") == 1


class Broken:
    kind = "token"

    def __init__(self, change):
        self.change = change

    def generate(self, prefix, actions, seeds, **options):
        return self.change(entries.LastFrame().generate(prefix, actions, seeds))


@pytest.mark.parametrize("change", [lambda f: f[:, :-1], lambda f: f.astype(np.float32), lambda f: f[:, :, ::2]])
def test_wrong_frames_are_named_and_recorded(change):
    found = run({"mine": Broken(change)})[2]
    wanted = r"model 'mine' returned .* but uint8 frames of shape \(1, 6, 16, 24, 3\) .*"
    assert all(re.fullmatch(wanted, row["failure"]) for row in found.rows)
    assert np.isnan(value(found, "f1"))


def test_one_bad_clip_costs_no_other():
    """The clip on which the model raises is a record; a mean over a hole is null; the other rows are as always."""

    class Moody(Obedient):
        def generate(self, prefix, actions, seeds, **options):
            if torch_seed(0, "toy/7/0") in seeds:
                raise RuntimeError("not\nthis one")
            return super().generate(prefix, actions, seeds, **options)

    moody, good = run({"m": Moody()})[2], run({"m": Obedient()})[2]
    assert [i for i, row in enumerate(moody.rows) if "failure" in row] == [7]
    assert moody.rows[7]["failure"] == "RuntimeError: not this one" and moody.rows[7]["id"] == "toy/7/0"
    assert [row for i, row in enumerate(moody.rows) if i != 7] == [row for i, row in enumerate(good.rows) if i != 7]
    assert all(score["value"] is None and score["low"] is None for score in moody.scores.values())


def test_one_clip_is_too_few():
    with pytest.raises(InputError, match="at least 2 clips, not 1"):
        run({}, clips_of(clips=1))


@pytest.mark.parametrize("clips", [2, 3, 64])
def test_derangement_leaves_nobody_in_place(clips):
    for seed in range(50):
        donors = derangement(clips, np.random.default_rng(seed))
        assert sorted(donors) == list(range(clips)) and not (donors == np.arange(clips)).any()


def test_record_holds_rows_that_give_the_scores(answers, tmp_path):
    path = record.write(record.entry_record(circumstances(), answers["no-move"]), tmp_path)
    found = json.loads(path.read_text())
    assert path == tmp_path / "no-move" / "0.json"
    assert found["schema"] == 2 and found["suite"]["sha256"] == SUITE.sha256 and found["suite"]["version"] == 1
    given, read = (np.stack([rows.labels(DOOM.names, row[key]) for row in found["rows"]]) for key in ("given", "predicted"))
    assert (given == np.stack([task.actions for task in clips_of()])).all()
    assert found["scores"]["group_accuracy"]["value"] == pytest.approx((given == read)[..., [0, 1, 2, 3, 4]].mean())
    assert found["scores"]["psnr"]["value"] == pytest.approx(np.mean([row["scores"]["psnr"] for row in found["rows"]]))
    assert found["clips"] == {"count": 12, "failed": 0, "sha256": found["clips"]["sha256"]}
    truth = record.entry_record(circumstances(), answers["truth"])
    assert truth["scores"]["psnr"]["value"] is None and truth["entry"]["weights_sha256"] is None
    assert not list(tmp_path.rglob("*.tmp-*"))


def test_the_seal_holds_everything_but_time(answers):
    found = record.entry_record(circumstances(), answers["good"])
    assert record.seal({**found, "time": {}}) == found["sha256"] == record.seal(found)
    for key in set(found) - {"time", "sha256"}:
        assert record.seal({**found, key: "other"}) != found["sha256"], key


@pytest.mark.parametrize(
    ("name", "folder"),
    [("doom-rooms/token-nano", "doom-rooms--token-nano"), ("last-frame", "last-frame"), ("a.b_c/D-1", "a.b_c--D-1")],
)
def test_plain_names_stay_readable(name, folder):
    assert record.slug(name) == folder


def test_no_two_names_share_a_folder_and_none_leaves_it():
    names = ["a/b", "a--b", "../a", "../../a", "/a", "a", ".", "..", "", "a b", "a-b", "a:b", "ä", "x" * 300, "x" * 301]
    slugs = [record.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", found) for found in slugs), slugs


def test_table_shows_values_intervals_and_the_way_from_floor_to_truth(answers):
    text = report.table(summary(answers.values()), Toy.metrics)
    lines = {
        line.strip().split("  ")[0].strip(): line for line in text.splitlines()[::-1]
    }  # the fifth entry has a block below
    assert "1.000 [1.000, 1.000]" in lines["f1 (higher)"] and "  .800 [.800, .800]" in lines["f1 (higher)"]
    floor = value(answers["shuffled"], "f1")
    assert f"{100 * (0.8 - floor) / (1 - floor):.0f} %" in lines["from floor to truth"]
    assert lines["weapon"].split() == ["weapon", "-", "-", "-", "-"]
    assert all(name in text for name in (SUITE.name, "still", "12 clips", "95 %"))
    assert max(map(len, text.splitlines())) <= 120


def test_words_and_colours():
    given, read = DOOM.action(move="forward", yaw=5.0), DOOM.action(move="back", jump="jump")
    assert picture.words(given, given, DOOM) == [("forward", picture.GREEN), ("yaw+5", picture.GREEN)]
    found = dict(picture.words(given, read, DOOM))
    assert found == {"back": picture.RED, "jump": picture.RED, "(yaw+5)": picture.RED}
    near = read.copy()
    near[DOOM.column("yaw")] += 1
    assert dict(picture.words(read, near, DOOM))["yaw+2"] == picture.AMBER
    assert picture.words(DOOM.null, DOOM.null, DOOM) == [("-", picture.GREEN)]


def test_chosen_by_actions_alone():
    given = [np.zeros((3, 8), int) for _ in range(4)]
    given[2][0, :2] = 1, 2  # two different keys
    given[3][:, 0] = 1  # one key, three times
    given[1][0, 0] = 1
    assert picture.chosen(given, 2, 6) == [2, 3] and picture.chosen(given, 3, 6) == [1, 2, 3]


def test_picture_and_video(answers, tmp_path):
    """Frames are there pixel for pixel, enlarged; text is there in its colours; the video has every frame of every clip."""
    import imageio_ffmpeg
    from PIL import Image

    columns, clips = picture.columns(Toy(SUITE), list(answers.values())), clips_of()
    assert [column.name for column in columns] == ["truth", "good", "no-move", "still"]
    picture.draw(columns, {3: clips[3]}, DOOM, tmp_path / "picture.png")
    image = np.asarray(Image.open(tmp_path / "picture.png"))
    height, width = picture.PICTURE.tile(16, 24)
    assert image.shape[1] == picture.MARGIN + 6 * width and image.shape[0] > 4 * height
    seen = {tuple(colour) for colour in image.reshape(-1, 3)}
    assert {picture.GREEN, picture.RED} <= seen
    big = clips[3].truth[0].repeat(2, 0).repeat(2, 1)
    spots = [y for y in range(image.shape[0] - 32) if (image[y : y + 32, picture.MARGIN : picture.MARGIN + 48] == big).all()]
    assert len(spots) == 4  # the prompt frame begins the strips of the truth and of three models
    picture.film(columns, {0: clips[0], 3: clips[3]}, DOOM, tmp_path / "video.mp4")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "video.mp4"))
    assert frames == 2 * 6 and seconds == pytest.approx(2.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.png", "video.mp4"]


def test_a_video_that_cannot_be_encoded_leaves_nothing(answers, tmp_path, monkeypatch):
    import imageio_ffmpeg

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "false")  # a program that always fails
    with pytest.raises(OSError, match="the video encoder failed"):
        picture.film(picture.columns(Toy(SUITE), list(answers.values())), {0: clips_of()[0]}, DOOM, tmp_path / "video.mp4")
    assert not list(tmp_path.iterdir())
