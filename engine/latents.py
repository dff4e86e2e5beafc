"""Latents: what a generator turns into pixels, one row per candidate, and the space they are drawn from.

Numpy only: a method draws and mixes latents without knowing a device.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.bank import Bank
from engine.errors import BadWeights
from engine.rng import Rng, rng_for
from storage.job import Candidate

NAMED = 0.3  # how much nearer a label is whose word stands in the prompt
ALIAS = {"grey": "gray"}  # of a colour


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
        return self.rows(index, index + 1)

    def rows(self, first: int, end: int) -> Latents:
        """Those from `first` up to `end`."""
        row = slice(first, end)
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

    `bank_size` says where candidates come from. 0: a draw of each seed's own, as published. Otherwise from the pack's
    numbered draws, which are the same for everybody: in an order of the seed's own out of the first `bank_size`, and
    from further ones where that is too few. `bank` holds the embeddings of as many as were computed so far; what it
    lacks is computed when it is needed, so it decides how soon a result is there, and never which.
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
    bank_size: int = 0
    bank: Bank | None = None
    clamp: float | None = None  # instead of the truncation: z is cut to it, not drawn again
    look_colours: tuple[str, ...] = ()  # (classes,) the colour that leads in a class's pictures, or ""; or not known

    def at(self, bank_size: int) -> LatentSpace:
        """This space with candidates from a bank of that size, or none for 0."""
        return replace(self, bank_size=bank_size)

    @property
    def bound(self) -> float | None:
        """How far a coordinate of z may lie from 0 where a method moves it; None: anywhere."""
        return None if self.truncation is None else self.truncation * self.z_scale

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

    def tinted(self, said: str) -> NDArray[np.bool_]:
        """Which classes (classes,) have the look of a colour that the prompt names; not where it is a thing's own name.

        A red panda is no panda in red, and "an orange" no colour.
        """
        named = {ALIAS.get(word, word) for word in _plain(said).split()}
        for word in self.words:
            named -= set(_plain(word).split()) if _plain(word) in _plain(said) else set()
        if not self.look_colours:
            return np.zeros(len(self.class_embeddings), bool)
        return np.array([colour in named for colour in self.look_colours])

    def _named(self, prompt: str) -> NDArray[np.bool_]:
        """Which words (words,) stand in a prompt."""
        said = _plain(prompt)
        return np.array([_plain(word) in said or f"{_plain(word)[:-1]}s " in said for word in self.words])

    def draw(self, seed: int, allowed: Sequence[int], numbers: Iterable[int]) -> Latents:
        """Candidates by number: z ~ N(0, I), or its truncation by resampling; the label uniform over `allowed`.

        Candidate 41 is the same among 42 as among 10,000.
        """
        return Latents.stacked([self._draw_one(seed, allowed, number) for number in numbers])

    def redraw(self, seed: int, candidate: Candidate) -> Latents:
        """A stored candidate again, from its number and label: the same latents that `draw` gave."""
        if candidate.label not in self.labels:
            raise BadWeights(f"{self.pack} has no label {candidate.label!r} any more; it cannot be drawn again.")
        return self._draw_one(seed, [self.labels.index(candidate.label)], candidate.number)

    def entries(self, seed: int, allowed: Sequence[int], numbers: Iterable[int]) -> NDArray[np.int64]:
        """Which of the pack's numbered draws the candidates are (bank_size > 0), without drawing them."""
        chosen = [self._entry(seed, _label(rng_for(seed, "class", n), allowed), n) for n in numbers]
        return np.array(chosen, dtype=np.int64)

    def entry(self, number: int) -> Latents:
        """The pack's draw of that number, the same for every job. Classes take turns, so that each has as many."""
        normals = rng_for(self.bank_seed, "bank", number)
        return self._latents(normals, number % len(self.class_embeddings))

    def class_of(self, entry: int) -> int:
        """The generator class of a numbered draw."""
        return entry % len(self.class_embeddings)

    @property
    def bank_seed(self) -> int:
        """The pack's own seed, from its digest."""
        return int(self.digests["pack_digest"][:8], 16)

    def _draw_one(self, seed: int, allowed: Sequence[int], number: int) -> Latents:
        which = rng_for(seed, "class", number)
        label = _label(which, allowed)
        if self.bank_size:
            return self.entry(self._entry(seed, label, number))
        return self._latents(rng_for(seed, "z", number), label * self.variants + which.below(self.variants))

    def _latents(self, normals: Rng, index: int) -> Latents:
        z = normals.normals(self.dim_z)
        if self.clamp is not None:
            z = z.clip(-self.clamp, self.clamp)
        elif self.truncation is not None:
            while (outside := np.abs(z) > self.truncation).any():
                z[outside] = normals.normals(int(outside.sum()))
        return Latents((z * self.z_scale).astype(np.float32)[None], np.array([index], dtype=np.int64))

    def _entry(self, seed: int, label: int, number: int) -> int:
        """The numbered draw that candidate `number` is, if it has this label.

        Of the label's draws within the bank, ranked by number, the seed's own order is walked half way; candidates
        after that walk half of as many further ranks, then half of twice as many, and so on without end. So no draw
        comes twice, two seeds see different halves, and more candidates never change an earlier one.
        """
        classes = len(self.class_embeddings)
        zone, low, ranks = 0, 0, max(2, self.bank_size // classes * self.variants)
        first = 0  # candidate of the zone
        while number - first >= ranks // 2:
            first += ranks // 2
            low, ranks = low + ranks, ranks if zone == 0 else 2 * ranks
            zone += 1
        rank = low + int(_order(seed, label, zone, ranks)[number - first])
        return rank // self.variants * classes + label * self.variants + rank % self.variants


def _label(which: Rng, allowed: Sequence[int]) -> int:
    return allowed[which.below(len(allowed))]


@lru_cache(maxsize=64)
def _order(seed: int, label: int, zone: int, ranks: int) -> NDArray[np.int64]:
    """A seed's own order of a label's ranks in a zone."""
    order: NDArray[np.int64] = np.argsort(rng_for(seed, f"order {label}", zone).uniforms(ranks), kind="stable")
    return order


def _plain(text: str) -> str:
    """Lower-case words between single spaces."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} "
