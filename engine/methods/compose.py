"""Compose: one thing in front of another, two pictures of a GAN as one. Ours, after FuseDream's abstract (2112.01573).

The paper's own composition was never released; this is the design that its abstract, its code's orphans and its
authors' optimiser leave room for (algorithms 2.7). Two basis searches; the first thing is pasted into a box of the
second's picture by a soft mask. Below, AugCLIP of the whole prompt; above, coherence: the likeness of the composite to
some picture that the GAN can draw whole, and a seam that does not show. Dynamic barrier gradient descent moves three
mixtures of codes and, where nobody gave one, the box: coherence is improved only as far as AugCLIP does not fall.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace
from engine.methods import barrier, search
from engine.methods.found import (
    VIEW_SEED,
    VIEWS,
    Found,
    Past,
    Picture,
    Way,
    against,
    base_recipe,
    best_of,
    cosines,
    render,
)
from engine.methods.fusedream import CHECK_SEED, rate_at
from engine.methods.mixture import NAMES, Adam, Mixture
from engine.methods.target import Target, encode_parts, encode_target
from engine.ops import Ask, Blend, Blended, EncodePicture, EncodePictureViews, Paste, Pixels, Progress, Slopes, Tower
from storage.job import Candidate, Job
from storage.prompt import Part, scene

FORE, BACK, WHOLE = range(3)  # the mixtures, and the rows of latents
BASES, HEAD_START, CLIMBED = 5, 4.0, 8  # as in fusedream: bases, the best one's logit, views a step
CHECK, CHECK_VIEWS = 5, 16
PATIENCE, GAIN = 25, 2e-4
BOX, BOX_RATE, LEAST, MOST = (0.5, 0.5, 0.5, 0.5), 0.01, 0.45, 0.7  # where a free box starts, its rate, its sides
KNOBS = {
    "bases": BASES,
    "head_start": HEAD_START,
    "views": CLIMBED,
    "check": [CHECK, CHECK_VIEWS, CHECK_SEED],
    "stop": [PATIENCE, GAIN],
    "beta": barrier.BETA,
    "box": [BOX_RATE, LEAST, MOST],
}


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the picture: both searches, the box, the steps and every knob."""
    box = list(job.params.box) if job.params.box else None
    own = {"box": box, "steps": job.params.steps, "keep": min(2, job.params.keep), "compose": KNOBS}
    return base_recipe(job, space) | search.drawn(job, space) | own


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Search twice, compose, measure. The composite; and with `keep` 2 the GAN's own picture nearest to it."""
    asked, things = job.params, scene(job.params.parts)
    target = yield from encode_target(job, space, past)
    found = []
    for number, thing in enumerate(things):
        alone = yield from encode_parts(space, [Part(thing)])
        total = 2 * asked.candidates + asked.steps
        found.append((yield from search.score(job, space, alone, first=number * asked.candidates, total=total)))
    draft = Draft.of([_bases(job, space, one) for one in found], space, asked.box)
    top = yield from climb(job, space, draft, target)
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    pixels: Pixels = yield Paste(space.pack, top.latents, top.box)
    drawn = [pixels] + ([(yield from render(space, top.latents.row(WHOLE)))] if asked.keep > 1 else [])
    scored = [against(c, target.embedding) for one in found for c in one.candidates]
    pictures = []
    for number, picture in enumerate(drawn, asked.draws):
        measured, candidate = yield from measure(space, number, picture, target, judged)
        pictures.append(measured)
        scored.append(candidate)
    note = target.note or search.outside_note(space, np.minimum(*(one.similarity.max(keepdims=True) for one in found)))
    return Found(tuple(pictures), tuple(scored), note)


