"""HPSv3 and VideoAlign in small: the published class number by number, names of files, what is seen, how texts are made."""

import math
import zipfile
from pathlib import Path

import numpy as np
import published_toys as toys
import pytest
import torch

pytest.importorskip("transformers")

from worldgym.errors import InputError
from worldgym.judges.protocols import FrameQuality, VideoPreference
from worldgym.judges.published import preference, qwen_reward
from worldgym.judges.published.qwen_reward import CELL, QwenReward
from worldgym.models.files import torch_file

SIZE = {
    "text": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
    "kv": 2,
    "sections": [2, 3, 3],
}
VISION = {**qwen_reward.VISION, "depth": 2, "embed_dim": 32, "num_heads": 2}
ROWS, SPECIAL, STAND_IN = 300, [295, 296, 297], 294
FIXTURE = np.load(Path(__file__).parent.parent / "fixtures" / "qwen_reward.npz")


def old_name(name):
    name = name.removeprefix("body.")
    return name.replace("language_model.", "model.", 1) if name.startswith("language_model.") else name


def make(kind="linear"):
    return QwenReward(qwen_reward.network(SIZE, ROWS, VISION), qwen_reward.head(kind, 64)).eval()


def published_state(model):
    """Random weights under the names of transformers 4.45, vocabulary head included."""
    shapes = {old_name(name): tensor.shape for name, tensor in model.state_dict().items()}
    shapes["lm_head.weight"] = (ROWS, 64)
    generator, state = torch.Generator().manual_seed(0), {}
    for name in sorted(shapes):
        noise = torch.randn(shapes[name], generator=generator)
        if noise.ndim > 1:
            state[name] = noise * (1 / max(noise[0].numel(), 1)) ** 0.5
        else:
            state[name] = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return state, generator


def test_numbers_are_those_of_videoaligns_class_under_transformers_4_45():
    model = make()
    state, generator = published_state(model)
    torch_file.fill(model, qwen_reward.renamed(state), "toy")
    seen = torch.randn(2 * 4 * 4, 1176, generator=generator)
    tokens = torch.tensor([5, 6, 290, *[STAND_IN] * 8, 291, 7, 8, 295, 9, 296, 10, 11, 297, 12])
    found = model(tokens, seen, torch.tensor([2, 4, 4]), SPECIAL, STAND_IN)
    np.testing.assert_allclose(found.diagonal().numpy(), FIXTURE["videoalign"], atol=1e-5)
    assert found.shape == (3, 3) and np.abs(FIXTURE["videoalign"]).max() > 1
    with pytest.raises(InputError, match="keeps 7 places, but 8"):
        model(torch.cat([tokens[:3], tokens[4:]]), seen, torch.tensor([2, 4, 4]), SPECIAL, STAND_IN)


def test_a_file_with_published_names_loads_off_the_meta_device(tmp_path, monkeypatch):
    monkeypatch.setitem(qwen_reward.SIZES, "toy", SIZE)
    model, network = make(), qwen_reward.network
    monkeypatch.setattr(qwen_reward, "network", lambda size, rows: network(size, rows, VISION))
    state, generator = published_state(model)
    torch.save(state, tmp_path / "model.pth")
    loaded = qwen_reward.load(tmp_path / "model.pth", "toy", "linear", dtype=torch.float32)
    torch_file.fill(model, qwen_reward.renamed(state), "toy")
    seen, tokens = torch.randn(16, 1176, generator=generator), torch.tensor([1, *[STAND_IN] * 4, *SPECIAL])
    grid = torch.tensor([1, 4, 4])
    torch.testing.assert_close(loaded(tokens, seen, grid, SPECIAL, STAND_IN), model(tokens, seen, grid, SPECIAL, STAND_IN))
    state["model.layers.0.self_attn.q_proj.weird"] = state.pop("model.layers.0.self_attn.q_proj.weight")
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(InputError, match="missing 'body.language_model.layers.0.self_attn.q_proj.weight'"):
        qwen_reward.load(tmp_path / "model.pth", "toy", "linear", dtype=torch.float32)


@pytest.mark.parametrize(("size", "kind", "billions"), [("2B", "linear", 2.2), ("7B", "deep", 8.3)])
def test_published_sizes(size, kind, billions):
    """With its untied vocabulary head Qwen2-VL-7B has 8.29 billion parameters, the 2B one (tied) 2.21."""
    with torch.device("meta"):
        model = QwenReward(
            qwen_reward.network(qwen_reward.SIZES[size], 151936),
            qwen_reward.head(kind, qwen_reward.SIZES[size]["text"]["hidden_size"]),
        )
    count = sum(p.numel() for p in model.parameters()) + (151936 * 3584 if size == "7B" else 0)
    assert abs(count / 1e9 - billions) < 0.05


def test_patches_are_those_of_the_published_processor():
    """Two roads: ours, and transformers' own processor for a picture (which doubles it in time)."""
    processors = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    picture = toys.pictures(1, 56, 84)
    theirs = processors.Qwen2VLImageProcessorPil(min_pixels=56 * 84, max_pixels=56 * 84)(picture[0].numpy())
    cut, grid = qwen_reward.patches(picture)
    np.testing.assert_allclose(cut.numpy(), np.asarray(theirs["pixel_values"]), atol=1e-5)
    assert grid.tolist() == np.asarray(theirs["image_grid_thw"])[0].tolist() == [1, 4, 6]


