"""FuseDream (Liu et al., arXiv 2112.01573): mix the best candidates' latents by coordinates, and climb AugCLIP.

Basis search, over-parameterised mixing and augmented views as in the paper's code; better by default where it costs
nothing: the mixture starts at the best basis instead of at random, every view has a scale of its own, the best point on
fixed views is kept, and climbing stops on a plateau. The final AugCLIP is measured on views that were never climbed.
`--parity fusedream` turns the same knobs to where the official code has them, what it reports included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace
from engine.methods import inversion, resume, search
from engine.methods.found import (
    CLAMP,
    VIEW_SEED,
    Found,
    Past,
    Picture,
    Way,
    against,
    base_recipe,
    best_of,
    cosines,
    encode_images,
    encode_views,
    published_space,
    render,
)
from engine.methods.mixture import Adam, Mixture
from engine.methods.target import Target, encode_target
from engine.ops import Ask, Climb, EncodeViews, Floats, Preprocess, Progress, Saved, Slope, Tower, rung_for
from engine.rng import rng_for
from storage.job import Candidate, Job, Params, Parity

CHECK_SEED = 1  # of the fixed views
SAVE = 5  # steps between two states that may be kept
SHOW = 25  # without checks the picture is shown this often


@dataclass(frozen=True, slots=True)
class Knobs:
    """What decides a climb, beside its start and its steps."""

    bases: int = 5  # k of the paper
    head_start: float | None = 4.0  # the best basis's logit, the others have 0; None: every logit N(0, 1)
    views: int = 8  # climbed a step, fresh every time; 0: plain CLIP on the picture as it is, AugCLIP left out
    check: tuple[int, int] | None = (5, 16)  # how often, and on how many fixed views; None: the last point is kept
    stop: tuple[int, float] | None = (25, 2e-4)  # steps without that much gain end the climb
    rates: tuple[float, float, float] = (0.02, 0.005, 0.05)  # of z and y at first and at last, by cosine; of the logits
    noise: float = 0.01  # on z and y
    noisy: float = 0.5  # in this share of the steps, the first
    bound: float | None = None  # of z; None: the pack's truncation
    preprocess: Preprocess = Preprocess.OURS
    report: tuple[int, int] | None = None  # calls and views of the published measure


DEFAULT = Knobs()
PUBLISHED = Knobs(
    head_start=None,
    views=50,
    check=None,
    stop=None,
    rates=(5e-3, 5e-3, 5e-3),
    noisy=1.0,
    bound=CLAMP,
    preprocess=Preprocess.FUSEDREAM,
    report=(20, 50),
)


def knobs(job: Job) -> Knobs:
    """Ours, or the official code's."""
    return PUBLISHED if job.params.parity is Parity.FUSEDREAM else DEFAULT


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the picture: the basis search's recipe, the steps, and every knob."""
    chosen = {name: list(k) if isinstance(k, tuple) else k for name, k in asdict(knobs(job)).items()}
    begun = {"start": job.params.start, "inversion": [inversion.STEPS, *inversion.RATES]} if job.params.start else {}
    drawn = search.drawn(job, space) | {"steps": job.params.steps, "fusedream": chosen}
    return base_recipe(job, space) | drawn | begun


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Search for bases, climb from the best, measure what was reached. One picture, whatever `keep` is."""
    return (yield from turned(job, space, past, knobs(job)))


def turned(job: Job, space: LatentSpace, past: Past | None, knob: Knobs) -> Ask[Found]:
    """`run` with knobs as they are given: what an evaluation leaves out, it leaves out here."""
    asked, space = job.params, published_space(job.params, space)
    target = yield from encode_target(job, space, past)
    scored, mixture, near = yield from begin(job, space, past, target, knob)
    saved = past.state if past else None
    best = scored.candidates[scored.best]
    top = yield from climb(job, space, mixture, target.embedding, best, knob, saved)
    embedding = yield from encode_images(space, top, rung_for(1))
    final = search.candidates(space, [asked.candidates], top.classes, embedding, target.embedding)[0]
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    picture = yield from measure(space, top, target, judged, final)
    note = target.note or near or search.outside_note(space, scored.similarity)
    if knob.report is not None:
        note = yield from reported(space, top, target, knob.report)
    return Found((picture,), search.measured([*scored.candidates, final], (picture,)), note)


def begin(
    job: Job, space: LatentSpace, past: Past | None, target: Target, knob: Knobs
) -> Ask[tuple[search.Scored, Mixture, str | None]]:
    """The candidates, the mixture to climb from, and a line on how near it is to the picture that was handed in."""
    asked, total = job.params, before(job.params) + job.params.steps
    if asked.start is None:
        scored = yield from search.score(job, space, target, total=total)
        return scored, start(job, space, _bases(job, space, scored, knob), knob), None
    picture = yield from inversion.given(job, space, past)
    scored = yield from inversion.candidates(job, space, picture, total)
    mixture = start(job, space, _bases(job, space, scored, knob), knob)
    mixture, near = yield from inversion.invert(job, space, mixture, picture, total)
    scored.candidates = [against(candidate, target.embedding) for candidate in scored.candidates]
    return (
        scored,
        mixture,
        f"It began from your picture, as near as {space.pack} came to it (nearness {near:.2f} of 1).",
    )


def before(asked: Params) -> int:
    """How much is done before the climb, of which every step counts one."""
    return asked.candidates + (inversion.STEPS if asked.start else 0)


def _bases(job: Job, space: LatentSpace, scored: search.Scored, knob: Knobs) -> Latents:
    chosen = [scored.candidates[i] for i in best_of(scored.ranks, knob.bases)]
    return Latents.stacked([space.redraw(job.params.seed, candidate) for candidate in chosen])


def start(job: Job, space: LatentSpace, bases: Latents, knob: Knobs) -> Mixture:
    """Close to the best basis; or, as published, a random mixture of all, which resembles none."""
    if knob.head_start is not None:
        return Mixture.of(bases, space, knob.head_start)
    size = space.dim_z + space.class_embeddings.shape[1]
    logits = rng_for(job.params.seed, "logits", 0).normals(len(bases) * size).reshape(len(bases), size)
    return Mixture.at(bases, space, logits, knob.bound)


def climb(
    job: Job,
    space: LatentSpace,
    mixture: Mixture,
    text: Floats,
    best: Candidate,
    knob: Knobs,
    saved: bytes | None = None,
) -> Ask[Latents]:
    """Adam on AugCLIP; returns the latents that were best on the fixed views, or without those the last ones.

    With what an earlier run has `saved` it goes on from there, to the same bits.
    """
    steps, seed, done = job.params.steps, job.params.seed, before(job.params)
    watch, adam = Watch(knob), Adam(knob.rates[0], knob.rates[2])
    begun = watch.resume(resume.from_bytes(saved, mixture, adam)) if saved else 0
    for step in range(begun, steps + 1):
        if step == steps and knob.check is None:
            break  # the published code returns the point before its last step
        watch.here = mixture.latents()
        if (yield from watch.look(space, text, step, last=step == steps)):
            yield Progress(done + step, done + steps, (yield from render(space, watch.top)), best)
        if watch.over(step):
            break
        if step < steps:
            noise = knob.noise if step < knob.noisy * steps else 0.0
            near = mixture.latents(rng_for(seed, "noise", step).normals(mixture.size) * noise)
            first, plain = knob.views * (step + 1), knob.views == 0
            slope: Slope = yield Climb(space.pack, near, text, seed, first, max(1, knob.views), knob.preprocess, plain)
            adam.ascend(mixture, mixture.gradient(slope.z, slope.y), rate_at(step, steps, knob))
            if (step + 1) % SAVE == 0:
                state = resume.to_bytes(watch.standing(step + 1), mixture, adam)
                yield Saved(done + step, done + steps, state=state)
    return watch.top


class Watch:
    """Where the climb is, and the best that it saw."""

    def __init__(self, knob: Knobs) -> None:
        self._knob = knob
        self._best, self._since = -math.inf, 0
        self.here: Latents
        self.top: Latents

    def standing(self, step: int) -> resume.Standing:
        """All of it, before this step."""
        return resume.Standing(step=step, best=self._best, since=self._since, top=self.top)

    def resume(self, standing: resume.Standing) -> int:
        """Be where an earlier climb was; the step that comes next."""
        self._best, self._since, self.top = standing.best, standing.since, standing.top
        return standing.step

    def look(self, space: LatentSpace, text: Floats, step: int, *, last: bool) -> Ask[bool]:
        """Measure where it is time to; whether there is something new to show."""
        if self._knob.check is None:
            self.top = self.here
            return step % SHOW == 0
        every, views = self._knob.check
        if step % every and not last:
            return False
        seen: NDArray[np.float16]
        if self._knob.views == 0:
            seen = yield from encode_images(space, self.here, rung_for(1))
        else:
            seen = yield EncodeViews(space.pack, self.here, CHECK_SEED, 0, views, rung_for(views))
        score = float(cosines(seen, text).mean())
        least = self._knob.stop[1] if self._knob.stop else 0.0
        if step > 0 and score <= self._best + least:
            return False
        self._best, self._since, self.top = score, step, self.here
        return True

    def over(self, step: int) -> bool:
        """Whether nothing was gained for too long."""
        return self._knob.stop is not None and step - self._since >= self._knob.stop[0]


def measure(space: LatentSpace, top: Latents, target: Target, judged: Target, final: Candidate) -> Ask[Picture]:
    """The picture with honest scores: on views that were never climbed, and by the judge."""
    views = yield from encode_views(space, top)
    seen = yield from encode_images(space, top, rung_for(1), Tower.JUDGE)
    return Picture(
        candidate=final.number,
        label=final.label,
        pixels=(yield from render(space, top)),
        clip_score=final.clip_score,
        augclip_score=float(cosines(views, target.embedding).mean()),
        judge_score=float(cosines(seen, judged.embedding)[0]),
    )


def reported(space: LatentSpace, top: Latents, target: Target, report: tuple[int, int]) -> Ask[str]:
    """What the official code prints: the mean over calls of views that share one scale a call."""
    calls, rows = report
    means = []
    for call in range(calls):
        views: NDArray[np.float16] = yield EncodeViews(
            space.pack, top, VIEW_SEED, call * rows, rows, rows, Tower.SCORER, Preprocess.FUSEDREAM
        )
        means.append(float(cosines(views, target.embedding).mean()))
    return f"AugCLIP as FuseDream reports it ({calls} x {rows} views): {np.mean(means):.4f}."


def rate_at(step: int, steps: int, knob: Knobs = DEFAULT) -> float:
    """The share of the full rate: a cosine from 1 to last / first."""
    low = knob.rates[1] / knob.rates[0]
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * step / steps))


FUSEDREAM = Way(recipe, run)