def _bases(job: Job, space: LatentSpace, found: search.Scored) -> Latents:
    chosen = [found.candidates[i] for i in best_of(found.ranks, BASES)]
    return Latents.stacked([space.redraw(job.params.seed, candidate) for candidate in chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Where a draft stood: latents of foreground, background and whole; the box (4,)."""

    latents: Latents
    box: NDArray[np.float32]


@dataclass(slots=True)
class Draft:
    """What is moved: three mixtures, and the box if it is free."""

    mixtures: tuple[Mixture, Mixture, Mixture]
    box: NDArray[np.float64]
    free: bool

    @classmethod
    def of(cls, bases: list[Latents], space: LatentSpace, box: tuple[float, ...] | None) -> Draft:
        """Both at their best bases; the whole near the background's best, able to mix in the foreground's."""
        whole = Latents.stacked([bases[BACK], bases[FORE]])
        fore, back, both = (Mixture.of(some, space, HEAD_START) for some in (bases[FORE], bases[BACK], whole))
        return cls((fore, back, both), np.array(box or BOX, dtype=np.float64), box is None)

    def point(self) -> Point:
        """The draft as it stands."""
        return Point(Latents.stacked([one.latents() for one in self.mixtures]), self.box.astype(np.float32))

    def step(self, blended: Blended, adams: list[Adam], share: float) -> float:
        """One step of DBGD through Adam; returns lambda."""
        f = self._gradient(blended.apart_slopes)
        g = [-part for part in self._gradient(blended.score_slopes)]
        against, weight = barrier.direction(_flat(f), _flat(g))
        up = _like(-against, f)
        for number, (mixture, adam) in enumerate(zip(self.mixtures, adams, strict=False)):
            adam.ascend(mixture, {name: up[number * len(NAMES) + i] for i, name in enumerate(NAMES)}, share)
        if self.free:
            adams[-1].steps += 1
            self.box = _inside(self.box + BOX_RATE * share * adams[-1].move("box", up[-1]))
        return weight

    def _gradient(self, slopes: Slopes) -> list[NDArray[np.float64]]:
        gradients = [one.gradient(z, y) for one, z, y in zip(self.mixtures, slopes.z, slopes.y, strict=True)]
        found = [gradient[name] for gradient in gradients for name in NAMES]
        return [*found, slopes.box.astype(np.float64)] if self.free else found


def climb(job: Job, space: LatentSpace, draft: Draft, target: Target) -> Ask[Point]:
    """DBGD; returns the point that was best by AugCLIP on fixed views."""
    asked, adams = job.params, [Adam() for _ in range(4)]
    best, top, since = -math.inf, draft.point(), 0
    done, total = asked.draws, asked.draws + asked.steps
    for step in range(asked.steps + 1):
        if step % CHECK == 0 or step == asked.steps:
            here = draft.point()
            pixels: Pixels = yield Paste(space.pack, here.latents, here.box)
            views: NDArray[np.float16] = yield EncodePictureViews(space.pack, pixels, CHECK_SEED, CHECK_VIEWS)
            score = float(cosines(views, target.embedding).mean())
            if score > best + GAIN or step == 0:
                best, top, since = score, here, step
                yield Progress(done + step, total, pixels, Candidate(number=asked.draws, label=None, clip_score=None))
            elif step - since >= PATIENCE:
                break
        if step < asked.steps:
            now = draft.point()
            blended: Blended = yield Blend(
                space.pack, now.latents, now.box, target.embedding, asked.seed, CLIMBED * (step + 1), CLIMBED
            )
            draft.step(blended, adams, rate_at(step, asked.steps))
    return top


def measure(
    space: LatentSpace, number: int, pixels: Pixels, target: Target, judged: Target
) -> Ask[tuple[Picture, Candidate]]:
    """A picture with honest scores, taken from its pixels; and the candidate that it is."""
    seen = (yield EncodePicture(space.pack, pixels)).astype("<f2")[None]
    views = yield EncodePictureViews(space.pack, pixels, VIEW_SEED, VIEWS)
    by_judge = (yield EncodePicture(space.pack, pixels, Tower.JUDGE)).astype(np.float16)[None]
    candidate = Candidate(
        number=number,
        label=None,
        clip_score=float(cosines(seen, target.embedding)[0]),
        augclip_score=float(cosines(views, target.embedding).mean()),
        judge_score=float(cosines(by_judge, judged.embedding)[0]),
        embedding=seen.tobytes(),
    )
    picture = Picture(
        candidate=number,
        label=None,
        pixels=pixels,
        clip_score=candidate.clip_score,
        augclip_score=candidate.augclip_score,
        judge_score=candidate.judge_score,
    )
    return picture, candidate


def _inside(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box within the picture, its sides within their limits."""
    sides = box[2:].clip(LEAST, MOST)
    return np.concatenate([box[:2].clip(sides / 2, 1 - sides / 2), sides])


def _flat(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([part.ravel() for part in parts])


def _like(flat: NDArray[np.float64], parts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Cut to the parts' shapes again."""
    ends = np.cumsum([part.size for part in parts])
    return [flat[end - part.size : end].reshape(part.shape) for end, part in zip(ends, parts, strict=True)]


COMPOSE = Way(recipe, run)
