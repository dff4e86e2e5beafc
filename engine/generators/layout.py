"""Published checkpoints: every key and shape checked, spectral norms folded into the weights.

It knows no architecture: a generator says which keys its publishers wrote, and what they become here. It does not
unpickle; a `.pth` is turned into safetensors before it comes here, under the names that its publishers gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

Source = Path | Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """Weights under their published names, and what to call them in an error."""

    name: str
    weights: Mapping[str, Tensor]

    @classmethod
    def open(cls, source: Source) -> Checkpoint:
        """A safetensors file, or a state dict already in memory."""
        if not isinstance(source, Path):
            return cls("the state dict", source)
        try:
            return cls(source.name, load_file(source))
        except SafetensorError as error:
            raise ValueError(f"{source.name} is not a safetensors file: {error}.") from error

    def shape(self, key: str, rank: int) -> tuple[int, ...]:
        """The shape of a weight that says how large the others are."""
        if key not in self.weights:
            raise ValueError(f"{self.name}: weight {key!r} is missing.")
        shape = tuple(self.weights[key].shape)
        if len(shape) != rank or 0 in shape:
            raise ValueError(f"{self.name}: weight {key!r} has shape {list(shape)}, expected {rank} sizes above zero.")
        return shape

    def count(self, prefix: str) -> int:
        """How many children `prefix` has, by their highest number."""
        numbers = [key.removeprefix(prefix).split(".")[0] for key in self.weights if key.startswith(prefix)]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)

    def check(self, wanted: Mapping[str, tuple[int, ...]], ignored: tuple[str, ...] = ()) -> None:
        """ValueError names the first weight, in the network's order, that is missing, misshapen or not expected.

        Keys that end in one of `ignored` may be there or not; nothing here reads them.
        """
        for key, shape in wanted.items():
            if key not in self.weights:
                raise ValueError(f"{self.name}: weight {key!r} is missing.")
            found = list(self.weights[key].shape)
            if found != list(shape):
                raise ValueError(f"{self.name}: weight {key!r} has shape {found}, expected {list(shape)}.")
        for key in sorted(self.weights.keys() - wanted.keys()):
            if not key.endswith(ignored):
                raise ValueError(f"{self.name}: weight {key!r} is not expected.")


def spectral(name: str, *shape: int, bias: bool = False) -> dict[str, tuple[int, ...]]:
    """What `torch.nn.utils.spectral_norm` writes for a layer: the raw weight and its two singular vectors."""
    inner = torch.Size(shape[1:]).numel()
    keys: dict[str, tuple[int, ...]] = {f"{name}.bias": shape[:1]} if bias else {}
    return keys | {f"{name}.weight_orig": shape, f"{name}.weight_u": shape[:1], f"{name}.weight_v": (inner,)}


def fold_stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weight_orig` over sigma = u W v with the stored u and v, as that layer computes it in eval mode."""
    folded = {key: weight for key, weight in weights.items() if not key.endswith(("_orig", "_u", "_v"))}
    for key in weights:
        if key.endswith(".weight_orig"):
            stem = key.removesuffix("_orig")
            u, v = weights[f"{stem}_u"].double(), weights[f"{stem}_v"].double()
            folded[stem] = _divide(weights[key], u @ weights[key].double().flatten(1) @ v)
    return folded


def fold_iterated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weight` over sigma after one power iteration from `u0`, as ajbrock's layers compute it in every eval forward."""
    folded = {key: weight for key, weight in weights.items() if not key.endswith((".u0", ".sv0"))}
    for key in weights:
        if key.endswith(".u0"):
            stem = key.removesuffix("u0") + "weight"
            matrix = weights[stem].double().flatten(1)
            v = functional.normalize(weights[key].double() @ matrix)
            folded[stem] = _divide(weights[stem], torch.linalg.vector_norm(v @ matrix.T))
    return folded


def build(create: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """A frozen network that takes these very tensors for its own: nothing is initialised, nothing copied."""
    with torch.device("meta"):
        network = create()
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def _divide(weight: Tensor, sigma: Tensor) -> Tensor:
    return (weight.double() / sigma).to(weight.dtype)
