"""CLIP-ranked search of a GAN (Du, Yin, Gu: "CLIP-guided Zero-Shot Text-to-Image Generation").

Take the labels whose words are nearest to the prompt, draw z and class from them, keep the best by cosine. Better by
default: nearer labels are drawn more often, and what the prompt names counts as near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import NAMED, LatentSpace
from engine.methods.draws import embedded, plan, rung_of
from engine.methods.found import (
    Found,
    Past,
    Picture,
    Way,
    base_recipe,
    best_of,
    cosines,
    encode_images,
    encode_views,
    render,
)
from engine.methods.target import Target, encode_target
from engine.ops import Ask, Floats, Progress, Tower, rung_for
from storage.job import Candidate, Job

DEFAULT_TOP_K = 10
SHARPNESS, ALIKE, SLOTS = 20.0, 0.2, 200  # of the label prior
SHOWN = 3  # so many nearest things are named where a prompt lies outside the world


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the pictures, with every default resolved."""
    return base_recipe(job, space) | drawn(job, space) | {"keep": job.params.keep}


def drawn(job: Job, space: LatentSpace) -> dict[str, Any]:
    """What decides the candidates."""
    prior = {"sharpness": SHARPNESS, "alike": ALIKE, "slots": SLOTS, "named": NAMED}
    asked = {"seed": job.params.seed, "candidates": job.params.candidates, "top_k": top_k(job, space)}
    return asked | {"prior": prior, "bank": space.bank_size}


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Draw, score, keep the best."""
    target = yield from encode_target(job, space, past)
    scored, similarity = yield from score(job, space, target)
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    pictures = yield from keep(job, space, scored, target, judged)
    return Found(pictures, measured(scored, pictures), target.note or outside_note(space, similarity))


def score(
    job: Job, space: LatentSpace, target: Target, extra: int = 0
) -> Ask[tuple[list[Candidate], NDArray[np.float64]]]:
    """Every candidate scored, and the prompt's similarity to every label (labels,).

    The best so far is shown whenever it changes; `extra` steps of the caller's own are still to come.
    """
    asked, text = job.params, target.embedding
    similarity = space.similarities(target.said, text, target.unsaid)
    allowed = slots(similarity, top_k(job, space))
    scored: list[Candidate] = []
    shown, preview = None, None
    for some in plan(space, asked.seed, allowed, asked.candidates):
        classes, embeddings = yield from embedded(space, asked.seed, allowed, some, rung_of(space, asked.candidates))
        scored += candidates(space, some.numbers, classes, embeddings, text)
        best = max(scored, key=lambda c: (c.clip_score or 0.0, -c.number))
        if best is not shown:
            shown, preview = best, (yield from render(space, space.redraw(asked.seed, best)))
        yield Progress(len(scored), asked.candidates + extra, preview, best)
    scored.sort(key=lambda c: c.number)
    return scored, similarity


def slots(similarity: NDArray[np.float64], k: int) -> list[int]:
    """The k nearest labels, each as often as it is to be drawn: a softmax of similarity, and a share for all alike.

    The paper draws uniformly from the k. Whole numbers of slots, so that no rounding error decides a draw.
    """
    nearest = best_of(similarity, k)
    raised = np.exp(SHARPNESS * (similarity[nearest] - similarity[nearest[0]]))
    counts = np.rint(SLOTS * ((1 - ALIKE) * raised / raised.sum() + ALIKE / k)).astype(int).clip(min=1)
    return [label for label, count in zip(nearest, counts, strict=True) for _ in range(count)]


def candidates(
    space: LatentSpace,
    numbers: Sequence[int],
    classes: NDArray[np.int64],
    embeddings: NDArray[np.float16],
    text: Floats,
) -> list[Candidate]:
    """Scored candidates with their embeddings."""
    scores = cosines(embeddings, text)
    return [
        Candidate(number=n, label=space.label_of(int(c)), clip_score=float(s), embedding=e.astype("<f2").tobytes())
        for n, c, s, e in zip(numbers, classes, scores, embeddings, strict=True)
    ]


def keep(
    job: Job, space: LatentSpace, scored: list[Candidate], target: Target, judged: Target
) -> Ask[tuple[Picture, ...]]:
    """The best by CLIP, rendered, and measured once more: on augmented views, and by the judge."""
    pictures = []
    for position in best_of([c.clip_score or 0.0 for c in scored], job.params.keep):
        chosen = scored[position]
        latents = space.redraw(job.params.seed, chosen)
        views = yield from encode_views(space, latents)
        seen = yield from encode_images(space, latents, rung_for(1), Tower.JUDGE)
        pictures.append(
            Picture(
                candidate=chosen.number,
                label=chosen.label,
                pixels=(yield from render(space, latents)),
                clip_score=chosen.clip_score,
                augclip_score=float(cosines(views, target.embedding).mean()),
                judge_score=float(cosines(seen, judged.embedding)[0]),
            )
        )
    return tuple(pictures)


def measured(scored: list[Candidate], pictures: tuple[Picture, ...]) -> tuple[Candidate, ...]:
    """The candidates, those that were kept with their further scores."""
    kept = {p.candidate: p for p in pictures}
    return tuple(_measured(c, kept[c.number]) if c.number in kept else c for c in scored)


def _measured(candidate: Candidate, picture: Picture) -> Candidate:
    return replace(candidate, augclip_score=picture.augclip_score, judge_score=picture.judge_score)


def top_k(job: Job, space: LatentSpace) -> int:
    """How many labels are drawn from: as asked, at most all; by default 10, at most half."""
    asked = job.params.top_k
    return min(asked, len(space.labels)) if asked else max(1, min(DEFAULT_TOP_K, len(space.labels) // 2))


def outside_note(space: LatentSpace, similarity: NDArray[np.float64]) -> str | None:
    """One honest line where the prompt lies outside what this pack can draw."""
    if space.outside_below is None or similarity.max() >= space.outside_below:
        return None
    nearest = [space.labels[i] for i in best_of(similarity, SHOWN)]
    return f"This is outside what {space.pack} can draw; the nearest it knows: {', '.join(nearest)}."


SEARCH = Way(recipe, run)
