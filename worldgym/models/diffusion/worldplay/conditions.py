"""`python -m worldgym.models.diffusion.worldplay.conditions`: what prompts say, made once and kept.

- `save_condition`, `load_conditions`: encoder states by prompt id, one safetensors file each; a batch of them for `read_text`.
- `Umt5`: the 5B's text encoder. `clean`: a prompt as its authors clean it.

The 8B's states (`Told`, one row) are kept and loaded alike, but are not made here: `diffusers` makes them
(`HunyuanVideo15ImageToVideoPipeline.encode_prompt` and `encode_image`).
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import output_folder, write_bytes
from worldgym.models.diffusion.worldplay.hunyuan_text import Told, valid
from worldgym.rng import torch_seed

TOKENS = 512  # of the 5B
PARTS = ("text", "glyphs", "vision")


def save_condition(folder: str | Path, prompt_id: str, condition: Tensor | Told) -> Path:
    """Keep one prompt's states, without padding: (S, width) for the 5B, a `Told` of one row for the 8B."""
    if isinstance(condition, Tensor):
        tensors = {"states": condition}
    else:
        masks = {"text": condition.text_mask, "glyphs": condition.glyphs_mask}
        states = {part: valid(getattr(condition, part), masks.get(part), 0) for part in PARTS}
        tensors = {part: x[0] for part, x in states.items() if x is not None}
    path = _path(folder, prompt_id)
    write_bytes(path, save({name: x.contiguous() for name, x in tensors.items()}, {"id": prompt_id}))
    return path


def load_conditions(folder: str | Path, prompt_ids: Sequence[str]) -> Tensor | Told:
    """The states of a batch of prompts, as `read_text` takes them.

    Returns:
        (C, S, width) for the 5B, zeros behind shorter texts, as the network fills up anyway; `Told` for the 8B.

    Raises:
        InputError: a prompt has no file, or a file is damaged.
    """
    rows = [_read(_path(folder, name), name, folder) for name in prompt_ids]
    if all("states" in row for row in rows):
        return _stacked([row["states"] for row in rows])[0]
    made: dict[str, Tensor] = {}
    for part in PARTS:
        widths = {row[part].shape[-1] for row in rows if part in row}
        if widths:
            width = widths.pop()
            made[part], mask = _stacked([row.get(part, torch.zeros(0, width)) for row in rows])
            if part != "vision":
                made[f"{part}_mask"] = mask
            elif not mask.all():
                raise InputError(
                    f"some prompts of {str(folder)!r} have states of an image and some have none; use one kind a batch"
                )
    return Told(**made, rows=len(rows))


def clean(text: str) -> str:
    """As the base model cleans prompts: broken characters mended (by ftfy), entities resolved twice, white space collapsed."""
    if not text.isascii():
        try:
            import ftfy
        except ImportError:
            raise InputError(
                f"the prompt {text[:40]!r} has other than ASCII letters; run: pip install 'worldgym[worldplay]'"
            ) from None
        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split())


class Umt5:
    """The 5B's text encoder, from a folder of `Wan-AI/Wan2.2-TI2V-5B-Diffusers`; nothing is downloaded.

    Args:
        folder: with `tokenizer/` and `text_encoder/`.
        dtype, device: of the encoder.
    """

    def __init__(self, folder: str | Path, dtype: torch.dtype = torch.bfloat16, device: str = "cpu"):
        try:
            from transformers import AutoTokenizer, UMT5EncoderModel
        except ImportError:
            raise InputError("encoding texts needs transformers; run: pip install 'worldgym[worldplay]'") from None
        folder = Path(folder).expanduser()
        missing = [name for name in ("tokenizer", "text_encoder") if not (folder / name).is_dir()]
        if missing:
            raise InputError(f"{str(folder)!r} has no folder {missing[0]!r}; give that of Wan2.2-TI2V-5B-Diffusers")
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = UMT5EncoderModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True, dtype=dtype
        )
        self.encoder, self.device = encoder.to(device).eval(), device

    @torch.no_grad()
    def __call__(self, text: str) -> Tensor:
        """States (S, width) of one prompt, S at most 512, without padding."""
        tokens = self.tokenizer(clean(text), truncation=True, max_length=TOKENS, padding="max_length", return_tensors="pt")
        ids, mask = tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device)
        return self.encoder(ids, mask).last_hidden_state[0, : int(mask.sum())].cpu()


@exit_with_sentence
def main(prompts: tyro.conf.Positional[Path], encoder: Path, out: Path, device: str = "cpu", dtype: str = "bfloat16") -> None:
    """Encode prompts for the 5B and keep their states.

    Args:
        prompts: a JSON file, {"id": "text", …}.
        encoder: folder with `tokenizer/` and `text_encoder/` of Wan2.2-TI2V-5B-Diffusers.
        out: folder for one file per prompt; prompts that are there already are left alone.
        device: of the encoder.
        dtype: of the encoder and the states, "bfloat16" or "float32".
    """
    if dtype not in ("bfloat16", "float32"):
        raise InputError(f"dtype is {dtype!r}; use 'bfloat16' or 'float32'")
    texts = _texts(prompts)
    folder = output_folder(out)
    encode = Umt5(encoder, getattr(torch, dtype), device)
    for name, text in texts.items():
        if not _path(folder, name).is_file():
            save_condition(folder, name, encode(text))
    print(f"{len(texts)} prompts in {folder}")


def _texts(path: Path) -> dict[str, str]:
    try:
        texts = json.loads(path.expanduser().read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no file of prompts that can be read ({error})") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise InputError(f'{str(path)!r} holds no prompts; it needs {{"id": "text", …}}')
    return texts


def _path(folder: str | Path, prompt_id: str) -> Path:
    """Ids hold slashes, so files are named by a number made from the id."""
    return Path(folder).expanduser() / f"{torch_seed(0, prompt_id):016x}.safetensors"


def _read(path: Path, prompt_id: str, folder: str | Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{str(folder)!r} has no states of prompt {prompt_id!r}; make them with worldplay.conditions")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{str(path)!r} is no whole safetensors file ({error}); delete it and make it again") from None


def _stacked(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (S, width) of different S to (C, longest, width) with zeros behind, and (C, longest), 1 where a state is."""
    longest = max(len(row) for row in rows)
    mask = torch.stack([torch.arange(longest) < len(row) for row in rows])
    return torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows]), mask


if __name__ == "__main__":
    tyro.cli(main, prog="python -m worldgym.models.diffusion.worldplay.conditions")
