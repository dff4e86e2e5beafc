"""Every draw has a name: (seed, purpose, index) decides it, whoever draws, in whatever order and batch.

Philox words are frozen by numpy; the distributions over them are not, so those are our own. Knows nothing of tensors.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


class Rng:
    """One named stream of draws, from its beginning."""

    def __init__(self, words: np.random.Philox) -> None:
        self._words = words

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in (0, 1): the upper 53 bits of a word, centred in their cell."""
        words: NDArray[np.uint64] = self._words.random_raw(count)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54

    def normals(self, count: int) -> NDArray[np.float64]:
        """`count` standard normals by Box-Muller in float64, two from every pair of words."""
        pairs = self.uniforms(2 * ((count + 1) // 2)).reshape(-1, 2)
        radius, angle = np.sqrt(-2.0 * np.log(pairs[:, 0])), 2.0 * np.pi * pairs[:, 1]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]

    def below(self, bound: int) -> int:
        """A whole number in 0..bound-1."""
        return min(int(self.uniforms(1)[0] * bound), bound - 1)


def rng_for(seed: int, purpose: str, index: int) -> Rng:
    """The stream of (seed, purpose, index): Philox4x64 keyed by sha256(seed, purpose), the index in its counter."""
    digest = hashlib.sha256(f"{seed}\x00{purpose}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
    counter = np.array([0, index, 0, 0], dtype=np.uint64)
    return Rng(np.random.Philox(key=key, counter=counter))
