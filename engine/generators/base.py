"""The border of every generator: frozen, differentiable in (z, y), one row's picture independent of the other rows."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Generator(Protocol):
    """A network from latents to pixels: `embed` a class, then draw `G(z, y)`."""

    dim_z: int
    dim_y: int
    resolution: int

    def embed(self, classes: Tensor) -> Tensor:
        """Class embeddings (n, dim_y) of class indices (n,)."""
        ...

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        """Pictures (n, 3, resolution, resolution) in [-1, 1] from z (n, dim_z) and y (n, dim_y)."""
        ...