def test_pictures_get_a_budget_of_pixels():
    assert qwen_reward.fitted(toys.pictures(1, 56, 96), preference.HPS_PIXELS, preference.HPS_PIXELS).shape[1:3] == (364, 588)
    assert qwen_reward.fitted(toys.pictures(2, 224, 384), *preference.VIDEO_PIXELS).shape[1:3] == (196, 336)
    same = toys.pictures(1, 308, 364)
    assert (qwen_reward.fitted(same, 1, 10**6) == same).all()


def test_pictures_are_fitted_as_by_the_published_processor():
    """Sizes exactly, for both budgets and Qwen2-VL's own; a resized picture to 2 levels of 255, most of it to the byte."""
    processors = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    hps = (preference.HPS_PIXELS, preference.HPS_PIXELS)
    for height in range(56, 800, 123):
        for width in range(60, 1300, 153):
            for budget in (hps, preference.VIDEO_PIXELS, (56 * 56, 28 * 28 * 1280)):
                found = qwen_reward.fitted(torch.zeros(1, height, width, 3, dtype=torch.uint8), *budget).shape[1:3]
                assert tuple(found) == tuple(processors.smart_resize(height, width, CELL, *budget)), (height, width, budget)
    picture = toys.pictures(1, 224, 384)
    theirs = processors.Qwen2VLImageProcessorPil(min_pixels=hps[0], max_pixels=hps[0])(picture[0].numpy())
    cut, grid = qwen_reward.patches(qwen_reward.fitted(picture, *hps))
    assert grid.tolist() == np.asarray(theirs["image_grid_thw"])[0].tolist() == [1, 26, 42]
    levels = np.abs(cut.numpy() - np.asarray(theirs["pixel_values"])) * 255 * np.repeat(qwen_reward.STD, 2 * 14 * 14)
    assert levels.max() < 2.1 and (levels > 0.1).mean() < 0.02


def test_videoalign_looks_at_two_frames_a_second():
    assert preference.thinned(16, 6.0) == [0, 3, 6, 9, 12, 15]  # 5.3 -> 6, evenly
    assert preference.thinned(15, 24.0) == [0, 5, 9, 14]  # at least 4
    assert preference.thinned(60, 10.0) == torch.linspace(0, 59, 12).round().long().tolist()


class Words:
    """In place of Qwen2-VL's tokenizer: one id per character, special tokens known."""

    ids = {"<|image_pad|>": qwen_reward.IMAGE, "<|video_pad|>": qwen_reward.VIDEO}
    ids |= dict(zip(preference.VIDEO_TOKENS, SPECIAL, strict=True)) | {"<|Reward|>": 298}

    def __call__(self, text):
        found = []
        while text:
            name = next((name for name in self.ids if text.startswith(name)), text[0])
            found.append(self.ids[name] if name in self.ids else ord(name) % 256)
            text = text[len(name) :]
        return {"input_ids": found}

    def convert_tokens_to_ids(self, tokens):
        return [self.ids[token] for token in tokens]


class Reader:
    """In place of a network: remembers what it was asked."""

    def __init__(self, outputs):
        self.outputs, self.asked = outputs, []

    def parameters(self):
        return iter([torch.zeros(1)])

    def __call__(self, tokens, cut, grid, special, stand_in):
        assert int((tokens == stand_in).sum()) == int(grid.prod()) // 4
        self.asked.append((tokens.tolist(), grid.tolist()))
        return self.outputs


def test_hpsv3_scores_frames_and_videoalign_clips():
    reader = Reader(torch.tensor([[1.5, 9.0]]))
    hps = preference.HPSv3(reader, Words(), "how good? <|Reward|>")
    assert isinstance(hps, FrameQuality) and hps(toys.pictures(4, 56, 96).reshape(2, 2, 56, 96, 3)).tolist() == [[1.5] * 2] * 2
    assert reader.asked[0][1] == [1, 26, 42] and 298 in reader.asked[0][0]
    reader = Reader(torch.tensor([[3.6757 + 2.2476, 0, 0], [0, 1.1646, 0], [0, 0, 7.0]]))
    video = preference.VideoAlign(reader, Words(), "".join(preference.VIDEO_TOKENS))
    assert isinstance(video, VideoPreference)
    torch.testing.assert_close(
        video.preferences(toys.pictures(16, 56, 96)[None]), torch.tensor([[1.0, 0.0]]), atol=1e-6, rtol=0
    )
    assert reader.asked[0][1][0] == 3  # 6 frames are 3 pairs


def test_instructions_are_read_from_their_authors_files_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    source = "import os\nos.mkdir('boom')\nINSTRUCTION = '''Look: {text_prompt}'''\nprompt_with_special_token = '<|Reward|>'\n"
    assert preference.constant(source, "INSTRUCTION", "x") == "Look: {text_prompt}"
    with pytest.raises(InputError, match="assigns no text to OTHER"):
        preference.constant(source, "OTHER", "x")
    with zipfile.ZipFile(tmp_path / "hpsv3-1.0.0-py3-none-any.whl", "w") as archive:
        archive.writestr("hpsv3/dataset/data_collator_qwen.py", source)
    with pytest.raises(InputError, match="Qwen2-VL's tokenizer.*is not here; get it"):
        preference.load_hpsv3("a game")
    with pytest.raises(InputError, match="VideoReward.*is not here; get it"):
        preference.load_videoalign("a game")
    (tmp_path / "VideoReward" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(InputError, match="LoRA adapters must be merged"):
        preference.load_videoalign("a game")
    assert not (tmp_path / "boom").exists() and not Path("boom").exists()


def test_the_text_has_qwens_form():
    text = preference.conversation("rate", "video", 3)
    assert text.count("<|video_pad|>") == 3 and text.endswith("rate<|im_end|>\n<|im_start|>assistant\n")
    assert math.isclose(preference.SCALES["VQ"][0], 3.6757)
