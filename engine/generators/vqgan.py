"""The VQGAN of CLIP-GEN: pictures to a square of tokens and back.

It knows the layers of arXiv 2203.00386 as the published `vqgan_coco` checkpoint stores them (taming's VQGAN, arXiv
2012.09841, with groups of 32 everywhere and one attention head) and its key layout. It does not know how it was trained
(the discriminator in the file is skipped), nor who draws the tokens, nor CLIP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.layout import Checkpoint, Source, build

UNUSED = "discriminator."  # of training, in the published file
DECODER_ONLY = {"encoder": "left out"}  # in the header of a file that only draws


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every tensor's shape; the defaults are `vqgan_coco`'s."""

    codes: int = 16384
    dim: int = 256  # of a code
    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # of the width, from the picture's side down to the tokens'
    blocks: int = 2  # residual blocks a level; the decoder has one more
    attention: tuple[int, ...] = (16,)  # the sides at which every block is followed by attention
    resolution: int = 256
    groups: int = 32  # of every normalisation; with a channel a group a narrow map would forget its brightness
    patch: int = 1  # pixels a side that the first layer reads, and the last paints, as channels of one cell

    @property
    def grid(self) -> int:
        """The side of the square of tokens."""
        return self.resolution // self.patch >> (len(self.multipliers) - 1)

    @property
    def levels(self) -> list[tuple[int, bool]]:
        """Channels of every level, and whether it attends, from the picture's side down."""
        sides = [self.resolution // self.patch >> level for level in range(len(self.multipliers))]
        return [
            (self.width * times, side in self.attention) for times, side in zip(self.multipliers, sides, strict=True)
        ]

    def to_metadata(self) -> dict[str, str]:
        """The header of a file that is not of the published shape."""
        return {"shape": json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> Shape:
        """Read the header back; a file without one is of the published shape."""
        fields = json.loads((metadata or {}).get("shape", json.dumps(asdict(cls()))))
        if set(fields) != set(cls.__slots__):
            raise ValueError(f"The file's 'shape' must have exactly {', '.join(cls.__slots__)}.")
        fields |= {key: tuple(fields[key]) for key in ("multipliers", "attention")}
        return cls(**fields)


class VQGAN(nn.Module):
    """Tokens [n, grid * grid], row by row of the picture, and pictures [n, 3, side, side] in [-1, 1]."""

    encoder: nn.Module

    def __init__(self, shape: Shape, *, encodes: bool = True) -> None:
        super().__init__()
        self.shape, self.grid, self.resolution = shape, shape.grid, shape.resolution
        self.encodes = encodes
        if encodes:
            self.encoder = Encoder(shape)
        self.decoder, self.quantizer = Decoder(shape), Quantizer(shape)

    def decode(self, tokens: Tensor, *, cut: bool = True) -> Tensor:
        """Draw tokens; what the decoder paints past white or black is cut."""
        z = self.quantizer.lookup(tokens).transpose(1, 2)
        pictures = self.paint(z.reshape(len(z), -1, self.grid, self.grid))
        return pictures.clamp(-1, 1) if cut else pictures

    def paint(self, z: Tensor) -> Tensor:
        """Pictures of codes z [n, dim, grid, grid], which may lie between the table's: differentiable, not cut."""
        pictures: Tensor = self.decoder(z)
        return pictures

    def encode(self, pictures: Tensor) -> Tensor:
        """The token nearest to what the encoder sees in every cell; ValueError where the file left the encoder out."""
        if not self.encodes:
            raise ValueError("This VQGAN was stored without its encoder: it draws tokens and reads none.")
        return self.quantizer.nearest(self.encoder(pictures.to(self.quantizer.embedding.weight.dtype)))


class Quantizer(nn.Module):
    """The table of codes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.codes, shape.dim)

    def lookup(self, tokens: Tensor) -> Tensor:
        """Codes [n, cells, dim] of tokens [n, cells]."""
        codes: Tensor = self.embedding(tokens)
        return codes

    def nearest(self, z: Tensor) -> Tensor:
        """Tokens [n, cells] of z [n, dim, h, w], by L2; |z|^2 is the same for all codes and left out."""
        table = self.embedding.weight.float()
        offsets = table.square().sum(1)  # one picture at a time: a batch against 16384 codes is half a gigabyte
        cells = z.float().flatten(2).transpose(1, 2)
        return torch.stack([torch.addmm(offsets, row, table.T, alpha=-2).argmin(1) for row in cells])


class Encoder(nn.Module):
    """Pictures to z, [n, dim, grid, grid]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        into, layers = shape.width, list[nn.Module]()
        self.patch, self.conv_in = shape.patch, _conv(3 * shape.patch**2, into)
        for level, (out, attends) in enumerate(shape.levels):
            layers += [Halve(into)] if level else []
            layers += _stage(into, out, shape.blocks, attends, shape.groups)
            into = out
        self.down, self.mid = nn.Sequential(*layers), _middle(into, shape.groups)
        last = (_conv(into, shape.dim), nn.Conv2d(shape.dim, shape.dim, 1))
        self.final = nn.Sequential(nn.GroupNorm(shape.groups, into), nn.SiLU(), *last)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, side, side] to [n, dim, grid, grid]."""
        z: Tensor = self.final(self.mid(self.down(self.conv_in(functional.pixel_unshuffle(x, self.patch)))))
        return z


class Decoder(nn.Module):
    """z back to pictures, the encoder's mirror with one block more a level."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        into, layers = shape.levels[-1][0], list[nn.Module]()
        self.patch = shape.patch
        self.quant_conv_in = nn.Conv2d(shape.dim, shape.dim, 1)
        self.conv_in, self.mid = _conv(shape.dim, into), _middle(into, shape.groups)
        for level, (out, attends) in enumerate(reversed(shape.levels)):
            layers += [Double(into)] if level else []
            layers += _stage(into, out, shape.blocks + 1, attends, shape.groups)
            into = out
        self.up = nn.Sequential(*layers)
        self.final = nn.Sequential(nn.GroupNorm(shape.groups, into), nn.SiLU(), _conv(into, 3 * shape.patch**2))

    def forward(self, z: Tensor) -> Tensor:
        """[n, dim, grid, grid] to [n, 3, side, side]."""
        x = self.final(self.up(self.mid(self.conv_in(self.quant_conv_in(z)))))
        return functional.pixel_shuffle(x, self.patch)


class Residual(nn.Module):
    """Normalise, rectify, convolve, twice; the file numbers these layers, and 5 was training's dropout."""

    def __init__(self, into: int, out: int, groups: int = 32) -> None:
        super().__init__()
        first = (nn.GroupNorm(groups, into), nn.SiLU(), _conv(into, out))
        self.block = nn.Sequential(*first, nn.GroupNorm(groups, out), nn.SiLU(), nn.Identity(), _conv(out, out))
        self.shortcut = nn.Identity() if into == out else nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, into, h, w] to [n, out, h, w]."""
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


class Attend(nn.Module):
    """Every cell looks at every other, with one head."""

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.attn = nn.MultiheadAttention(channels, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to the same."""
        cells = self.norm(x).flatten(2).transpose(1, 2)
        seen: Tensor = self.attn(cells, cells, cells, need_weights=False)[0]
        return x + seen.transpose(1, 2).reshape(x.shape)


