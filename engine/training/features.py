"""The frozen MobileNetV2 of `mobilenet_v2.npz`: critic's eye, teacher and feature space.

It knows the archive's program, runs it, and gives the gradient with respect to the picture by forward kernels only
(oneDNN's own depthwise backward takes most of a training step). It does not know what its features are used for, and
it has no gradient with respect to its weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.training.data import open_archive

TAPS = (119, 130, 156, 170)  # the program's last outputs at strides 4, 8, 16 and 32
CHANNELS = (24, 32, 96, 320)
FEATURE, LOGITS = 172, 174
BACKGROUND = 1  # output 0 is "background": ImageNet's class i is output i + 1


class Features(NamedTuple):
    """What the network saw: four maps, the pooled feature and ImageNet's logits."""

    maps: tuple[Tensor, Tensor, Tensor, Tensor]
    pooled: Tensor  # [n, 1280]
    logits: Tensor  # [n, 1001]


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution: its kernel, and the kernel that carries a gradient back through it."""

    source: int
    output: int
    weight: Tensor
    bias: Tensor
    backward: Tensor
    stride: int
    groups: int
    relu6: bool

    @property
    def size(self) -> int:
        """The kernel's side."""
        return int(self.weight.shape[-1])


@dataclass(frozen=True, slots=True)
class Add:
    """A residual sum."""

    sources: tuple[int, int]
    output: int


