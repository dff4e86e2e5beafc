"""The latent bank: image embeddings of a pack's numbered draws, computed once and kept.

FuseDream's first stage (arXiv 2112.01573, section 3.2) draws pictures without looking at the prompt, so that can be
done before anybody asks. One memory-mapped file of whole blocks, each with its checksum. Knows rows and files; what
draw i is stands in `latents`, who computes its embedding in `growing`.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.settings import DEFAULT_SIZE

BLOCK = 256  # entries; a kill -9 loses at most this many
BLUR = 0.0025  # twice the largest error of a cosine of unit vectors that is computed and rounded in fp16


class Bank:
    """The embeddings (built, width) float16 of draws 0..built-1. Other processes may append; `refresh` sees it.

    A block in the file is BLOCK rows and a row that seals it: checksum and block number, then zeros. So the whole file
    is one matrix, which a product with a text passes over once.
    """

    def __init__(self, path: Path, width: int) -> None:
        self.path, self.width = path, width
        self._bytes = 2 * (BLOCK + 1) * width  # of a block
        self._blocks: NDArray[np.float16] = np.zeros((0, BLOCK + 1, width), np.float16)
        self.refresh()

    @property
    def built(self) -> int:
        """How many draws are kept: whole blocks only."""
        return len(self._blocks) * BLOCK

    @property
    def size(self) -> int:
        """What a job that starts now counts on: DEFAULT_SIZE, doubled as often as that many are kept.

        So the same seed keeps its picture while a bank grows, until it has grown twice as large.
        """
        size = DEFAULT_SIZE
        while 2 * size <= self.built:
            size *= 2
        return size

    def refresh(self) -> None:
        """Map what the file holds now. A tail that a crash tore is not seen."""
        whole = self.path.stat().st_size // self._bytes if self.path.is_file() else 0
        if whole == 0:
            self._blocks = self._blocks[:0]
            return
        # copy-on-write, which nobody uses: torch does not look at pages that it may not write
        blocks = np.memmap(self.path, np.float16, "c", shape=(whole, BLOCK + 1, self.width))
        while whole and not _sound(blocks[whole - 1], whole - 1):
            whole -= 1
        self._blocks = blocks[:whole]

    def rows(self, entries: NDArray[np.int64]) -> NDArray[np.float16]:
        """The embeddings (n, width) of built entries."""
        found: NDArray[np.float16] = self._blocks[entries // BLOCK, entries % BLOCK]
        return found

    def append(self, first: int, rows: NDArray[np.float16]) -> bool:
        """Write draws first..first+BLOCK-1 durably; False where somebody else has written them meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.refresh()
            if self.built != first:
                return False
            file.truncate(len(self._blocks) * self._bytes)
            file.write(_sealed(rows, first // BLOCK))
            file.flush()
            os.fsync(file.fileno())
            self.refresh()
        return True

    def best(self, text: NDArray[np.float32], count: int, size: int | None = None) -> NDArray[np.int64]:
        """The `count` entries nearest to the unit vector `text` (width,) among the first `size`, best first; exact.

        One fp16 matrix product finds those that may be among them; their order is that of float64 cosines.
        """
        blocks = self._blocks if size is None else self._blocks[: size // BLOCK]
        if not len(blocks):
            return np.zeros(0, np.int64)
        roughly = _products(blocks, text)
        bar = np.partition(roughly, -min(count, len(roughly)))[-min(count, len(roughly))]
        near: NDArray[np.int64] = np.flatnonzero(roughly >= bar - BLUR)
        exact = (self.rows(near).astype(np.float64) * text.astype(np.float64)).sum(axis=1)
        return near[np.argsort(-exact, kind="stable")[:count]]


def _products(blocks: NDArray[np.float16], text: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of every entry, good to fp16."""
    every = torch.from_numpy(blocks).flatten(0, 1)
    products = torch.mv(every, torch.from_numpy(text.astype(np.float16))).view(len(blocks), -1)
    found: NDArray[np.float32] = products[:, :BLOCK].flatten().float().numpy()
    return found


def _sealed(rows: NDArray[np.float16], number: int) -> bytes:
    data = np.ascontiguousarray(rows, "<f2").tobytes()
    seal = np.array([zlib.crc32(data), number], "<u4").tobytes()
    return data + seal.ljust(len(data) // BLOCK, b"\0")


def _sound(block: NDArray[np.float16], number: int) -> bool:
    return _sealed(block[:BLOCK], number) == block.tobytes()
