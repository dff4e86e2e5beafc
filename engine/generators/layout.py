"""Published checkpoints: every key and shape checked, spectral norms folded into the weights.

It knows no architecture: a generator says which keys its publishers wrote, and what they become here. It does not
unpickle; a `.pth` is turned into safetensors before it comes here, under the names that its publishers gave. A weight
whose rows or columns were moved keeps its shape: two things tell it, the marks of the converter (engine.marks), and,
where spectral norms were stored, the singular vectors, which fit a trained layer in one order only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from engine.marks import changed, digest

Source = Path | Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)
FITS, MISFITS = 0.9, 0.7  # cosines: of a layer with its singular vectors, and of one whose rows or columns were moved
CELLS = 16  # places of a first map, 4 x 4


@dataclass(frozen=True, eq=False, slots=True)
class Order:
    """How the numbers of a weight lie where its shape does not say so, and how one that lies otherwise is put right."""

    lies: str
    otherwise: str
    put_right: Callable[[Tensor], Tensor]

    @property
    def fault(self) -> str:
        """What an error says of a weight that lies otherwise."""
        return f"is {self.otherwise}, expected {self.lies}"


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """Weights under their published names, and what to call them in an error."""

    name: str
    weights: Mapping[str, Tensor]
    changed: Mapping[str, str] = field(default_factory=dict)  # what is not what was converted, and what it was

    @classmethod
    def open(cls, source: Source) -> Checkpoint:
        """A safetensors file, or a state dict already in memory."""
        if not isinstance(source, Path):
            return cls("the state dict", source)
        try:
            return cls(source.name, load_file(source), changed(source))
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

    def check(
        self,
        wanted: Mapping[str, tuple[int, ...]],
        ignored: tuple[str, ...] = (),
        orders: Mapping[str, Sequence[Order]] | None = None,
    ) -> None:
        """ValueError names the first weight, in the network's order, that is missing, misshapen or not expected; then
        the first that is not what was converted, or that lies in another order than its singular vectors say.

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
        self._check_orders([key for key in wanted if key in self.changed], orders or {})

    def _check_orders(self, strange: Sequence[str], orders: Mapping[str, Sequence[Order]]) -> None:
        for key in strange:
            moved = (order.fault for order in orders.get(key, ()) if self._was(key, order))
            raise ValueError(f"{self.name}: weight {key!r} {next(moved, 'is not what was converted')}.")
        for key, order in ((key, order) for key, several in orders.items() for order in several):
            if self._fits(key, order.put_right) > FITS and self._fits(key) < MISFITS:
                raise ValueError(f"{self.name}: weight {key!r} {order.fault}: so say its singular vectors.")

    def _was(self, key: str, order: Order) -> bool:
        """Is it what was converted, once it is put in order?"""
        weight = order.put_right(self.weights[key]).contiguous()
        return digest(weight.shape, weight.view(-1).view(torch.uint8).numpy().data) == self.changed[key]

    def _fits(self, key: str, put_right: Callable[[Tensor], Tensor] | None = None) -> float:
        """How well a weight sends its own right singular vector to its left one, as a cosine; 0 where there is none."""
        stem = key.removesuffix("_orig")
        if stem == key or f"{stem}_u" not in self.weights or self.weights[key].is_meta:
            return 0.0
        weight = put_right(self.weights[key]) if put_right else self.weights[key]
        sent = weight.flatten(1) @ self.weights[f"{stem}_v"]
        return float(functional.cosine_similarity(sent, self.weights[f"{stem}_u"], 0).abs())


def channels_last(weight: Tensor) -> Tensor:
    """Rows of a first layer from NCHW order to NHWC."""
    return weight.reshape(-1, CELLS, *weight.shape[1:]).movedim(0, 1).flatten(0, 1)


def channels_first(weight: Tensor) -> Tensor:
    """And from NHWC order to NCHW."""
    return weight.reshape(CELLS, -1, *weight.shape[1:]).movedim(0, 1).flatten(0, 1)


NHWC = Order("in NHWC order", "in NCHW order", channels_last)
NCHW = Order("in NCHW order", "in NHWC order", channels_first)


def inputs(first: str, last: str, size: int) -> Order:
    """A layer's inputs are `first`, then `size` of `last`; otherwise they are the other way round."""
    return Order(f"for [{first}, {last}]", f"for [{last}, {first}]", lambda weight: weight.roll(-size, 1))


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
