"""SAGAN at 128 pixels (arXiv 1805.08318) from the weights of PyTorch-StudioGAN, in both of their forms.

It knows the key layout of 2021, in which a class is a row of every norm's embedding, and that of 2022, in which it is
a one-hot vector before a linear layer. There is no class embedding that the layers share, so y is the class vector
itself: `embed` gives one-hot rows, dim_y is the number of classes, and between two of them every norm's gain and bias
are mixed in proportion. A method that mixes y keeps its rows non-negative with sum 1; elsewhere nothing was trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.attention import Attention
from engine.generators.layout import NCHW, Checkpoint, Source, build, fold_stored, spectral

EPS = 1e-4
SIDE = 4  # of the first map; every block doubles it
UNITS = (16, 16, 8, 4, 2, 1)  # channels of the first map and after every block, in units of `width`
ORDERS = {"linear0.weight_orig": (NCHW,), "linear0.bias": (NCHW,)}
ATTENTION = 4  # its place among the published blocks: behind the fourth, at 64x64
EMBEDDED = ("embed0", "embed1")  # gain and bias in the form of 2021: (classes, channels)
LINEAR = ("gain", "bias")  # in the form of 2022: (channels, classes)


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every tensor's shape, and the published form."""

    width: int = 64
    dim_z: int = 128
    classes: int = 1000
    linear: bool = True

    @property
    def channels(self) -> list[tuple[int, int]]:
        """In and out of every block."""
        return list(pairwise(units * self.width for units in UNITS))

    @property
    def attended(self) -> int:
        """Channels of the map whose places look at each other."""
        return self.channels[ATTENTION][0]


