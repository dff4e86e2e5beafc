"""Dynamic barrier gradient descent (Gong, Liu, Liu: NeurIPS 2021, OpenReview 817F5yuNAf1): minimise f where g is least.

Knows two gradients; nothing of what they are of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETA = 0.5  # of |grad g|^2: how fast g has to fall
TINY = 1e-20


def direction(f: NDArray[np.float64], g: NDArray[np.float64], beta: float = BETA) -> tuple[NDArray[np.float64], float]:
    """(what to step against, lambda) from the gradients of f and g, (n,) both; the lexicographic form.

    The result v is the nearest to grad f with <grad g, v> >= phi = beta |grad g|^2, so that g falls at every small
    step, and f as far as that allows: v = grad f + lambda grad g with
    lambda = max(0, (phi - <grad f, grad g>) / |grad g|^2).
    """
    steepness = float((g * g).sum())
    if steepness < TINY:
        return f, 0.0
    weight = max(0.0, beta - float((f * g).sum()) / steepness)
    return f + weight * g, weight
