"""Over-parameterised latents (FuseDream, arXiv 2112.01573, section 4): k bases mixed by a softmax for each coordinate.

Knows the mixture, its gradient in closed form and Adam; knows nothing of pictures or scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace

Gradient = Mapping[str, NDArray[np.float64]]
NAMES = ("z", "y", "z_logits", "y_logits")


@dataclass(slots=True)
class Mixture:
    """k latents, mixed by a softmax over the k for every coordinate apart, as in the paper's code. Float64 inside."""

    z: NDArray[np.float64]  # (k, dim_z)
    y: NDArray[np.float64]  # (k, dim_y)
    z_logits: NDArray[np.float64]
    y_logits: NDArray[np.float64]
    classes: NDArray[np.int64]  # of the best basis: (1,)
    bound: float | None

    @classmethod
    def of(cls, bases: Latents, space: LatentSpace, head_start: float) -> Mixture:
        """A mixture that starts close to the first basis: its logit is `head_start`, the others have 0."""
        z, y = _codes(bases, space)
        z_logits, y_logits = np.zeros_like(z), np.zeros_like(y)
        z_logits[0] = y_logits[0] = head_start
        return cls(z, y, z_logits, y_logits, bases.classes[:1], space.bound)

    @classmethod
    def at(cls, bases: Latents, space: LatentSpace, logits: NDArray[np.float64], bound: float | None) -> Mixture:
        """A mixture with these logits (k, dim_z + dim_y)."""
        z, y = _codes(bases, space)
        return cls(z, y, logits[:, : z.shape[1]].copy(), logits[:, z.shape[1] :].copy(), bases.classes[:1], bound)

    @property
    def size(self) -> int:
        """How many coordinates the mixed latents have."""
        return int(self.z.shape[1]) + int(self.y.shape[1])

    def latents(self, noise: NDArray[np.float64] | float = 0.0) -> Latents:
        """The mixed latents (1, ...), with `noise` (size,) added."""
        mixed = np.concatenate([_mix(self.z, self.z_logits), _mix(self.y, self.y_logits)]) + noise
        row = mixed.astype(np.float32)[None]
        return Latents(row[:, : self.z.shape[1]], self.classes, row[:, self.z.shape[1] :])

    def gradient(self, z: NDArray[np.floating], y: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
        """The chain rule in closed form, from the gradient in the mixed z (dim_z,) and y (dim_y,)."""
        found = {}
        for name, values, logits, outer in (("z", self.z, self.z_logits, z), ("y", self.y, self.y_logits, y)):
            share = _softmax(logits)
            found[name] = share * outer
            found[f"{name}_logits"] = share * (values - _mix(values, logits)) * outer
        return found


@dataclass(slots=True)
class Adam:
    """Adam (arXiv 1412.6980, algorithm 1) on a mixture's four arrays, upwards. z stays within its bound."""

    rate: float = 0.02  # of z and y
    logit_rate: float = 0.05
    moments: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    steps: int = 0

    def ascend(self, mixture: Mixture, gradient: Gradient, share: float) -> None:
        """One step, at this share of the rates."""
        self.steps += 1
        for name, g in gradient.items():
            rate = share * (self.logit_rate if name.endswith("logits") else self.rate)
            setattr(mixture, name, getattr(mixture, name) + rate * self.move(name, g))
        if mixture.bound is not None:
            mixture.z = mixture.z.clip(-mixture.bound, mixture.bound)

    def move(self, name: str, g: NDArray[np.float64]) -> NDArray[np.float64]:
        """The step's direction for one array, about 1 in size; `steps` counts from 1."""
        m, v = self.moments.get(name, (np.zeros_like(g), np.zeros_like(g)))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        self.moments[name] = m, v
        moved: NDArray[np.float64] = (m / (1 - 0.9**self.steps)) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)
        return moved


def _codes(bases: Latents, space: LatentSpace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return bases.z.astype(np.float64), space.class_embeddings[bases.classes].astype(np.float64)


def _mix(values: NDArray[np.float64], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    mixed: NDArray[np.float64] = (_softmax(logits) * values).sum(axis=0)
    return mixed


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=0))
    shares: NDArray[np.float64] = raised / raised.sum(axis=0)
    return shares