class Norm(nn.Module):
    """Batch norm by stored statistics as x * inverse + shift; gain and bias linear in the class vector; rectified."""

    inverse: Tensor
    shift: Tensor

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))
        self.gain = nn.Linear(classes, channels, bias=False)
        self.bias = nn.Linear(classes, channels, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two numbers a channel and row, multiplied out before they meet the pixels."""
        gain = 1 + self.gain(y)
        return _rectify(x, gain * self.inverse, gain * self.shift + self.bias(y))


class LastNorm(nn.Module):
    """The same for every row: statistics, weight and bias in one multiplication; rectified."""

    inverse: Tensor
    shift: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("inverse", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Over the last map, before the RGB convolution."""
        return _rectify(x, self.inverse[None], self.shift[None])


class Block(nn.Module):
    """Two 3x3 convolutions at the doubled side, and a 1x1 shortcut that is as well computed before the doubling."""

    def __init__(self, into: int, out: int, classes: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = Norm(into, classes), Norm(out, classes)
        self.conv2d0 = nn.Conv2d(into, out, 1)
        self.conv2d1 = nn.Conv2d(into, out, 3, padding=1)
        self.conv2d2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(n, into, h, h) to (n, out, 2h, 2h)."""
        h = self.conv2d1(_double(self.bn1(x, y)))
        out: Tensor = self.conv2d2(self.bn2(h, y))
        return out + _double(self.conv2d0(x))


class Sagan(nn.Module):
    """z (n, dim_z) and class vectors y (n, classes) to pictures (n, 3, 128, 128) in [-1, 1]; differentiable in both."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dim_z, self.dim_y = shape.dim_z, shape.classes
        self.resolution = SIDE * 2 ** len(shape.channels)
        self.linear0 = nn.Linear(shape.dim_z, SIDE * SIDE * shape.channels[0][0])
        self.blocks = nn.ModuleList(Block(into, out, shape.classes) for into, out in shape.channels)
        self.attention = Attention(shape.attended)
        self.bn4 = LastNorm(shape.width)
        self.conv2d5 = nn.Conv2d(shape.width, 3, 3, padding=1)

    def embed(self, classes: Tensor) -> Tensor:
        """Class indices (n,) to one-hot rows (n, classes)."""
        return functional.one_hot(classes, self.dim_y).to(self.linear0.weight.dtype)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Draw one picture per row; z makes the first map only."""
        x = self.linear0(z).view(len(z), -1, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.blocks):
            if index == ATTENTION:
                x = self.attention(x)
            x = block(x, y)
        return _bound(self.conv2d5(self.bn4(x)))


def load(source: Source) -> Sagan:
    """Read strictly, in whichever form; the form follows from the keys. ValueError names the first wrong key or shape.

    A published `.pth` holds the weights under `state_dict`, beside the optimiser; only those come here.
    """
    checkpoint = Checkpoint.open(source)
    shape = _shape_of(checkpoint)
    checkpoint.check(published(shape), ignored=(".num_batches_tracked",), orders=ORDERS)
    folded = fold_stored(checkpoint.weights)
    return build(partial(Sagan, shape), _multiplied(dict(_ours(key, weight) for key, weight in folded.items())))


def published(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every key of the published file with its shape, in the order of the network; batch counters aside."""
    keys = spectral("linear0", SIDE * SIDE * shape.channels[0][0], shape.dim_z, bias=True)
    for index, (into, out) in enumerate(shape.channels):
        if index == ATTENTION:
            keys |= _attention_keys(f"blocks.{ATTENTION}.0", shape)
        keys |= _block_keys(f"blocks.{index + (index >= ATTENTION)}.0", into, out, shape)
    keys |= {f"bn4.{part}": (shape.width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return keys | spectral("conv2d5", 3, shape.width, 3, 3, bias=True)


def _block_keys(name: str, into: int, out: int, shape: Shape) -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {}
    for norm, conv, channels in (("bn1", "conv2d1", into), ("bn2", "conv2d2", out)):
        keys |= {f"{name}.{norm}.bn.running_{what}": (channels,) for what in ("mean", "var")}
        for part in LINEAR if shape.linear else EMBEDDED:
            sizes = (channels, shape.classes) if shape.linear else (shape.classes, channels)
            keys |= spectral(f"{name}.{norm}.{part}", *sizes)
        keys |= spectral(f"{name}.{conv}", out, channels, 3, 3, bias=True)
    return keys | spectral(f"{name}.conv2d0", out, into, 1, 1, bias=True)


def _attention_keys(name: str, shape: Shape) -> dict[str, tuple[int, ...]]:
    channels = shape.attended
    keys: dict[str, tuple[int, ...]] = {f"{name}.sigma": (1,)}
    for part, out in {"theta": channels // 8, "phi": channels // 8, "g": channels // 2}.items():
        keys |= spectral(f"{name}.conv1x1_{part}", out, channels, 1, 1)
    return keys | spectral(f"{name}.conv1x1_attn", channels, channels // 2, 1, 1)


def _shape_of(checkpoint: Checkpoint) -> Shape:
    """One key of the embedded form is enough to read all the others as embedded."""
    linear = not any(".embed0." in key or ".embed1." in key for key in checkpoint.weights)
    first = f"blocks.0.0.bn1.{(LINEAR if linear else EMBEDDED)[0]}.weight_orig"
    classes = checkpoint.shape(first, 2)[1 if linear else 0]
    _, dim_z = checkpoint.shape("linear0.weight_orig", 2)
    (width,) = checkpoint.shape("bn4.weight", 1)
    return Shape(width, dim_z, classes, linear)


def _ours(key: str, weight: Tensor) -> tuple[str, Tensor]:
    """Attention beside the blocks, not among them; an embedding is a linear layer lying on its side."""
    for embedded, linear in zip(EMBEDDED, LINEAR, strict=True):
        if f".{embedded}." in key:
            key, weight = key.replace(embedded, linear), weight.T.contiguous()
    if key.startswith(f"blocks.{ATTENTION}."):
        part = key.removeprefix(f"blocks.{ATTENTION}.0.").replace("conv1x1_", "").replace("attn", "o")
        return f"attention.{part}".replace("sigma", "gamma"), weight.reshape(()) if part == "sigma" else weight
    return re.sub(r"^blocks\.(\d+)\.0\.", lambda found: f"blocks.{_place(int(found[1]))}.", key), weight


def _place(index: int) -> int:
    return index - (index > ATTENTION)


def _multiplied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Statistics become a multiplication and an addition; the last norm's weight and bias go into them."""
    weights = {key: weight for key, weight in weights.items() if not key.endswith(".num_batches_tracked")}
    for name in [key.removesuffix(".running_mean") for key in weights if key.endswith(".running_mean")]:
        mean, var = weights.pop(f"{name}.running_mean"), weights.pop(f"{name}.running_var").double()
        inverse = (var + EPS).rsqrt()
        shift = -mean.double() * inverse
        if f"{name}.weight" in weights:
            gain, bias = weights.pop(f"{name}.weight").double(), weights.pop(f"{name}.bias").double()
            inverse, shift = inverse * gain, shift * gain + bias
        name = name.removesuffix(".bn")
        weights |= {f"{name}.inverse": inverse.to(mean.dtype), f"{name}.shift": shift.to(mean.dtype)}
    return weights


def _rectify(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return functional.relu(torch.addcmul(shift[:, :, None, None], x, gain[:, :, None, None]))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _bound(x: Tensor) -> Tensor:
    """In fp32 at the least: bf16 has three digits between -1 and 1."""
    return torch.tanh(x.to(torch.promote_types(x.dtype, torch.float32)))
