"""Latents: what a generator turns into pixels, one row per candidate, and the space they are drawn from.

Numpy only: a method draws and mixes latents without knowing a device.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadWeights
from engine.rng import rng_for
from storage.job import Candidate

NAMED = 0.3  # how much nearer a label is whose word stands in the prompt


@dataclass(frozen=True, eq=False, slots=True)
class Latents:
    """n candidates: z (n, dim_z) float32 and the generator's class index (n,) int64.

    `y` (n, dim_y) float32 stands in place of the classes' embeddings where a method has moved away from them.
    """

    z: NDArray[np.float32]
    classes: NDArray[np.int64]
    y: NDArray[np.float32] | None = None
    tokens: NDArray[np.int64] | None = None  # (n, length) in place of all that: pictures of `clipgen`'s VQGAN

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def drawn_by(self) -> str:
        """Which network makes them pictures; latents of two networks are never computed together."""
        return "generator" if self.tokens is None else "vqgan"

    def row(self, index: int) -> Latents:
        """One of them alone."""
        row = slice(index, index + 1)
        y = None if self.y is None else self.y[row]
        tokens = None if self.tokens is None else self.tokens[row]
        return replace(self, z=self.z[row], classes=self.classes[row], y=y, tokens=tokens)

    @staticmethod
    def of_tokens(tokens: NDArray[np.int64]) -> Latents:
        """Pictures that are tokens (n, length), with neither z nor class."""
        return Latents(np.zeros((len(tokens), 0), np.float32), np.zeros(len(tokens), np.int64), tokens=tokens)

    @staticmethod
    def stacked(parts: Sequence[Latents]) -> Latents:
        """Several as one, in order; all with a `y` of their own, or none."""
        own = [p.y for p in parts if p.y is not None]
        z, classes = np.concatenate([p.z for p in parts]), np.concatenate([p.classes for p in parts])
        drawn = [p.tokens for p in parts if p.tokens is not None]
        return Latents(z, classes, np.concatenate(own) if own else None, np.concatenate(drawn) if drawn else None)


@dataclass(frozen=True, slots=True)
class TokenSpace:
    """What a method may know of a pack's VQGAN and GPT: tokens a picture, and what decides the pictures."""

    length: int
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class LatentSpace:
    """What a method may know of a pack: sizes, words, and how to draw.

    A label has `variants` classes in the generator: class index = label * variants + variant. `words` are every name
    and synonym, `word_embeddings` (words, d) float32 the scorer's, L2-normalised, `word_labels[i]` the label that
    word i means; `outside_below` is the best label similarity under which a prompt lies outside this pack's world
    (None: not calibrated).
    """

    pack: str
    digests: dict[str, str]
    labels: tuple[str, ...]
    dim_z: int
    class_embeddings: NDArray[np.float32]  # (classes, dim_y): the generator's own
    words: tuple[str, ...]
    word_embeddings: NDArray[np.float32]
    word_labels: NDArray[np.int64]
    variants: int = 1
    truncation: float | None = None
    outside_below: float | None = None
    z_scale: float = 1.0  # of z, after the truncation
    tokens: TokenSpace | None = None  # where the pack can do `clipgen`

    def label_of(self, index: int) -> str:
        """The name of a generator class."""
        return self.labels[index // self.variants]

    def similarities(self, said: str, text: NDArray[np.float32], unsaid: str = "") -> NDArray[np.float64]:
        """Similarity (labels,) of a prompt, its embedding (d,) given, to every label: the cosine to the nearest word.

        A word that stands in the prompt counts NAMED more: a small CLIP may take "an orange cut in half" for a colour.
        One that stands among what is not wanted counts NAMED less.
        """
        cosines = (self.word_embeddings.astype(np.float64) * text.astype(np.float64)).sum(axis=1)
        lift = NAMED * (self._named(said).astype(np.float64) - self._named(unsaid))
        best = np.full(len(self.labels), -1.0)
        np.maximum.at(best, self.word_labels, cosines + lift)
        return best

    def _named(self, prompt: str) -> NDArray[np.bool_]:
        """Which words (words,) stand in a prompt."""
        said = _plain(prompt)
        return np.array([_plain(word) in said or f"{_plain(word)[:-1]}s " in said for word in self.words])

    def draw(self, seed: int, allowed: Sequence[int], numbers: Sequence[int]) -> Latents:
        """Candidates by number: z ~ N(0, I), or its truncation by resampling; the label uniform over `allowed`.

        Candidate 41 is the same among 42 as among 10,000.
        """
        return Latents.stacked([self._draw_one(seed, allowed, number) for number in numbers])

    def redraw(self, seed: int, candidate: Candidate) -> Latents:
        """A stored candidate again, from its number and label: the same latents that `draw` gave."""
        if candidate.label not in self.labels:
            raise BadWeights(f"{self.pack} has no label {candidate.label!r} any more; it cannot be drawn again.")
        return self._draw_one(seed, [self.labels.index(candidate.label)], candidate.number)

    def _draw_one(self, seed: int, allowed: Sequence[int], number: int) -> Latents:
        which = rng_for(seed, "class", number)
        label, variant = allowed[which.below(len(allowed))], which.below(self.variants)
        normals = rng_for(seed, "z", number)
        z = normals.normals(self.dim_z)
        if self.truncation is not None:
            while (outside := np.abs(z) > self.truncation).any():
                z[outside] = normals.normals(int(outside.sum()))
        classes = np.array([label * self.variants + variant], dtype=np.int64)
        return Latents((z * self.z_scale).astype(np.float32)[None], classes)


def _plain(text: str) -> str:
    """Lower-case words between single spaces."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} "
