"""Runs one trial on the device, without store or queue, and notes what a table needs.

Knows methods as coroutines of ops, and watches the ops go by: a climb's score against its steps and its seconds comes
from the method's own measurements on fixed views, so nothing is computed that a person's dream would not compute.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.evaluate.trials import Trial
from engine.latents import Latents, LatentSpace
from engine.launches import Launch
from engine.methods import METHODS, Found, fusedream, search
from engine.methods.found import best_of, cosines, encode_images, encode_views, published_space
from engine.methods.target import encode_target
from engine.ops import Ask, Blend, Climb, EncodePictureViews, EncodeViews, Progress, Tower, rung_for
from engine.runner import ModelRunner
from storage.job import Candidate, Job, Method

T = TypeVar("T")
RANDOM = 16  # draws whose mean stands for an unranked one
KEPT = 16  # pictures of a trial whose judge embedding is noted, for the Fréchet distance
MARKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # after so many pictures the best one is shown to the judge


@dataclass(slots=True)
class Watch:
    """What was seen of a coroutine's ops: (steps, seconds, AugCLIP on the method's own fixed views)."""

    steps: int = 0
    seconds: float = 0.0
    points: list[tuple[int, float, float]] = field(default_factory=list)


class Bench:
    """A pack on the device, its candidates from its bank, as people get them; what is published does without."""

    def __init__(self, runner: ModelRunner, pack: str) -> None:
        space = runner.space(pack)
        self.runner, self.space = runner, space.at(space.bank.size if space.bank is not None else 0)

    def run(self, trial: Trial, candidates: int) -> dict[str, Any]:
        """A row: scores, seconds, curves. Plain values only."""
        job, watch = trial.job(self.space.pack, candidates, KEPT), Watch()
        measure = _search if trial.way.method is Method.SEARCH else _method
        row = self.drive(measure(job, self.space, trial.way.knobs), watch)
        shared = {"key": trial.key, "way": trial.way.name, "prompt": trial.prompt.text, "seed": trial.seed}
        points = [[step, round(seconds, 3), round(score, 5)] for step, seconds, score in watch.points]
        return shared | row | {"seconds": round(watch.seconds, 3), "steps": watch.steps, "points": points}

    def drive(self, ask: Ask[T], watch: Watch) -> T:
        """A coroutine to its end, every op a launch of its own."""
        reply: Any = None
        text: NDArray[np.float32] | None = None
        began = time.perf_counter()
        while True:
            try:
                asked = ask.send(reply)
            except StopIteration as end:
                found: T = end.value
                return found
            finally:
                watch.seconds = time.perf_counter() - began
            if isinstance(asked, Progress):
                reply = None
                continue
            reply = self.runner.run(Launch((asked,)))[0]
            if isinstance(asked, Climb | Blend):
                watch.steps, text = watch.steps + 1, asked.text
            elif isinstance(asked, EncodeViews | EncodePictureViews) and text is not None:
                watch.points.append((watch.steps, time.perf_counter() - began, float(cosines(reply, text).mean())))


def _search(job: Job, space: LatentSpace, knobs: Mapping[str, Any]) -> Ask[dict[str, Any]]:
    """A search by its parts, so that the judge sees the best after every mark and a few that were not chosen."""
    space = published_space(job.params, space)
    target = yield from encode_target(job, space, None)
    judge = yield from encode_target(job, space, None, Tower.JUDGE)
    ranked = yield from search.score(job, space, target)
    scored, ranks = ranked.candidates, np.array(ranked.ranks)
    clip = np.array([candidate.clip_score for candidate in scored])
    leaders = [int(ranks[:n].argmax()) for n in range(1, len(clip) + 1)]
    marks = sorted({min(mark, len(clip)) for mark in MARKS})
    kept = best_of(ranks, KEPT)
    wanted = sorted({*(leaders[mark - 1] for mark in marks), *range(min(RANDOM, len(clip))), *kept})
    judged = yield from _judge(job, space, [scored[i] for i in wanted])
    by_judge = dict(zip(wanted, cosines(judged, judge.embedding), strict=True))
    best = leaders[-1]
    views = yield from encode_views(space, space.redraw(job.params.seed, scored[best]))
    return {
        "clip": float(clip[best]),
        "augclip": float(cosines(views, target.embedding).mean()),
        "judge": float(by_judge[best]),
        "label": scored[best].label,
        "scores": [round(float(score), 5) for score in clip],
        "curve": [round(float(best), 5) for best in np.maximum.accumulate(clip)],
        "judge_at": {str(mark): round(float(by_judge[leaders[mark - 1]]), 5) for mark in marks},
        "random_clip": float(clip.mean()),
        "random_judge": float(np.mean([by_judge[i] for i in range(min(RANDOM, len(clip)))])),
        "kept": base64.b64encode(judged[[wanted.index(i) for i in kept]].astype("<f2").tobytes()).decode(),
    }


def _judge(job: Job, space: LatentSpace, chosen: list[Candidate]) -> Ask[NDArray[np.float16]]:
    rung, found = rung_for(len(chosen)), []
    for first in range(0, len(chosen), rung):
        part = [space.redraw(job.params.seed, candidate) for candidate in chosen[first : first + rung]]
        found.append((yield from encode_images(space, Latents.stacked(part), rung, Tower.JUDGE)))
    return np.concatenate(found)


def _method(job: Job, space: LatentSpace, knobs: Mapping[str, Any]) -> Ask[dict[str, Any]]:
    """Any other method as it is, or FuseDream with knobs of its own; its best picture's scores."""
    if knobs:
        found: Found = yield from fusedream.turned(job, space, None, replace(fusedream.DEFAULT, **knobs))
    else:
        found = yield from METHODS[job.params.method].run(job, space, None)
    best = found.pictures[0]
    return {
        "clip": best.clip_score,
        "augclip": best.augclip_score,
        "judge": best.judge_score,
        "label": best.label,
    }