class MobileNet:
    """The frozen network; call it with pictures [n, 3, side, side] in [0, 1], side a multiple of 32."""

    def __init__(self, archive: Mapping[str, NDArray[Any]], device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        program = json.loads(archive["program"].tobytes())
        self.steps: list[Layer | Add] = []
        self.buffers: dict[tuple[int, ...], Tensor] = {}
        for op in program["ops"]:
            if op["op"] == "add":
                self.steps.append(Add((op["inputs"][0], op["inputs"][1]), op["output"]))
            elif op["op"] in {"conv", "depthwise"} and op["inputs"][0] != FEATURE:
                self.steps.append(self._layer(archive, op))
        last = next(op for op in program["ops"] if op["inputs"][0] == FEATURE)["weight"]
        self.head = torch.from_numpy(archive[f"w{last}"].astype(np.float32)).flatten(1).to(device)
        self.head_bias = torch.from_numpy(archive[f"b{last}"].astype(np.float32)).to(device)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> "MobileNet":
        """Read the archive of DREAMBOT_DATA; bf16 where the machine is fast in it, else fp32."""
        chosen = torch.device(device)
        return cls(open_archive(folder, "mobilenet_v2.npz"), chosen, fast_dtype(chosen))

    def __call__(self, pictures: Tensor) -> Features:
        """Differentiable with respect to the pictures."""
        s4, s8, s16, s32, last = _Trunk.apply(pictures, self)
        pooled = last.float().mean((2, 3))
        logits = functional.linear(pooled, self.head, self.head_bias)
        return Features((s4, s8, s16, s32), pooled, logits)

    def bordered(self, purpose: int, n: int, channels: int, high: int, wide: int) -> Tensor:
        """A zeroed channels-last buffer, kept: its user writes the same places every time, so the rest stays zero."""
        key = (purpose, n, channels, high, wide)
        if key not in self.buffers:
            buffer = torch.empty(key[1:], dtype=self.dtype, device=self.device, memory_format=torch.channels_last)
            self.buffers[key] = buffer.zero_()
        return self.buffers[key]

    def _layer(self, archive: Mapping[str, NDArray[Any]], op: dict[str, Any]) -> Layer:
        weight = torch.from_numpy(archive[f"w{op['weight']}"].astype(np.float32))
        bias = torch.from_numpy(archive[f"b{op['weight']}"].astype(np.float32))
        source = 0 if op["inputs"][0] == 109 else op["inputs"][0]
        flipped = weight.flip(2, 3)
        backward = flipped if op["groups"] > 1 else flipped.transpose(0, 1)
        if source == 0:  # the program scales [0, 1] to [-1, 1]; fold that slope (not the offset: padding is zero)
            backward = backward * 2
        placed = [
            part.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
            for part in (weight, backward)
        ]
        return Layer(
            source=source,
            output=op["output"],
            weight=placed[0],
            bias=bias.to(self.device, self.dtype),
            backward=placed[1],
            stride=op["stride"],
            groups=op["groups"],
            relu6=op["relu6"],
        )


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 on a GPU and on a CPU with AMX, fp32 elsewhere (emulated bf16 is slower)."""
    if device.type == "cuda" or torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    return torch.float32


class _Trunk(torch.autograd.Function):
    """Pictures to the four maps and the last one, with the hand-written way back."""

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, net: MobileNet) -> tuple[Tensor, ...]:
        scaled = (pictures * 2 - 1).to(net.dtype).contiguous(memory_format=torch.channels_last)
        live = {0: scaled}
        for step in net.steps:
            if isinstance(step, Add):
                live[step.output] = live[step.sources[0]] + live[step.sources[1]]
            else:
                live[step.output] = _convolve(live[step.source], step, net)
        if pictures.requires_grad:
            ctx.net, ctx.dtype = net, pictures.dtype
            rectified = [s.output for s in net.steps if isinstance(s, Layer) and s.relu6]
            ctx.outputs = rectified
            ctx.save_for_backward(*(live[number] for number in rectified))
        return (*(live[number] for number in TAPS), live[171])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        net: MobileNet = ctx.net
        active = dict(zip(ctx.outputs, ctx.saved_tensors, strict=True))
        flow: dict[int, Tensor] = {}
        for number, gradient in zip((*TAPS, 171), gradients, strict=True):
            flow[number] = gradient.to(net.dtype).contiguous(memory_format=torch.channels_last)
        for step in reversed(net.steps):
            gradient = flow.pop(step.output)
            if isinstance(step, Add):
                for source in step.sources:
                    _pour(flow, source, gradient)
                continue
            if step.relu6:
                gradient = torch.ops.aten.hardtanh_backward(gradient, active.pop(step.output), 0.0, 6.0)
            _pour(flow, step.source, _back(gradient, step, net))
        return flow[0].to(ctx.dtype), None


def _convolve(x: Tensor, layer: Layer, net: MobileNet) -> Tensor:
    padding = layer.size // 2
    if layer.stride == 2:  # TensorFlow's SAME pads an even side after it only
        n, channels, high, wide = x.shape
        padded = net.bordered(0, n, channels, high + 1, wide + 1)
        padded[:, :, :-1, :-1] = x
        x, padding = padded, 0
    if x.device.type == "cpu":  # oneDNN's own fusion of convolution, bias and clamp
        attribute, scalars = ("hardtanh", [0.0, 6.0]) if layer.relu6 else ("none", [])
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            layer.weight,
            layer.bias,
            [padding] * 2,
            [layer.stride] * 2,
            [1, 1],
            layer.groups,
            attribute,
            scalars,
            "",
        )
        return fused
    out = functional.conv2d(x, layer.weight, layer.bias, layer.stride, padding, 1, layer.groups)
    return out.clamp_(0, 6) if layer.relu6 else out


def _back(gradient: Tensor, layer: Layer, net: MobileNet) -> Tensor:
    """The gradient with respect to the layer's input: a forward convolution with the turned kernel."""
    padding = layer.size // 2
    if layer.stride == 2:
        n, channels, high, wide = gradient.shape
        spread = net.bordered(1, n, channels, 2 * high + 2, 2 * wide + 2)
        spread[:, :, 2::2, 2::2] = gradient
        gradient, padding = spread, 0
    return functional.conv2d(gradient, layer.backward, None, 1, padding, 1, layer.groups)


def _pour(flow: dict[int, Tensor], number: int, gradient: Tensor) -> None:
    flow[number] = flow[number] + gradient if number in flow else gradient
