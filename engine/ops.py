"""Ops: what a method may ask of the device. It yields an op and gets a reply; the batcher fuses ops of many jobs.

Every op has rows, and a rung: the number of rows that CUDA computes it at. The rung follows from the job's own
parameters, never from the load, so that a picture's bits do not depend on who else is dreaming. (A CPU computes
everything in groups of one size.)
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents
from storage.job import Candidate

T = TypeVar("T")
Floats: TypeAlias = NDArray[np.float32]
Pixels: TypeAlias = NDArray[np.uint8]  # (n, height, width, 3), RGB

RUNGS = (4, 8, 16, 32)
TEXT_RUNG = 16  # fp32 linear layers give other bits below 16 rows (seen on x86)
TOKEN_RUNG = 16  # one rung for all: a token that rounding flips changes all after it
RENDER_RUNG = 1  # a kept picture is rendered as if alone: the same bits in every job, at every load
CLIMB_ROOM = 64  # views of one backward


def rung_for(rows: int) -> int:
    """The smallest rung that holds `rows`, or the largest there is."""
    return next((rung for rung in RUNGS if rung >= rows), RUNGS[-1])


class Tower(StrEnum):
    """Which CLIP of the pack."""

    SCORER = "scorer"  # ranks and is optimised
    JUDGE = "judge"  # is never optimised against


class Preprocess(StrEnum):
    """How a picture comes to CLIP. Scores of different ones do not compare."""

    OURS = "ours"  # as CLIP was trained: (I + 1) / 2, bilinear, antialiased when shrinking, CLIP's mean and std
    FUSEDREAM = "fusedream"  # the same without antialias; its views are of the published form
    CSC2516 = "csc2516"  # [-1, 1] as it is, without mean and std; bilinear without antialias
    CLIPGEN = "clipgen"  # the same, and what the decoder draws beyond [-1, 1] is not cut off


@dataclass(frozen=True, eq=False, slots=True)
class EncodeText:
    """Text embeddings (rows, d) float32, L2-normalised, and where each text was cut (reply: `Texts`)."""

    pack: str
    texts: tuple[str, ...]
    tower: Tower = Tower.SCORER

    @property
    def rows(self) -> int:
        return len(self.texts)

    @property
    def rung(self) -> int:
        return TEXT_RUNG

    @property
    def key(self) -> Hashable:
        return EncodeText, self.pack, self.rung, self.tower


@dataclass(frozen=True, eq=False, slots=True)
class Texts:
    """Reply to EncodeText. `cut[i]` is what of text i still fits the tower, or None where all of it does."""

    embeddings: Floats
    cut: tuple[str | None, ...]


@dataclass(frozen=True, eq=False, slots=True)
class EncodeImages:
    """Image embeddings (rows, d) float16, L2-normalised, of the pictures of `latents` (reply: the array)."""

    pack: str
    latents: Latents
    rung: int
    tower: Tower = Tower.SCORER
    preprocess: Preprocess = Preprocess.OURS

    @property
    def rows(self) -> int:
        return len(self.latents)

    @property
    def key(self) -> Hashable:
        return EncodeImages, self.pack, self.rung, self.tower, self.latents.drawn_by, self.preprocess


@dataclass(frozen=True, eq=False, slots=True)
class EncodePicture:
    """Image embedding (d,) float32, L2-normalised, of a picture (h, w, 3) uint8 that nobody drew here (reply: it).

    Its middle square is looked at. Always in a launch of its own.
    """

    pack: str
    pixels: Pixels
    tower: Tower = Tower.SCORER

    @property
    def rows(self) -> int:
        return 1

    @property
    def rung(self) -> int:
        return 1

    @property
    def key(self) -> Hashable:
        return EncodePicture, self.pack, self.tower


@dataclass(frozen=True, eq=False, slots=True)
class EncodeViews:
    """Image embeddings (views, d) float16 of augmented views first..first+rows-1 of ONE picture (reply: the array)."""

    pack: str
    latents: Latents
    seed: int
    first: int
    rows: int
    rung: int
    tower: Tower = Tower.SCORER
    preprocess: Preprocess = Preprocess.OURS

    @property
    def key(self) -> Hashable:
        return EncodeViews, self.pack, self.rung, self.tower, self.latents.drawn_by, self.preprocess


@dataclass(frozen=True, eq=False, slots=True)
class Render:
    """Pixels (rows, height, width, 3) uint8 (reply: the array). One row: see RENDER_RUNG."""

    pack: str
    latents: Latents

    @property
    def rows(self) -> int:
        return len(self.latents)

    @property
    def rung(self) -> int:
        return RENDER_RUNG

    @property
    def key(self) -> Hashable:
        return Render, self.pack, self.rung, self.latents.drawn_by


@dataclass(frozen=True, eq=False, slots=True)
class Climb:
    """AugCLIP of ONE picture over views first..first+rows-1, and its gradient (reply: `Slope`). `text` is (d,).

    Many jobs' pictures are one batch of the generator, all their views one batch of the CLIP, however many each has.
    `plain`: the picture as it is, without views (rows is 1): CLIP's own score, which is easily fooled.
    """

    pack: str
    latents: Latents
    text: Floats
    seed: int
    first: int
    rows: int
    preprocess: Preprocess = Preprocess.OURS
    plain: bool = False

    @property
    def rung(self) -> int:
        return max(self.rows, CLIMB_ROOM)

    @property
    def key(self) -> Hashable:
        return Climb, self.pack, self.preprocess, self.plain


@dataclass(frozen=True, eq=False, slots=True)
class Slope:
    """Reply to Climb and Near: the score (of Climb the mean cosine), and its gradient in z (dim_z,) and y (dim_y,)."""

    score: float
    z: Floats
    y: Floats


@dataclass(frozen=True, eq=False, slots=True)
class Near:
    """How near ONE row's picture is to a picture (h, w, 3) that was handed in, and its gradient (reply: `Slope`).

    `score` is the cosine to `embedding` (d,), that picture's own, less the distance over a pyramid of scales between
    the drawn picture and its middle square (engine.pasting). Always in a launch of its own.
    """

    pack: str
    latents: Latents
    pixels: Pixels
    embedding: Floats

    @property
    def rows(self) -> int:
        return 1

    @property
    def rung(self) -> int:
        return 1

    @property
    def key(self) -> Hashable:
        return Near, self.pack


@dataclass(frozen=True, eq=False, slots=True)
class DrawTokens:
    """The next tokens of TOKEN_RUNG candidates of ONE text (d,), one for each of `uniforms` (TOKEN_RUNG, steps).

    Reply: `Drawn`, which the next op of the same candidates hands back. Its rows fill its rung, and candidate n is
    always row n % TOKEN_RUNG: the same tokens whatever the number of candidates and in any company. `plain`: without
    the pack's guidance, and all that tie with the k-th token stay, as CLIP-GEN's program has it.
    """

    pack: str
    text: Floats
    uniforms: NDArray[np.float64]
    so_far: Drawn | None = None
    plain: bool = False

    @property
    def rows(self) -> int:
        return TOKEN_RUNG

    @property
    def rung(self) -> int:
        return TOKEN_RUNG

    @property
    def key(self) -> Hashable:
        return DrawTokens, self.pack


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """Reply to DrawTokens: tokens (TOKEN_RUNG, so many so far) int64, and what the device keeps of them."""

    tokens: NDArray[np.int64]
    kept: Any = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class EncodePictureViews:
    """Image embeddings (rows, d) float16 of the first `rows` augmented views of ONE picture (h, h, 3) uint8."""

    pack: str
    pixels: Pixels
    seed: int
    rows: int

    @property
    def rung(self) -> int:
        return self.rows

    @property
    def key(self) -> Hashable:
        return EncodePictureViews, self.pack, self.rung


@dataclass(frozen=True, eq=False, slots=True)
class Paste:
    """Pixels (height, width, 3) uint8 of the first row's picture in a box (4,) of the second's (reply: the array)."""

    pack: str
    latents: Latents
    box: Floats

    @property
    def rows(self) -> int:
        return 1

    @property
    def rung(self) -> int:
        return 1

    @property
    def key(self) -> Hashable:
        return Paste, self.pack


@dataclass(frozen=True, eq=False, slots=True)
class Blend:
    """AugCLIP and coherence of ONE paste, with their gradients (reply: `Blended`). Three rows of latents: foreground,
    background, and the whole picture that the paste is to resemble. Always in a launch of its own.
    """

    pack: str
    latents: Latents
    box: Floats  # (4,): centre x, centre y, width, height
    text: Floats  # (d,)
    seed: int
    first: int
    rows: int

    @property
    def rung(self) -> int:
        return self.rows

    @property
    def key(self) -> Hashable:
        return Blend, self.pack, self.rung


@dataclass(frozen=True, eq=False, slots=True)
class Slopes:
    """Gradient in the latents of a paste and in its box: (3, dim_z), (3, dim_y), (4,)."""

    z: Floats
    y: Floats
    box: Floats


@dataclass(frozen=True, eq=False, slots=True)
class Blended:
    """Reply to Blend: the mean cosine, how far apart paste and whole are (seam included), and both gradients."""

    score: float
    score_slopes: Slopes
    apart: float
    apart_slopes: Slopes


Encode: TypeAlias = EncodeText | EncodeImages | EncodePicture | EncodePictureViews | EncodeViews
Op: TypeAlias = Encode | Render | Paste | Climb | Near | Blend | DrawTokens


@dataclass(frozen=True, eq=False, slots=True)
class Progress:
    """A method's word on how far it is; not a request. `preview` (height, width, 3) shows `best`, the best so far."""

    done: int
    total: int
    preview: Pixels | None = None
    best: Candidate | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Saved(Progress):
    """The same, with all that the method needs to go on from here: `Past.state` of a later run."""

    state: bytes = b""


Ask: TypeAlias = Generator[Op | Progress, Any, T]  # a coroutine of ops that returns T
