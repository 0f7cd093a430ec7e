"""HPSv3 and VideoAlign: what people prefer, as `FrameQuality` and `VideoPreference` of `worldgym.judges.protocols`.

- `HPSv3`: a score per frame (arXiv 2508.03789). `VideoAlign`: visual and motion quality per clip (arXiv 2501.13918).
- `load_hpsv3(prompt)`, `load_videoalign(prompt)`: with published weights.

Both were trained with long instructions, which belong to their authors. They are read from the authors' own files, as text and
never as a program: HPSv3's from its wheel, VideoAlign's from its `prompt_template.py`.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.published import qwen_reward
from worldgym.judges.published.qwen_reward import IMAGE, VIDEO, QwenReward
from worldgym.models.files import published_files

HPS_PIXELS = 256 * 28 * 28  # of every picture
VIDEO_PIXELS = (128 * 28 * 28, 240 * 320)  # lowest and highest of a frame; above the highest always goes down to it
VIDEO_FPS, FEWEST = 2.0, 4
HPS_TOKENS = ("<|Reward|>",)
VIDEO_TOKENS = ("<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>")
SCALES = {"VQ": (3.6757, 2.2476), "MQ": (1.1646, 1.3811)}  # mean and deviation; model_config.json's own come first


class Tokenizer(Protocol):
    """What is used of a tokenizer of `transformers`."""

    def __call__(self, text: str) -> Any:
        """Text -> a mapping with "input_ids"."""
        ...

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        """Ids of single tokens."""
        ...


class _Judge:
    """A network that reads a picture or video inside a text.

    Args:
        network: the network. tokenizer: Qwen2-VL's, with the special tokens added. text: instruction and prompt.
        special: tokens at which the head is read. seen: "image" or "video".
    """

    def __init__(self, network: QwenReward, tokenizer: Tokenizer, text: str, special: Sequence[str], seen: str):
        self.network, self.tokenizer, self.text, self.seen = network, tokenizer, text, seen
        self.special = tokenizer.convert_tokens_to_ids(list(special))

    def read(self, frames: Tensor) -> Tensor:
        """Head outputs (special tokens, outputs) for frames (T, H, W, 3) uint8 of the right size."""
        device = next(self.network.parameters()).device
        cut, grid = qwen_reward.patches(frames.to(device))
        text = conversation(self.text, self.seen, int(grid.prod()) // 4)
        tokens = torch.tensor(self.tokenizer(text)["input_ids"], device=device)
        return self.network(tokens, cut, grid, self.special, IMAGE if self.seen == "image" else VIDEO)


class HPSv3(_Judge):
    """Score of single frames: the mean of the two numbers (mean, deviation) that the head gives.

    Args:
        network, tokenizer: as in `_Judge`.
        text: the instruction with its prompt filled in.
    """

    name = "HPSv3"

    def __init__(self, network: QwenReward, tokenizer: Tokenizer, text: str):
        super().__init__(network, tokenizer, text, HPS_TOKENS, "image")

    def __call__(self, frames: Tensor) -> Tensor:
        """(…, H, W, 3) uint8 RGB -> (…,) float32, higher is better."""
        flat = frames.reshape(-1, *frames.shape[-3:])
        scores = [self.read(qwen_reward.fitted(x[None], HPS_PIXELS, HPS_PIXELS))[0, 0] for x in flat]
        return torch.stack(scores).reshape(frames.shape[:-3])


class VideoAlign(_Judge):
    """Visual and motion quality of clips, standardised as published.

    Args:
        network, tokenizer, text: as in `HPSv3`.
        fps: frames per second of the clips; thinned to 2 per second, at least 4 frames.
        scales: "VQ" and "MQ" -> mean and deviation.
    """

    name = "VideoAlign"

    def __init__(self, network: QwenReward, tokenizer: Tokenizer, text: str, fps: float = 6.0, scales: dict | None = None):
        super().__init__(network, tokenizer, text, VIDEO_TOKENS, "video")
        self.fps, self.scales = fps, scales or SCALES

    def preferences(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB -> (B, 2) visual quality and motion quality."""
        return torch.stack([self._clip(clip) for clip in frames])

    def _clip(self, clip: Tensor) -> Tensor:
        chosen = clip[thinned(len(clip), self.fps)]
        own = self.read(qwen_reward.fitted(chosen, *VIDEO_PIXELS)).diagonal()  # each number at its own token
        scaled = [(own[i] - self.scales[key][0]) / self.scales[key][1] for i, key in enumerate(("VQ", "MQ"))]
        return torch.stack(scaled)


