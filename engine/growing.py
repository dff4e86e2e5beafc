"""Growing banks: whoever has time computes the next launch of the first bank that is not large enough.

Knows draws, launches and banks; knows no jobs and no turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bank import BLOCK
from engine.latents import Latents, LatentSpace
from engine.launches import Launch
from engine.ops import RUNGS, EncodeImages

ROWS = RUNGS[-1]


class Growth:
    """The packs' banks on their way to `size` entries. A block is computed launch by launch and written when whole."""

    def __init__(
        self,
        packs: Callable[[], Sequence[str]],
        space: Callable[[str], LatentSpace],
        run: Callable[[Launch], list[Any]],
        size: int,
    ) -> None:
        self._packs, self._space, self._run, self._size = packs, space, run, size
        self._rows: list[NDArray[np.float16]] = []

    def step(self) -> bool:
        """One launch; False when there is nothing left to grow."""
        for space in map(self._space, self._packs()):
            if space.bank is not None and space.bank.built < self._size:
                self._extend(space)
                return True
        return False

    def _extend(self, space: LatentSpace) -> None:
        bank = space.bank
        assert bank is not None
        first = bank.built + ROWS * len(self._rows)
        latents = Latents.stacked([space.entry(number) for number in range(first, first + ROWS)])
        self._rows += self._run(Launch((EncodeImages(space.pack, latents, ROWS),)))
        if ROWS * len(self._rows) == BLOCK:
            rows, self._rows = np.concatenate(self._rows), []
            bank.append(first + ROWS - BLOCK, rows)
