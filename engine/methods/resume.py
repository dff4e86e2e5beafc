"""A climb's state as bytes, so that a killed engine's dream goes on where it was, to the same bits.

Everything before the climb follows from the recipe and is done again. Knows arrays; nothing of stores and intervals.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents
from engine.methods.mixture import NAMES, Adam, Mixture


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a climb is: the next step, the best score on the fixed views, the step that reached it, and its latents."""

    step: int
    best: float
    since: int
    top: Latents


def to_bytes(standing: Standing, mixture: Mixture, adam: Adam) -> bytes:
    """Some kilobytes: exact, in float64 where the climb is."""
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(mixture, name) for name in NAMES}
    for name, (first, second) in adam.moments.items():
        arrays |= {f"first_{name}": first, f"second_{name}": second}
    top = standing.top
    arrays["top_z"], arrays["top_classes"] = top.z, top.classes
    if top.y is not None:
        arrays["top_y"] = top.y
    arrays["counts"] = np.array([standing.step, standing.since, adam.steps], dtype=np.int64)
    arrays["best"] = np.array(standing.best, dtype=np.float64)
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def from_bytes(state: bytes, mixture: Mixture, adam: Adam) -> Standing:
    """Set mixture and moments to what they were; where the climb was."""
    with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
        for name in NAMES:
            setattr(mixture, name, arrays[name])
        adam.moments = {n: (arrays[f"first_{n}"], arrays[f"second_{n}"]) for n in NAMES if f"first_{n}" in arrays}
        step, since, adam.steps = (int(count) for count in arrays["counts"])
        y = arrays.get("top_y")
        top = Latents(arrays["top_z"], arrays["top_classes"], y)
        return Standing(step=step, best=float(arrays["best"]), since=since, top=top)
