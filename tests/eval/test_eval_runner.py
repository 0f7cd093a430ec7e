"""The runner on a world whose scores are known on paper."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from eval_toys import SUITE, Obedient, PixelJudge, prompts
from sklearn.metrics import f1_score, precision_score, recall_score

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.eval import entries, picture, record, report, runner
from worldgym.eval.metrics.psnr import psnr
from worldgym.rng import torch_seed

KEYS = ("given", "predicted")


def run(models, clips=None, seed=0, batch=5):
    return runner.run(SUITE, prompts() if clips is None else clips, PixelJudge(), models, seed, batch, "cpu")


def value(answer, metric):
    return answer.scored[metric].score.value


@pytest.fixture(scope="module")
def answers():
    models = {"good": Obedient(), "no-move": Obedient(wrong=("move",)), "still": entries.LastFrame()}
    return {answer.name: answer for answer in run(models)}


def result_of(found, clips, **changes):
    fields = {"seed": 0, "batch": 5, "device": "cpu", "weights": {}, "time": {"total_s": 1.0}, **changes}
    return record.Result(SUITE, clips, list(found), **fields)


def test_rows_come_in_order(answers):
    assert list(answers) == ["truth", "shuffled", "good", "no-move", "still"]
    assert [a.kind for a in answers.values()] == ["truth", "shuffled", "token", "token", "baseline"]


def test_truth_is_the_ceiling_and_is_not_compared_with_itself(answers):
    for metric in ("f1", "precision", "recall", "exact_match", "group_accuracy"):
        assert value(answers["truth"], metric) == value(answers["good"], metric) == 1
    assert value(answers["truth"], "camera_error") == 0
    for row in ("truth", "shuffled"):
        assert np.isnan([value(answers[row], m) for m in ("psnr", "ssim", "frechet_idm_heldout")]).all()
    assert value(answers["good"], "frechet_idm_heldout") > 0


def test_shuffled_is_scored_against_the_donors_actions(answers):
    row, clips = answers["shuffled"], prompts()
    assert sorted(row.donors) == list(range(12)) and not (row.donors == np.arange(12)).any()
    assert (row.judged.given == clips.actions[row.donors]).all() and (row.judged.predicted == clips.actions).all()
    assert 0.2 < value(row, "f1") < 0.8


@pytest.mark.parametrize("name", ["shuffled", "still"])
def test_scores_equal_scikit_learn(answers, name):
    judged = answers[name].judged
    used = [g for g, group in enumerate(DOOM.groups) if group.name != "weapon"]
    pairs = [(judged.given[..., g].ravel(), judged.predicted[..., g].ravel()) for g in used]
    for metric, by_sklearn in {"f1": f1_score, "precision": precision_score, "recall": recall_score}.items():
        wanted = np.mean([by_sklearn(a, b, average="macro", zero_division=0) for a, b in pairs])
        assert value(answers[name], metric) == pytest.approx(wanted, abs=1e-12)


def test_unused_group_is_left_out(answers):
    assert np.isnan(answers["truth"].scored["f1"].groups["weapon"].value)
    assert answers["truth"].scored["f1"].groups["move"].value == 1


def test_one_wrong_group_of_five(answers):
    """Every "move" is read as the next label, so its F1 is 0 and the mean over the 5 used groups is 4/5."""
    wrong = answers["no-move"]
    assert value(wrong, "f1") == pytest.approx(4 / 5)
    assert value(wrong, "exact_match") == 0 and value(wrong, "group_accuracy") == pytest.approx(4 / 5)
    assert wrong.scored["f1"].groups["move"].value == 0 and wrong.scored["f1"].groups["jump"].value == 1


def test_last_frame_repeats_the_prompt(answers):
    frames = answers["still"].frames
    assert (frames == prompts().prefix).all()
    assert (answers["still"].judged.predicted == DOOM.null).all()


def test_prefix_is_not_scored(answers):
    """Six frames, one of them given: pixels are compared on the last five only."""
    good = answers["good"]
    assert good.judged.frames.shape[1] == 5
    assert value(good, "psnr") == pytest.approx(psnr(good.frames[:, 1:], prompts().truth[:, 1:]).mean())


def test_batch_size_changes_nothing():
    a, b = (run({"m": Obedient(("yaw",)), "still": entries.LastFrame()}, batch=batch) for batch in (1, 12))
    one, two = (result_of(found, prompts()).to_dict() for found in (a, b))
    assert one["entries"] == two["entries"]


def test_same_seed_same_result_other_seed_other_noise():
    first, again, other = (result_of(run({"m": Obedient()}, seed=s), prompts()).to_dict() for s in (3, 3, 4))
    for found in (first, again, other):
        found.pop("time")
    assert first == again
    assert first["entries"][2]["frames_sha256"] != other["entries"][2]["frames_sha256"]


def test_global_random_state_is_untouched():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run({"m": Obedient()})
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_noise_belongs_to_the_clip_and_sampling_to_the_kind():
    model, clips = Obedient(), prompts()
    found = run({"m": model}, clips, seed=7)[2]
    assert model.calls[0] == {"batch": 5, "inference": True, "top_p": 0.8, "temperature": 1.0}
    noise = np.random.default_rng(torch_seed(7, clips.ids[3])).integers(0, 256, (6, 16, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(found.frames[3, 2, 1:], noise[2, 1:])


def test_two_frames_given():
    """With P = 2 the first action lies inside the prefix and is not scored."""
    clips = prompts()
    clips = dataclasses.replace(clips, prefix=clips.truth[:, :2])
    suite = dataclasses.replace(SUITE, prefix=2)
    found = runner.run(suite, clips, PixelJudge(), {"m": Obedient()}, 0, 4, "cpu")[2]
    assert found.judged.given.shape == found.judged.predicted.shape == (12, 4, 8)
    assert (found.frames[:, :2] == clips.prefix).all() and value(found, "f1") == 1


class Broken:
    kind = "token"

    def __init__(self, change):
        self.change = change

    def generate(self, prefix, actions, seeds, **options):
        return self.change(entries.LastFrame().generate(prefix, actions, seeds))


@pytest.mark.parametrize(
    "change", [lambda f: f[:, :-1], lambda f: f.astype(np.float32), lambda f: f[:, :, ::2], lambda f: f[:1]]
)
def test_wrong_frames_are_named(change):
    with pytest.raises(InputError, match=r"model 'mine' returned .* but uint8 frames of shape \(5, 6, 16, 24, 3\)"):
        run({"mine": Broken(change)})


def test_one_clip_is_too_few():
    with pytest.raises(InputError, match="at least 2 clips, not 1"):
        run({}, prompts(clips=1))


@pytest.mark.parametrize("clips", [2, 3, 64])
def test_derangement_leaves_nobody_in_place(clips):
    for seed in range(50):
        donors = runner.derangement(clips, np.random.default_rng(seed))
        assert sorted(donors) == list(range(clips)) and not (donors == np.arange(clips)).any()


def test_record_holds_rows_that_give_the_scores(answers, tmp_path):
    record.write(result_of(answers.values(), prompts()), tmp_path / "result.json")
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["schema"] == 1 and found["suite"]["sha256"] == SUITE.sha256 and found["suite"]["version"] == 1
    entry = found["entries"][3]
    assert entry["name"] == "no-move" and len(entry["rows"]) == 12
    rows = [[[list(map(int, row[key][name].split())) for name in DOOM.names] for row in entry["rows"]] for key in KEYS]
    given, read = (np.array(part).transpose(0, 2, 1) for part in rows)
    assert (given == prompts().actions).all()
    assert entry["scores"]["group_accuracy"]["value"] == pytest.approx((given == read)[..., [0, 1, 2, 3, 4]].mean())
    assert entry["scores"]["psnr"]["value"] == pytest.approx(np.mean([row["scores"]["psnr"] for row in entry["rows"]]))
    assert found["entries"][0]["scores"]["psnr"]["value"] is None
    assert found["entries"][0]["scores"]["f1"]["groups"]["weapon"] is None
    assert found["entries"][1]["rows"][0]["given_from"] == prompts().ids[answers["shuffled"].donors[0]]
    assert not list(tmp_path.glob("*.tmp-*"))


def test_table_shows_values_intervals_and_the_way_from_floor_to_truth(answers):
    text = report.table(result_of(answers.values(), prompts()).to_dict())
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


def test_picture_and_video(answers, tmp_path):
    """Frames are there pixel for pixel, enlarged; text is there in its colours; the video has every frame of every clip."""
    import imageio_ffmpeg
    from PIL import Image

    rows, clips = list(answers.values()), prompts()
    picture.draw(rows, clips, tmp_path / "picture.png", clips=1)
    image = np.asarray(Image.open(tmp_path / "picture.png"))
    height, width = picture.PICTURE.tile(16, 24)
    assert image.shape[1] == picture.MARGIN + 6 * width and image.shape[0] > 4 * height
    seen = {tuple(colour) for colour in image.reshape(-1, 3)}
    assert {picture.GREEN, picture.RED} <= seen
    pick = picture.chosen(clips.actions, 1, len(DOOM.groups))[0]
    big = clips.truth[pick, 0].repeat(2, 0).repeat(2, 1)
    spots = [y for y in range(image.shape[0] - 32) if (image[y : y + 32, picture.MARGIN : picture.MARGIN + 48] == big).all()]
    assert len(spots) == 4  # the prompt frame begins the strips of the truth and of three models
    picture.film(rows, clips, tmp_path / "video.mp4", clips=2)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "video.mp4"))
    assert frames == 2 * 6 and seconds == pytest.approx(2.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.png", "video.mp4"]


def test_a_video_that_cannot_be_encoded_leaves_nothing(answers, tmp_path, monkeypatch):
    import imageio_ffmpeg

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "false")  # a program that always fails
    with pytest.raises(OSError, match="the video encoder failed"):
        picture.film(list(answers.values()), prompts(), tmp_path / "video.mp4", clips=1)
    assert not list(tmp_path.iterdir())
