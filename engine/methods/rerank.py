"""Rerank: the stored candidates of an earlier job in another order, by other words or by another measure.

By CLIP this costs one text encoding: scores come from the stored embeddings. By AugCLIP or judge, what was not measured
is measured now. Pictures that were not kept are drawn again from their number, the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace
from engine.methods import clipgen, search
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
    published_space,
    render,
)
from engine.methods.target import Target, encode_target
from engine.ops import TOKEN_RUNG, Ask, Floats, Progress, Tower, rung_for
from storage.errors import UserError
from storage.job import By, Candidate, Job, Method


@dataclass(frozen=True, slots=True)
class Earlier:
    """The job that is re-ordered, and its candidates."""

    parent: Job
    candidates: tuple[Candidate, ...] = field(repr=False)
    theirs: Past  # what that job needed itself


FIELD = {By.CLIP: "clip_score", By.AUGCLIP: "augclip_score", By.JUDGE: "judge_score"}


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """The parent's recipe decides the pixels; words, measure and number kept decide which and in what order."""
    parent = dict(_needed(past).parent.recipe or {})
    return base_recipe(job, space) | {"by": job.params.by.value, "keep": job.params.keep, "parent": parent}


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Score every candidate by the asked measure, keep the best."""
    earlier = _needed(past)
    space = published_space(earlier.parent.params, space)
    tower = Tower.JUDGE if job.params.by is By.JUDGE else Tower.SCORER
    target = yield from encode_target(job, space, past, tower)
    scored = yield from MEASURES[job.params.by](earlier, space, target.embedding)
    ranks = np.array([getattr(c, FIELD[job.params.by]) for c in scored], dtype=np.float64)
    if job.params.by is By.CLIP and earlier.parent.params.parity is None:
        ranks += _leaning(job, space, target, scored)
    order = best_of(ranks, job.params.keep)
    pictures = []
    for chosen in (scored[position] for position in order):
        pictures.append((yield from _picture(earlier, space, chosen)))
    return Found(tuple(pictures), tuple(scored), target.note)


def _leaning(job: Job, space: LatentSpace, target: Target, scored: Sequence[Candidate]) -> NDArray[np.float64]:
    """What labels add to the ranking, as in a search of these words; nothing where candidates have none."""
    if all(candidate.label is None for candidate in scored):
        return np.zeros(len(scored))
    similarity = space.similarities(target.said, target.embedding, target.unsaid)
    leaning = search.lean(search.slots(similarity, search.top_k(job, space)), len(space.labels))
    known = {label: float(value) for label, value in zip(space.labels, leaning, strict=True)}
    return np.array([known.get(c.label or "", 0.0) for c in scored])


def _by_clip(past: Earlier, space: LatentSpace, text: Floats) -> Ask[list[Candidate]]:
    stored = np.stack([np.frombuffer(c.embedding or b"", dtype="<f2") for c in past.candidates])
    yield Progress(len(stored), len(stored))
    return [
        _scored(c, clip_score=float(score)) for c, score in zip(past.candidates, cosines(stored, text), strict=True)
    ]


def _by_judge(past: Earlier, space: LatentSpace, text: Floats) -> Ask[list[Candidate]]:
    drawn = _drawn(past)
    total, rung = len(drawn), rung_for(len(drawn))
    scored: list[Candidate] = []
    for first in range(0, total, rung):
        some = drawn[first : first + rung]
        latents = yield from _again(past, space, some)
        embeddings = yield from encode_images(space, latents, rung, Tower.JUDGE)
        judged = cosines(embeddings, text)
        scored += [_scored(c, judge_score=float(score)) for c, score in zip(some, judged, strict=True)]
        yield Progress(len(scored), total)
    return scored


def _by_augclip(past: Earlier, space: LatentSpace, text: Floats) -> Ask[list[Candidate]]:
    scored: list[Candidate] = []
    drawn = _drawn(past)
    for first in range(0, len(drawn), TOKEN_RUNG):
        some = drawn[first : first + TOKEN_RUNG]
        latents = yield from _again(past, space, some)
        for row, candidate in enumerate(some):
            views = yield from encode_views(space, latents.row(row))
            scored.append(_scored(candidate, augclip_score=float(cosines(views, text).mean())))
            yield Progress(len(scored), len(drawn))
    return scored


MEASURES = {By.CLIP: _by_clip, By.JUDGE: _by_judge, By.AUGCLIP: _by_augclip}


def _picture(past: Earlier, space: LatentSpace, chosen: Candidate) -> Ask[Picture]:
    stored = next((image for image in past.parent.images if image.candidate == chosen.number), None)
    pixels = None
    if stored is None:
        pixels = yield from render(space, (yield from _again(past, space, [chosen])))
    return Picture(
        candidate=chosen.number,
        label=chosen.label,
        pixels=pixels,
        stored=stored,
        clip_score=chosen.clip_score,
        augclip_score=chosen.augclip_score,
        judge_score=chosen.judge_score,
    )


def _again(past: Earlier, space: LatentSpace, chosen: Sequence[Candidate]) -> Ask[Latents]:
    """Candidates of the earlier job once more, from their numbers."""
    if past.parent.params.method is Method.CLIPGEN:
        return (yield from clipgen.redraw(past.parent, space, past.theirs, [c.number for c in chosen]))
    return Latents.stacked([space.redraw(past.parent.params.seed, candidate) for candidate in chosen])


def _scored(candidate: Candidate, **score: float) -> Candidate:
    """The candidate with this score alone: the others were measured against other words. Without its embedding."""
    unmeasured: dict[str, Any] = dict.fromkeys(FIELD.values())
    return replace(candidate, **(unmeasured | score), embedding=None)


def _needed(past: Past | None) -> Earlier:
    if past is None or past.parent is None or not past.candidates:
        raise UserError("A rerank needs a completed job whose candidates are stored; this one has none.")
    return Earlier(past.parent, past.candidates, Past(picture=past.theirs))


def _drawn(past: Earlier) -> list[Candidate]:
    """The candidates that can be drawn again: all but what a method climbed to, whose number is past the draws."""
    return [candidate for candidate in past.candidates if candidate.number < past.parent.params.draws]


RERANK = Way(recipe, run)
