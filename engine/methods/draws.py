"""Where a job's candidates come from: embeddings that the bank holds, at once; then launches of what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.latents import LatentSpace
from engine.ops import TEXT_RUNG, Ask, EncodeImages, rung_for


@dataclass(frozen=True, slots=True, eq=False)
class Some:
    """Some of a job's candidates, by number; their embeddings (n, d) float16 where those are known already."""

    numbers: Sequence[int]
    known: tuple[NDArray[np.int64], NDArray[np.float16]] | None = None  # classes (n,) and embeddings


def plan(space: LatentSpace, seed: int, allowed: Sequence[int], count: int, first: int = 0) -> list[Some]:
    """Candidates first..first+count-1: what is known first, then rungs of what is not. With an empty bank, all live."""
    rung = rung_of(space, count)
    missing = np.arange(first, first + count)
    found: list[Some] = []
    if space.bank_size and space.bank is not None:
        entries = space.entries(seed, allowed, missing.tolist())
        here = entries < space.bank.built
        if here.any():
            known = np.array([space.class_of(int(e)) for e in entries[here]]), space.bank.rows(entries[here])
            found.append(Some(missing[here].tolist(), known))
        missing = missing[~here]
    return found + [Some(missing[at : at + rung].tolist()) for at in range(0, len(missing), rung)]


def embedded(
    space: LatentSpace, seed: int, allowed: Sequence[int], some: Some, rung: int
) -> Ask[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Classes (n,) and embeddings (n, d) of some candidates."""
    if some.known is not None:
        return some.known
    latents = space.draw(seed, allowed, some.numbers)
    embeddings: NDArray[np.float16] = yield EncodeImages(space.pack, latents, rung)
    return latents.classes, embeddings


def rung_of(space: LatentSpace, count: int) -> int:
    """Beside a bank never below the rung from which a row has the bits that it has in the bank's launches, too."""
    return max(rung_for(count), TEXT_RUNG) if space.bank_size else rung_for(count)