class Halve(nn.Module):
    """Half the side; only the right and the lower border are padded, as in taming."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, channels, h/2, w/2]."""
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return out


class Double(nn.Module):
    """Twice the side, in steps that the convolution smooths."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] to [n, channels, 2h, 2w]."""
        out: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


def _stage(into: int, out: int, blocks: int, attends: bool, groups: int) -> list[nn.Module]:
    """One level's blocks, the first of which changes the channels."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [Residual(into if block == 0 else out, out, groups), *([Attend(out, groups)] if attends else [])]
    return layers


def _middle(channels: int, groups: int) -> nn.Sequential:
    attend = Attend(channels, groups)
    return nn.Sequential(Residual(channels, channels, groups), attend, Residual(channels, channels, groups))


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1)


def load(
    source: Source,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    shape: Shape | None = None,
) -> VQGAN:
    """Read the published layout strictly; ValueError names the first wrong key or shape.

    The discriminator may be there or not; so may the encoder where the header says that it was left out. The shape is
    the given one, else the file's header's, else `vqgan_coco`'s.
    """
    header = _header(source)
    checkpoint, shape = Checkpoint.open(source), shape or Shape.from_metadata(header)
    encodes = not header.items() >= DECODER_ONLY.items()
    weights = {key: weight for key, weight in checkpoint.weights.items() if not key.startswith(UNUSED)}
    Checkpoint(checkpoint.name, weights, checkpoint.changed).check(published(shape, encodes=encodes))
    return build(partial(VQGAN, shape, encodes=encodes), weights).to(device, dtype)


def published(shape: Shape, *, encodes: bool = True) -> dict[str, tuple[int, ...]]:
    """Every key of the published file but the discriminator's, with its shape."""
    with torch.device("meta"):
        return {key: tuple(weight.shape) for key, weight in VQGAN(shape, encodes=encodes).state_dict().items()}


def _header(source: Source) -> dict[str, str]:
    if not isinstance(source, Path):
        return {}
    with safe_open(source, framework="pt", device="cpu") as file:
        return file.metadata() or {}
