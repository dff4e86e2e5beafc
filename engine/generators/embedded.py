"""The embedded pack's generator: a small class-conditional GAN, `G(z, y)`, drawing 64x64.

It knows its layers and how its weights lie in a safetensors file. It does not know how it was trained: batch
statistics are folded into the convolutions before the file is written, so one row never depends on another. Training
builds the same network with its own modulation.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from torch import LongTensor, Tensor, nn
from torch.nn import functional

SLOPE = 0.1
SIDE = 4  # of the first map; every further stage doubles it


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides every tensor's shape, and the names of the rows of the embedding."""

    classes: tuple[str, ...]  # the names people type, in the order of the pack's world
    variants: int = 1  # looks per class: row = class x variants + variant
    dim_z: int = 128
    dim_y: int = 128
    widths: tuple[int, ...] = (256, 256, 192, 128, 64)

    @property
    def rows(self) -> int:
        """How many labels `embed` knows."""
        return len(self.classes) * self.variants

    @property
    def resolution(self) -> int:
        """The picture's side."""
        return int(SIDE * 2 ** (len(self.widths) - 1))

    def to_metadata(self) -> dict[str, str]:
        """The header of the weights' file."""
        return {"shape": json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None) -> "Shape":
        """Read the header back."""
        fields = json.loads((metadata or {}).get("shape", "{}"))
        if set(fields) != set(cls.__slots__):
            raise ValueError(f"The file's header has no 'shape' with exactly {', '.join(cls.__slots__)}.")
        fields |= {key: tuple(fields[key]) for key in ("classes", "widths")}
        return cls(**fields)


class Modulate(nn.Module):
    """Scale and shift every channel of every row by its own numbers, then rectify."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """`gain` and `shift` are [n, channels]."""
        return functional.leaky_relu(torch.addcmul(shift[:, :, None, None], x, gain[:, :, None, None]), SLOPE)


class Excite(nn.Module):
    """FastGAN's skip excitation (arXiv 2101.04775, section 3.1): a small map gates the channels of a large one."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(source, target, SIDE)
        self.gate = nn.Conv2d(target, target, 1)

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        """Both maps keep their shapes; the small one is pooled to 4x4 first."""
        squeezed = functional.leaky_relu(self.squeeze(functional.adaptive_avg_pool2d(small, SIDE)), SLOPE)
        return large * torch.sigmoid(self.gate(squeezed))


class EmbeddedGenerator(nn.Module):
    """z [n, dim_z] and y [n, dim_y] to pictures [n, 3, side, side] in [-1, 1]; differentiable in both."""

    def __init__(self, shape: Shape, modulation: Callable[[int], nn.Module] = Modulate) -> None:
        super().__init__()
        self.shape = shape
        self.dim_z, self.dim_y, self.resolution = shape.dim_z, shape.dim_y, shape.resolution
        self.classes = tuple(f"{name}/{look}" for name in shape.classes for look in range(shape.variants))
        self.embedding = nn.Embedding(shape.rows, shape.dim_y)
        plan = list(_plan(shape.widths))
        self.start = nn.Linear(shape.dim_z + shape.dim_y, shape.widths[0] * SIDE * SIDE)
        self.affine = nn.Linear(shape.dim_z + shape.dim_y, 2 * sum(out for _, out, _ in plan))
        self.convs = nn.ModuleList(nn.Conv2d(into, out, 3, padding=1) for into, out, _ in plan)
        self.modulations = nn.ModuleList(modulation(out) for _, out, _ in plan)
        self.splits = [2 * out for _, out, _ in plan]
        self.doubles = tuple(double for _, _, double in plan)
        last, before = shape.widths[-1], shape.widths[-2]
        self.excite_before = Excite(shape.widths[0], before)
        self.excite_last = Excite(shape.widths[1], last)
        self.rgb_before = nn.Conv2d(before, 3, 3, padding=1)
        self.rgb_last = nn.Conv2d(last, 3, 3, padding=1)
        nn.init.zeros_(self.rgb_last.weight)

    def embed(self, labels: LongTensor | Tensor) -> Tensor:
        """Rows of the shared class embedding: label numbers [n] to y [n, dim_y]."""
        rows: Tensor = self.embedding(labels)
        return rows

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Draw one picture per row; only z's direction counts."""
        unit = functional.normalize(z, dim=1) * math.sqrt(self.dim_z)
        condition = torch.cat([unit, y], 1)
        styles = self.affine(condition).split(self.splits, 1)
        x = self.start(condition).view(len(z), -1, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        stages = [x]
        for conv, modulate, style, double in zip(self.convs, self.modulations, styles, self.doubles, strict=True):
            if double:
                x = _double(x, smooth=x.shape[2] > SIDE)
            gain, shift = style.chunk(2, 1)
            x = modulate(conv(x), 1 + gain, shift)
            stages.append(x)
        return self._paint(stages)

    def _paint(self, stages: list[Tensor]) -> Tensor:
        """The last map adds detail to the picture that the map at half its side already shows."""
        before = self.excite_before(stages[2], stages[-3])
        last = self.excite_last(stages[4], stages[-1])
        coarse = functional.interpolate(
            self.rgb_before(before).float(), scale_factor=2, mode="bilinear", align_corners=False
        )
        return _bound(coarse + self.rgb_last(last).float())


def _bound(x: Tensor) -> Tensor:
    """Into (-1, 1), with a slope that falls off as x^-3: behind tanh a white patch stays white for ever."""
    return x * torch.rsqrt(1 + x * x)


def _double(x: Tensor, smooth: bool) -> Tensor:
    """Steps give the first stage edges to work from; smooth steps later, or a lattice shows in the picture."""
    if smooth:
        return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def _plan(widths: tuple[int, ...]) -> list[tuple[int, int, bool]]:
    """Every convolution: channels in, channels out, doubled before it? The last stage narrows before it doubles."""
    plan = [(widths[0], widths[0], False)] * 2
    for into, out in pairwise(widths[:-1]):
        plan += [(into, out, True), (out, out, False)]
    return [*plan, (widths[-2], widths[-1], False), (widths[-1], widths[-1], True)]


def load(path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> EmbeddedGenerator:
    """Read a generator strictly: the first wrong key or shape is named, and nothing is guessed."""
    with safe_open(path, framework="pt", device="cpu") as file:
        generator = EmbeddedGenerator(Shape.from_metadata(file.metadata()))
        stored = {key: file.get_tensor(key) for key in sorted(file.keys())}
    wanted = generator.state_dict()
    for key in sorted(stored.keys() ^ wanted.keys()):
        raise ValueError(f"{path.name}: weight {key!r} is {'missing' if key in wanted else 'not expected'}.")
    for key, weight in stored.items():
        if weight.shape != wanted[key].shape:
            raise ValueError(
                f"{path.name}: weight {key!r} has shape {list(weight.shape)}, expected {list(wanted[key].shape)}."
            )
    generator.load_state_dict(stored)
    placed = generator.to(device, dtype).to(memory_format=torch.channels_last)
    return placed.eval().requires_grad_(False)
