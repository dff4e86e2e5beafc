"""CLIP-GEN (Wang et al., arXiv 2203.00386): a GPT draws a picture's tokens after the prompt's CLIP embedding.

Top k, then the nucleus, with a cache of keys and values; the VQGAN paints, CLIP ranks. Candidate 41 is the same among
42 as among 10,000: its chance is its own, and tokens are drawn at one rung whatever was asked. Better by default: the
pack's guidance, and re-ranking sees what CLIP was trained on. `--parity clip-gen` does without, as the published one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace, TokenSpace
from engine.methods.found import Found, Past, Way, base_recipe, best_of, cosines, encode_images, render
from engine.methods.fusedream import measure
from engine.methods.search import measured
from engine.methods.target import encode_target
from engine.ops import TOKEN_RUNG, Ask, Drawn, DrawTokens, Floats, Preprocess, Progress, Tower
from engine.rng import rng_for
from storage.errors import UserError
from storage.job import Candidate, Job, Parity

TOKENS = 64  # drawn a launch; between launches a job can be cancelled


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the pictures, with every default resolved."""
    asked = {"seed": job.params.seed, "candidates": job.params.candidates, "keep": job.params.keep}
    return base_recipe(job, space) | asked | {"pair_digest": _tokens(space).digest}


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Draw, paint, score; keep the best."""
    target = yield from encode_target(job, space, past)
    scored, ranks, tokens = yield from score(job, space, target.embedding)
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    pictures = []
    for position in best_of(ranks, job.params.keep):
        latents = Latents.of_tokens(tokens[[position]])
        pictures.append((yield from measure(space, latents, target, judged, scored[position])))
    return Found(tuple(pictures), measured(scored, tuple(pictures)), target.note)


def score(job: Job, space: LatentSpace, text: Floats) -> Ask[tuple[list[Candidate], list[float], NDArray[np.int64]]]:
    """Every candidate scored, what it is ranked by, and its tokens (n, length); the best so far is always shown."""
    total = job.params.candidates
    scored: list[Candidate] = []
    ranks: list[float] = []
    drawn = np.zeros((0, _tokens(space).length), np.int64)
    shown, preview = -1, None
    for first in range(0, total, TOKEN_RUNG):
        tokens = yield from draw(job, space, text, first)
        drawn = np.concatenate([drawn, tokens[: total - first]])
        latents = Latents.of_tokens(drawn[first:])
        embeddings = yield from encode_images(space, latents, TOKEN_RUNG)
        scored += _scored(first, embeddings, text)
        if _published(job):
            embeddings = yield from encode_images(space, latents, TOKEN_RUNG, Tower.SCORER, Preprocess.CLIPGEN)
        ranks += cosines(embeddings, text).tolist()
        best = best_of(ranks, 1)[0]
        if best != shown:
            shown, preview = best, (yield from render(space, Latents.of_tokens(drawn[[best]])))
        yield Progress(len(scored), total, preview, scored[best])
    return scored, ranks, drawn


def draw(job: Job, space: LatentSpace, text: Floats, first: int) -> Ask[NDArray[np.int64]]:
    """Tokens (TOKEN_RUNG, length) of candidates first, first + 1, ...; `first` is a multiple of TOKEN_RUNG."""
    length = _tokens(space).length
    chance = np.stack([chance_of(job.params.seed, first + row, length) for row in range(TOKEN_RUNG)])
    drawn: Drawn | None = None
    for at in range(0, length, TOKENS):
        drawn = yield DrawTokens(space.pack, text, chance[:, at : at + TOKENS], drawn, _published(job))
    assert drawn is not None
    return drawn.tokens


def chance_of(seed: int, number: int, length: int) -> NDArray[np.float64]:
    """The uniforms (length,) that decide a candidate."""
    return rng_for(seed, "tokens", number).uniforms(length)


def redraw(parent: Job, space: LatentSpace, past: Past, numbers: Sequence[int]) -> Ask[Latents]:
    """Candidates of an earlier job by number: drawn where they were drawn, so the same tokens."""
    target = yield from encode_target(parent, space, past)
    rungs: dict[int, NDArray[np.int64]] = {}
    for first in sorted({number - number % TOKEN_RUNG for number in numbers}):
        rungs[first] = yield from draw(parent, space, target.embedding, first)
    rows = [rungs[number - number % TOKEN_RUNG][number % TOKEN_RUNG] for number in numbers]
    return Latents.of_tokens(np.stack(rows))


def _scored(first: int, embeddings: NDArray[np.float16], text: Floats) -> list[Candidate]:
    scores = cosines(embeddings, text)
    return [
        Candidate(number=first + row, label=None, clip_score=float(score), embedding=e.astype("<f2").tobytes())
        for row, (score, e) in enumerate(zip(scores, embeddings, strict=True))
    ]


def _published(job: Job) -> bool:
    return job.params.parity is Parity.CLIP_GEN


def _tokens(space: LatentSpace) -> TokenSpace:
    if space.tokens is None:
        raise UserError(f"{space.pack} has nothing to draw tokens with; clipgen needs a pack with a vqgan and a gpt.")
    return space.tokens


CLIPGEN = Way(recipe, run)
