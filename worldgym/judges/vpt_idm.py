"""The inverse dynamics model of VPT (arXiv 2206.11795), as published in `4x_idm.weights`, for Minecraft.

- `VPTIDM`: frames in, logits of 20 buttons and 2 camera axes out; labels in columns of the "minecraft" spec.
- `VPTConfig`: its sizes; the defaults are those of the published file (482,330,046 parameters).
- `load(path)`: from the published file. The .model pickle beside it is never read: what it says stands in `VPTConfig`.

The architecture, for frames of 128x128: a convolution over 5 frames of time, an image network of three stages (IMPALA), two
transformer blocks over all frames, which look both ways, and one linear layer per head. Every part named in the file exists
here, `net.lastlayer`, `r_layer` and `b_nd` too, which the published model holds but never uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.actions import ActionSpec, CameraAxis, spec
from worldgym.errors import InputError
from worldgym.models.files import torch_file
from worldgym.resize import resize

BUTTONS = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint", "use", "drop", "inventory")
BUTTONS += tuple(f"hotbar.{slot}" for slot in range(1, 10))
CAMERA = CameraAxis("camera", 11, 10.0, 10.0)  # mu-law bins of VPT, for pitch and yaw
TEMPERATURE = 4.0
FRAMES_AT_ONCE = 64  # through the image network, for memory; no effect on the result
SOURCE = "https://openaipublic.blob.core.windows.net/minecraft-rl/idm/4x_idm.weights"


@dataclasses.dataclass(frozen=True)
class VPTConfig:
    """Sizes of a VPT inverse dynamics model.

    Attributes:
        channels: of the convolution over time.
        width: of the image network, whose stages have 16, 32 and 32 times as many channels.
        features: of an image after its last stage.
        hidden: of the transformer. heads: of its attention. layers: its blocks.
        size: height and width in pixels that frames are resized to.
        spec: name of the action spec that labels are given in.
    """

    channels: int = 128
    width: int = 16
    features: int = 256
    hidden: int = 4096
    heads: int = 32
    layers: int = 2
    size: int = 128
    spec: str = "minecraft"


class _Layer(nn.Module):
    """Normalise, multiply, ReLU; a layer that is not normalised has a bias."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None = None, relu: bool = True):
        super().__init__()
        if norm is not None:
            self.norm = norm
        self.layer, self.relu = layer, relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.norm(x) if hasattr(self, "norm") else x)
        return F.relu(x) if self.relu else x


def _conv(inside: int, outside: int) -> _Layer:
    return _Layer(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.GroupNorm(1, inside))


def _linear(inside: int, outside: int) -> _Layer:
    return _Layer(nn.Linear(inside, outside, bias=False), nn.LayerNorm(inside))


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv0, self.conv1 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(self.conv0(x))


class _Stage(nn.Module):
    """Half the resolution, then two residual blocks."""

    def __init__(self, inside: int, channels: int):
        super().__init__()
        self.firstconv = _conv(inside, channels)
        self.n = nn.GroupNorm(1, channels)
        self.blocks = nn.Sequential(_Residual(channels), _Residual(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.n(F.max_pool2d(self.firstconv(x), 3, 2, 1)))


class _Images(nn.Module):
    """(N, channels, size, size) -> (N, features)."""

    def __init__(self, config: VPTConfig):
        super().__init__()
        chans = [config.channels, *(config.width * base for base in (16, 32, 32))]
        self.stacks = nn.Sequential(*(_Stage(a, b) for a, b in zip(chans[:-1], chans[1:], strict=True)))
        cells = (config.size // 8) ** 2
        self.dense = _linear(chans[-1] * cells, config.features)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.stacks(x).flatten(1))


class _ImageProcess(nn.Module):
    def __init__(self, config: VPTConfig):
        super().__init__()
        self.cnn = _Images(config)
        self.linear = _linear(config.features, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.linear(self.cnn(part)) for part in x.split(FRAMES_AT_ONCE)])