def conversation(text: str, seen: str, places: int) -> str:
    """Qwen2-VL's form of a question with one picture or video, which takes `places` tokens."""
    picture = f"<|vision_start|>{f'<|{seen}_pad|>' * places}<|vision_end|>"
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    return f"{system}<|im_start|>user\n{picture}{text}<|im_end|>\n<|im_start|>assistant\n"


def thinned(frames: int, fps: float) -> list[int]:
    """Which of a clip's frames VideoAlign looks at: 2 per second, evenly from first to last, an even number, at least 4."""
    count = min(max(frames / fps * VIDEO_FPS, FEWEST), frames // 2 * 2)
    count = min(round(count / 2) * 2, frames)
    return torch.linspace(0, frames - 1, count).round().long().tolist()


def constant(source: str, name: str, where: str) -> str:
    """The text that a Python source assigns to a name; the source is parsed and never run.

    Raises:
        InputError: no such text.
    """
    try:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
                value = ast.literal_eval(node.value)
                if isinstance(value, str):
                    return value
    except (SyntaxError, ValueError):
        pass
    raise InputError(f"{where} assigns no text to {name}; get the published file")


def load_hpsv3(prompt: str, device: str | torch.device = "cuda", dtype: torch.dtype = torch.bfloat16) -> HPSv3:
    """HPSv3 (7 B parameters, about 16 GB in bfloat16).

    Args:
        prompt: what the frames should show; one for all frames. device, dtype: of the network.

    Raises:
        InputError: a file is missing (says what to type) or is not what it should be.
    """
    wheel = published_files.locate("hpsv3-1.0.0-py3-none-any.whl")
    try:
        with zipfile.ZipFile(wheel) as archive:
            source = archive.read("hpsv3/dataset/data_collator_qwen.py").decode()
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{str(wheel)!r} is not HPSv3's wheel ({error}); get it again") from None
    text = _filled(constant(source, "INSTRUCTION", str(wheel)), prompt)
    text += constant(source, "prompt_with_special_token", str(wheel))
    tokenizer = _tokenizer("Qwen2-VL-7B-Instruct", HPS_TOKENS)
    path = published_files.locate("HPSv3.safetensors")
    return HPSv3(qwen_reward.load(path, "7B", "deep", device, dtype), tokenizer, text)


def load_videoalign(
    prompt: str, fps: float = 6.0, device: str | torch.device = "cuda", dtype: torch.dtype = torch.bfloat16
) -> VideoAlign:
    """VideoAlign's VideoReward (2 B parameters).

    Args:
        prompt: what the clips should show. fps: frames per second of the clips. device, dtype: of the network.

    Raises:
        InputError: a file is missing (says what to type), or the weights are a LoRA adapter.
    """
    folder = published_files.locate("VideoReward")
    paths = sorted(folder.glob("checkpoint-*/model.pth"), key=lambda p: int(re.findall(r"\d+", p.parent.name)[-1]))
    if not paths:
        raise InputError(
            f"{str(folder)!r} holds no checkpoint-*/model.pth; LoRA adapters must be merged by VideoAlign's program"
        )
    template = published_files.locate("videoalign_prompt_template.py")
    text = constant(template.read_text(encoding="utf-8"), "DETAILED_PROMPT_WITH_SPECIAL_TOKEN", str(template))
    tokenizer = _tokenizer("Qwen2-VL-2B-Instruct", VIDEO_TOKENS)
    network = qwen_reward.load(paths[-1], "2B", "linear", device, dtype)
    return VideoAlign(network, tokenizer, _filled(text, prompt), fps, _scales(folder / "model_config.json"))


def _filled(text: str, prompt: str) -> str:
    return text.replace("{text_prompt}", prompt)


def _scales(path: Path) -> dict[str, tuple[float, float]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["inference_config"]
        return {key: (float(values[f"{key}_mean"]), float(values[f"{key}_std"])) for key in SCALES}
    except (OSError, ValueError, KeyError, TypeError):
        return SCALES


def _tokenizer(name: str, special: Sequence[str]) -> Tokenizer:
    folder = published_files.locate(name)
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise InputError('HPSv3 and VideoAlign need transformers: pip install "transformers>=4.52"') from None
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer
