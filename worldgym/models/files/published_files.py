"""Files that others publish: where each lies here, where to get it, under which licence.

They all go into one folder, `$WORLDGYM_PUBLISHED` or else `~/.cache/worldgym/published`. Nothing is fetched by itself: a file
that is not there is one sentence with the line to type.

- `FILES`: name -> `PublishedFile`. `locate(name)`: its path. `present(name)`: whether it is there.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from worldgym.errors import InputError, unknown
from worldgym.files import sha256

PREFIX = "published/"  # before a name where zoo names and paths are taken as well


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file (or folder) of somebody else's.

    Attributes:
        about: what it is. url: where it comes from. licence: of the weights or data.
        sha256: its hash or the beginning of it, where its publisher says so; checked when the file is used.
        fetch: the line to type, with {path} for where it goes.
    """

    about: str
    url: str
    licence: str
    sha256: str = ""
    fetch: str = "wget {url} -O {path}"


_HUB = "huggingface-cli download {url} --local-dir {path}"
_LPIPS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
FILES = {
    "4x_idm.weights": PublishedFile(
        "VPT's inverse dynamics model", "https://openaipublic.blob.core.windows.net/minecraft-rl/idm/4x_idm.weights", "MIT"
    ),
    "mineworld-validation": PublishedFile(
        "MineWorld's validation clips, a folder of mp4 and jsonl pairs",
        "https://modelscope.cn/models/AI-ModelScope/mineworld",
        "MIT",
        fetch="unpack validation/validation.zip of {url} into {path}",
    ),
    "i3d_torchscript.pt": PublishedFile(
        "the I3D network of StyleGAN-V, for FVD",
        "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
        "Apache-2.0 (DeepMind's kinetics-i3d, converted)",
    ),
    "alexnet-owt-7be5be79.pth": PublishedFile(
        "AlexNet, the trunk of LPIPS",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "BSD-3-Clause (torchvision)",
        "7be5be79",
    ),
    "vgg16-397923af.pth": PublishedFile(
        "VGG-16, the trunk of LPIPS",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "BSD-3-Clause (torchvision)",
        "397923af",
    ),
    "lpips-alex.pth": PublishedFile(
        "LPIPS' weights for AlexNet, v0.1",
        f"{_LPIPS}/alex.pth",
        "BSD-2-Clause",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "lpips-vgg.pth": PublishedFile(
        "LPIPS' weights for VGG-16, v0.1",
        f"{_LPIPS}/vgg.pth",
        "BSD-2-Clause",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    "raft-things.pth": PublishedFile(
        "RAFT, optical flow",
        "https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip",
        "BSD-3-Clause",
        fetch="wget {url} -O models.zip && unzip -p models.zip models/raft-things.pth > {path}",
    ),
    "musiq_spaq_ckpt.npz": PublishedFile(
        "MUSIQ trained on SPAQ, image quality",
        "https://storage.googleapis.com/gresearch/musiq/spaq_ckpt.npz",
        "Apache-2.0",
    ),
    "HPSv3.safetensors": PublishedFile(
        "HPSv3, human preference of pictures (Qwen2-VL-7B)",
        "https://huggingface.co/MizzenAI/HPSv3/resolve/main/HPSv3.safetensors",
        "see the model's page (code MIT)",
    ),
    "hpsv3-1.0.0-py3-none-any.whl": PublishedFile(
        "HPSv3's wheel, for the instruction in it",
        "hpsv3==1.0.0",
        "MIT",
        fetch="pip download --no-deps {url} -d $(dirname {path})",
    ),
    "videoalign_prompt_template.py": PublishedFile(
        "VideoAlign's instruction",
        "https://raw.githubusercontent.com/KwaiVGI/VideoAlign/main/prompt_template.py",
        "MIT",
    ),
    "Qwen2-VL-7B-Instruct": PublishedFile(
        "Qwen2-VL's tokenizer, a folder",
        "Qwen/Qwen2-VL-7B-Instruct",
        "Apache-2.0",
        fetch="huggingface-cli download {url} --include '*token*' '*.json' '*.txt' --local-dir {path}",
    ),
    "Qwen2-VL-2B-Instruct": PublishedFile(
        "Qwen2-VL's tokenizer, a folder",
        "Qwen/Qwen2-VL-2B-Instruct",
        "Apache-2.0",
        fetch="huggingface-cli download {url} --include '*token*' '*.json' '*.txt' --local-dir {path}",
    ),
    "VideoReward": PublishedFile(
        "VideoAlign's VideoReward, human preference of videos (Qwen2-VL-2B), a folder",
        "KwaiVGI/VideoReward",
        "see the model's page (code MIT)",
        fetch=_HUB,
    ),
    "DA3-SMALL": PublishedFile("Depth Anything 3 small, a folder", "depth-anything/DA3-SMALL", "Apache-2.0", fetch=_HUB),
    "DA3-BASE": PublishedFile("Depth Anything 3 base, a folder", "depth-anything/DA3-BASE", "Apache-2.0", fetch=_HUB),
}


def folder() -> Path:
    """Where published files are looked for."""
    return Path(os.environ.get("WORLDGYM_PUBLISHED", "~/.cache/worldgym/published")).expanduser()


def present(name: str) -> bool:
    """Whether a published file is there."""
    return (folder() / _known(name)).exists()


def locate(name: str) -> Path:
    """The path of a published file; its hash is compared with the publisher's where that is known.

    Args:
        name: a key of `FILES`, with or without "published/" before it.

    Raises:
        InputError: an unknown name; a file that is not there, with what to type; or another file under its name.
    """
    name = _known(name)
    path, file = folder() / name, FILES[name]
    if not path.exists():
        line = file.fetch.format(url=f"'{file.url}'" if "?" in file.url else file.url, path=path)
        raise InputError(f"{file.about} ({name}, {file.licence}) is not here; get it: mkdir -p {path.parent} && {line}")
    if file.sha256 and not sha256(path).startswith(file.sha256):
        raise InputError(
            f"{str(path)!r} is not the published {name} (its sha256 should begin with {file.sha256}); get it again"
        )
    return path


def _known(name: str) -> str:
    name = name.removeprefix(PREFIX)
    if name not in FILES:
        raise unknown("published file", name, FILES)
    return name