class _Attention(nn.Module):
    """All frames see all frames; the products are divided by the head's width, not by its root."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_layer, self.proj_layer = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.k_layer, self.v_layer = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.r_layer, self.b_nd = nn.Linear(hidden, 10 * heads), nn.Parameter(torch.zeros(10, 0))  # of no effect

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (m(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in (self.q_layer, self.k_layer, self.v_layer))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1 / q.shape[-1])
        return self.proj_layer(mixed.transpose(1, 2).flatten(2))


class _Recurrent(nn.Module):
    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.orc_block = _Attention(hidden, heads)


class _Block(nn.Module):
    """x is normalised first, and what attention is added to is the normalised x."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.mlp0 = _linear(hidden, 4 * hidden)
        self.mlp1 = _Layer(nn.Linear(4 * hidden, hidden), relu=False)
        self.pre_r_ln = nn.LayerNorm(hidden)
        self.r = _Recurrent(hidden, heads)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre_r_ln(x)
        x = x + self.r.orc_block(x)
        return x + self.mlp1(self.mlp0(x))


class _Trunk(nn.Module):
    def __init__(self, config: VPTConfig):
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(config.hidden, config.heads) for _ in range(config.layers)))


class _Net(nn.Module):
    def __init__(self, config: VPTConfig):
        super().__init__()
        self.conv3d_layer = _Layer(nn.Conv3d(3, config.channels, (5, 1, 1), padding=(2, 0, 0)))
        self.img_process = _ImageProcess(config)
        self.recurrent_layer = _Trunk(config)
        self.lastlayer = _linear(config.hidden, config.hidden)  # of no effect
        self.final_ln = nn.LayerNorm(config.hidden)

    def forward(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, size, size, 3) in [0, 1] -> outputs and image features, both (B, T, hidden)."""
        x = torch.cat([self.conv3d_layer(clip[None].movedim(-1, 1)) for clip in unit])  # (B, C, T, size, size)
        seen = self.img_process(x.transpose(1, 2).flatten(0, 1)).unflatten(0, unit.shape[:2])
        return self.final_ln(F.relu(self.recurrent_layer.blocks(seen))), seen


class _Head(nn.Module):
    def __init__(self, hidden: int, rows: int):
        super().__init__()
        self.linear_layer = nn.Linear(hidden, rows)


class VPTIDM(nn.Module):
    """Reads Minecraft actions from video; a judge for `IDMReward` and for suites.

    Known weakness as a reward: it was trained on real play at 20 frames per second and knows nothing of pictures that fall
    apart; see `IDMReward`.

    Attributes:
        reads: the columns of the spec that it can tell; pickItem it can't.
    """

    def __init__(self, config: VPTConfig):
        super().__init__()
        self.config = config
        self.spec: ActionSpec = spec(config.spec)
        self.reads = tuple(name for name in self.spec.names if name != "pick")[: len(self.spec.groups) + 2]
        self.net = _Net(config)
        self.pi_head = nn.ModuleDict({"buttons": _Head(config.hidden, 40), "camera": _Head(config.hidden, 22)})

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities, one for every frame that is given; each depends on all of them.

        Args:
            frames: (B, T, H, W, 3) uint8 RGB, resized to 128x128 if need be.

        Returns:
            buttons (B, T, 20, 2), as `BUTTONS`, not pressed and pressed; camera (B, T, 2, 11), pitch and yaw.
        """
        return self._heads(self.net(self._unit(frames))[0])

    @torch.no_grad()
    def read(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, H, W, 3) uint8 -> likeliest buttons (B, T, 20) in {0, 1} and camera bins (B, T, 2) in 0 to 10."""
        buttons, camera = self(frames)
        return buttons.argmax(-1), camera.argmax(-1)

    @torch.no_grad()
    def labels(self, frames: Tensor) -> Tensor:
        """Actions in columns of the spec, as MineWorld's evaluation and RLIR read them.

        Action a_i is what the judge says of frame x_i, and only frames x_1 to x_{T-1} are shown to it: the first is context.
        Of two keys that exclude each other both pressed is null. The judge's camera reaches to 10 degrees; its 11 bins are
        put into the spec's 21.

        Args:
            frames: (B, T, H, W, 3) uint8 RGB, T >= 2.

        Returns:
            (B, T-1, A) int64.
        """
        if frames.ndim != 5 or frames.shape[1] < 2:
            raise InputError(f"frames have shape {tuple(frames.shape)}; this judge reads (B, T >= 2, H, W, 3)")
        buttons, camera = self.read(frames[:, 1:])
        return columns(self.spec, buttons, camera)

    def agrees(self, labels: Tensor, actions: Tensor) -> Tensor:
        """(B, T-1, A) bool: was the given action read? Turns beyond the judge's 10 degrees count as 10."""
        actions = actions.clone()
        for name in ("pitch", "yaw"):
            index = self.spec.column(name)
            axis = self.spec.columns[index]
            low, high = (int(axis.quantise(sign * CAMERA.max_degrees)) for sign in (-1, 1))
            actions[..., index] = actions[..., index].clamp(low, high)
        return labels == actions

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 -> (B, hidden) float32, the mean over frames of what the image network sees."""
        return self.net(self._unit(frames))[1].mean(1)

    def _heads(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        buttons, camera = (self.pi_head[name].linear_layer(hidden) / TEMPERATURE for name in ("buttons", "camera"))
        shaped = buttons.unflatten(-1, (20, 2)), camera.unflatten(-1, (2, 11))
        return shaped[0].float().log_softmax(-1), shaped[1].float().log_softmax(-1)

    def _unit(self, frames: Tensor) -> Tensor:
        if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
            raise InputError(f"frames are {frames.dtype} {tuple(frames.shape)}; this judge reads uint8 (B, T, H, W, 3)")
        return resize(frames, self.config.size, self.config.size).to(self.net.final_ln.weight.dtype) / 255


def columns(action_spec: ActionSpec, buttons: Tensor, camera: Tensor) -> Tensor:
    """Buttons (…, 20) in {0, 1} and camera bins (…, 2) of VPT as columns of the "minecraft" spec, (…, A) int64."""
    labels = []
    for column in action_spec.columns:
        if isinstance(column, CameraAxis):
            bins = torch.as_tensor(column.quantise(CAMERA.centers), device=camera.device)
            labels.append(bins[camera[..., 0 if column.name == "pitch" else 1]])
            continue
        zero = torch.zeros_like(buttons[..., 0])
        keys = [buttons[..., BUTTONS.index(key)] if key in BUTTONS else zero for key in column.labels[1:]]
        pressed = torch.stack(keys, -1)
        one = pressed.sum(-1) == 1
        labels.append(torch.where(one, pressed.argmax(-1) + 1, torch.zeros_like(zero)))
    return torch.stack(labels, -1)


def load(path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> VPTIDM:
    """The published model, or one of the same architecture and other sizes, which are read from the shapes.

    Args:
        path: `4x_idm.weights`.
        device, dtype: where to put it and in which precision.

    Raises:
        InputError: there is no such file, it would run code, or a weight is missing, unknown or of another shape.
    """
    if not Path(path).expanduser().is_file():
        raise InputError(f"there is no file {str(path)!r}; get VPT's inverse dynamics model (MIT, 1.9 GB): wget {SOURCE}")
    tensors = torch_file.read(path)
    config = min((VPTConfig(), config_of(tensors)), key=lambda c: len(_differences(c, tensors)))
    with torch.device("meta"):
        model = VPTIDM(config)
    return torch_file.fill(model, tensors, str(path), dtype).to(device)


def config_of(tensors: Mapping[str, Tensor]) -> VPTConfig:
    """Sizes from the shapes of a state dict; the published ones where a weight is not there."""

    def rows(name: str, default: int, axis: int = 0) -> int:
        return tensors[name].shape[axis] if name in tensors and tensors[name].ndim > axis else default

    first, block = "net.img_process.cnn", "net.recurrent_layer.blocks"
    width = max(rows(f"{first}.stacks.0.n.weight", 256) // 16, 1)
    cells = rows(f"{first}.dense.norm.weight", 131072) // (32 * width)
    return VPTConfig(
        channels=rows("net.conv3d_layer.layer.bias", 128),
        width=width,
        features=rows(f"{first}.dense.layer.weight", 256),
        hidden=rows("net.final_ln.weight", 4096),
        heads=max(rows(f"{block}.0.r.orc_block.r_layer.bias", 320) // 10, 1),
        layers=len({name.split(".")[3] for name in tensors if name.startswith(f"{block}.")}) or 2,
        size=8 * max(round(cells**0.5), 1),
    )


def _differences(config: VPTConfig, tensors: Mapping[str, Tensor]) -> list[str]:
    with torch.device("meta"):
        expected = VPTIDM(config).state_dict()
    shapes = {name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape}
    return sorted(shapes | (expected.keys() ^ tensors.keys()))
