"""What a method finds, and the words every method shares for asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace
from engine.ops import Ask, EncodeImages, EncodeViews, Floats, Pixels, Preprocess, Render, Tower
from storage.job import Candidate, Image, Job, Params, Parity
from storage.recipe import RECIPE_VERSION

VIEWS = 32  # of an AugCLIP score: one launch
CLAMP = 2.0  # FuseDream's code cuts z to it (algorithms: 2.2)
VIEW_SEED = 0  # the same views for every picture, so that scores compare


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A kept candidate: its pixels (height, width, 3), or the stored image where it was kept before."""

    candidate: int
    label: str | None
    pixels: NDArray[np.uint8] | None = None
    stored: Image | None = None
    clip_score: float | None = None
    augclip_score: float | None = None
    judge_score: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The end of a job: pictures best first, every candidate that was scored, one line for the card."""

    pictures: tuple[Picture, ...]
    candidates: tuple[Candidate, ...]
    note: str | None = None
    verdicts: tuple[Mapping[str, Any], ...] = ()  # concepts that the pictures show: concept, score, threshold, action


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a job needs of the store: the job it re-orders, with its candidates; a picture (h, w, 3) handed in.

    `picture` is part of the target, from `start` the dream begins. `theirs`: the picture that was handed in with the
    job that is re-ordered.
    """

    parent: Job | None = None
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)
    picture: Pixels | None = field(default=None, repr=False)
    start: Pixels | None = field(default=None, repr=False)
    theirs: Pixels | None = field(default=None, repr=False)
    state: bytes | None = field(default=None, repr=False)  # what an engine that died had saved of this very job


@dataclass(frozen=True, slots=True)
class Way:
    """A method: its recipe, known before it runs, and its coroutine."""

    recipe: Callable[[Job, LatentSpace, Past | None], Mapping[str, Any]]
    run: Callable[[Job, LatentSpace, Past | None], Ask[Found]]


def base_recipe(job: Job, space: LatentSpace) -> dict[str, Any]:
    """What every recipe holds."""
    return {
        "recipe_version": RECIPE_VERSION,
        "method": job.params.method.value,
        "prompt": job.params.prompt,
        "parts": [[part.text, part.weight] for part in job.params.parts],
        "image": job.params.image,
        "parity": job.params.parity,
        "pack": space.pack,
        **space.digests,
    }


def published_space(params: Params, space: LatentSpace) -> LatentSpace:
    """The space as a parity draws from it, afresh for every seed; otherwise as it is."""
    if params.parity is None:
        return space
    return replace(space, bank_size=0, clamp=CLAMP if params.parity is Parity.FUSEDREAM else None)


def against(candidate: Candidate, text: Floats) -> Candidate:
    """A candidate that was found by something else, scored against a job's whole target, as its others are."""
    embedding = np.frombuffer(candidate.embedding or b"", dtype="<f2")[None]
    return replace(candidate, clip_score=float(cosines(embedding, text)[0]))


def encode_images(
    space: LatentSpace,
    latents: Latents,
    rung: int,
    tower: Tower = Tower.SCORER,
    preprocess: Preprocess = Preprocess.OURS,
) -> Ask[NDArray[np.float16]]:
    """Image embeddings (n, d) float16 of the pictures of `latents`, n at most `rung`."""
    embeddings: NDArray[np.float16] = yield EncodeImages(space.pack, latents, rung, tower, preprocess)
    return embeddings


def encode_views(space: LatentSpace, latents: Latents) -> Ask[NDArray[np.float16]]:
    """Embeddings (VIEWS, d) float16 of the fixed views of one picture."""
    views: NDArray[np.float16] = yield EncodeViews(space.pack, latents, VIEW_SEED, 0, VIEWS, VIEWS)
    return views


def render(space: LatentSpace, latents: Latents) -> Ask[NDArray[np.uint8]]:
    """The pixels (height, width, 3) of one candidate."""
    pixels: NDArray[np.uint8] = yield Render(space.pack, latents)
    first: NDArray[np.uint8] = pixels[0]
    return first


def cosines(embeddings: NDArray[np.float16], text: Floats) -> NDArray[np.float64]:
    """CLIP scores (n,) from stored embeddings, so that re-ranking by the same words gives the same numbers.

    Row by row in float64: a score does not depend on how many rows are scored together.
    """
    scores: NDArray[np.float64] = (embeddings.astype(np.float64) * text.astype(np.float64)).sum(axis=1)
    return scores


def best_of(scores: Sequence[float] | NDArray[np.float64], keep: int) -> list[int]:
    """Positions of the `keep` highest scores, best first, the earlier one at a tie."""
    return [int(i) for i in np.argsort(-np.asarray(scores), kind="stable")[:keep]]
