"""FuseDream (Liu et al., arXiv 2112.01573): mix the best candidates' latents by coordinates, and climb AugCLIP.

Basis search, over-parameterised mixing and augmented views as in the paper's code; better by default where it costs
nothing: the mixture starts at the best basis instead of at random, every view has a scale of its own, the best point on
fixed views is kept, and climbing stops on a plateau. The final AugCLIP is measured on views that were never climbed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.latents import Latents, LatentSpace
from engine.methods import search
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
from engine.ops import Ask, Climb, EncodeViews, Floats, Progress, Slope, Tower, rung_for
from engine.rng import rng_for
from storage.job import Candidate, Job

BASES = 5  # k of the paper
HEAD_START = 4.0  # the best basis's logit; the others have 0
VIEWS = 8  # climbed a step, fresh every time
CHECK, CHECK_VIEWS, CHECK_SEED = 5, 16, 1  # every so many steps the point is measured on fixed views
PATIENCE, GAIN = 25, 2e-4  # steps without that much gain on the fixed views end the climb
RATE, LAST_RATE, LOGIT_RATE = 0.02, 0.005, 0.05
NOISE = 0.01  # on z and y in the first half
KNOBS = {
    "bases": BASES,
    "head_start": HEAD_START,
    "views": VIEWS,
    "check": [CHECK, CHECK_VIEWS, CHECK_SEED],
    "stop": [PATIENCE, GAIN],
    "rates": [RATE, LAST_RATE, LOGIT_RATE],
    "noise": NOISE,
}


def recipe(job: Job, space: LatentSpace, past: Past | None) -> Mapping[str, Any]:
    """All that decides the picture: the basis search's recipe, the steps, and every knob."""
    knobs = {"steps": job.params.steps, "fusedream": KNOBS}
    return base_recipe(job, space) | search.drawn(job, space) | knobs


def run(job: Job, space: LatentSpace, past: Past | None) -> Ask[Found]:
    """Search for bases, climb from the best, measure what was reached. One picture, whatever `keep` is."""
    asked = job.params
    target = yield from encode_target(job, space, past)
    scored, similarity = yield from search.score(job, space, target, extra=asked.steps)
    bases = best_of([c.clip_score or 0.0 for c in scored], BASES)
    mixture = Mixture.of(Latents.stacked([space.redraw(asked.seed, scored[i]) for i in bases]), space)
    top = yield from climb(job, space, mixture, target.embedding, scored[bases[0]])
    embedding = yield from encode_images(space, top, rung_for(1))
    final = search.candidates(space, [asked.candidates], top.classes, embedding, target.embedding)[0]
    judged = yield from encode_target(job, space, past, Tower.JUDGE)
    picture = yield from measure(space, top, target, judged, final)
    note = target.note or search.outside_note(space, similarity)
    return Found((picture,), search.measured([*scored, final], (picture,)), note)


def climb(job: Job, space: LatentSpace, mixture: Mixture, text: Floats, start: Candidate) -> Ask[Latents]:
    """Adam on AugCLIP; returns the latents that were best on the fixed views."""
    asked, adam = job.params, Adam()
    best, top, since = -math.inf, mixture.latents(), 0
    for step in range(asked.steps + 1):
        if step % CHECK == 0 or step == asked.steps:
            here = mixture.latents()
            views: NDArray[np.float16] = yield EncodeViews(
                space.pack, here, CHECK_SEED, 0, CHECK_VIEWS, rung_for(CHECK_VIEWS)
            )
            score = float(cosines(views, text).mean())
            if score > best + GAIN or step == 0:
                best, top, since = score, here, step
                preview = yield from render(space, top)
                yield Progress(asked.candidates + step, asked.candidates + asked.steps, preview, start)
            elif step - since >= PATIENCE:
                break
        if step < asked.steps:
            noise = NOISE if 2 * step < asked.steps else 0.0
            near = mixture.latents(rng_for(asked.seed, "noise", step).normals(mixture.size) * noise)
            slope: Slope = yield Climb(space.pack, near, text, asked.seed, VIEWS * (step + 1), VIEWS)
            adam.ascend(mixture, mixture.gradient(slope), rate_at(step, asked.steps))
    return top


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


def rate_at(step: int, steps: int) -> float:
    """The share of the full rate: a cosine from 1 to LAST_RATE / RATE."""
    low = LAST_RATE / RATE
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(slots=True)
class Mixture:
    """k latents, mixed by a softmax over the k for every coordinate apart, as in the paper's code. Float64 inside."""

    z: NDArray[np.float64]  # (k, dim_z)
    y: NDArray[np.float64]  # (k, dim_y)
    z_logits: NDArray[np.float64]
    y_logits: NDArray[np.float64]
    classes: NDArray[np.int64]  # of the best basis: (1,)
    bound: float | None

    @classmethod
    def of(cls, bases: Latents, space: LatentSpace) -> Mixture:
        """A mixture that starts close to the first basis."""
        z = bases.z.astype(np.float64)
        y = space.class_embeddings[bases.classes].astype(np.float64)
        z_logits, y_logits = np.zeros_like(z), np.zeros_like(y)
        z_logits[0] = y_logits[0] = HEAD_START
        return cls(z, y, z_logits, y_logits, bases.classes[:1], space.truncation)

    @property
    def size(self) -> int:
        """How many coordinates the mixed latents have."""
        return int(self.z.shape[1]) + int(self.y.shape[1])

    def latents(self, noise: NDArray[np.float64] | float = 0.0) -> Latents:
        """The mixed latents (1, ...), with `noise` (size,) added."""
        mixed = np.concatenate([_mix(self.z, self.z_logits), _mix(self.y, self.y_logits)]) + noise
        row = mixed.astype(np.float32)[None]
        return Latents(row[:, : self.z.shape[1]], self.classes, row[:, self.z.shape[1] :])

    def gradient(self, slope: Slope) -> dict[str, NDArray[np.float64]]:
        """The chain rule through the mixture, in closed form."""
        found = {}
        for name, values, logits, outer in (
            ("z", self.z, self.z_logits, slope.z),
            ("y", self.y, self.y_logits, slope.y),
        ):
            share = _softmax(logits)
            found[name] = share * outer
            found[f"{name}_logits"] = share * (values - _mix(values, logits)) * outer
        return found


@dataclass(slots=True)
class Adam:
    """Adam (arXiv 1412.6980, algorithm 1) on a mixture's four arrays, upwards."""

    moments: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)
    steps: int = 0

    def ascend(self, mixture: Mixture, gradient: Mapping[str, NDArray[np.float64]], share: float) -> None:
        """One step; z stays within the generator's truncation."""
        self.steps += 1
        for name, g in gradient.items():
            m, v = self.moments.get(name, (np.zeros_like(g), np.zeros_like(g)))
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            self.moments[name] = m, v
            rate = share * (LOGIT_RATE if name.endswith("logits") else RATE)
            move = (m / (1 - 0.9**self.steps)) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)
            setattr(mixture, name, getattr(mixture, name) + rate * move)
        if mixture.bound is not None:
            mixture.z = mixture.z.clip(-mixture.bound, mixture.bound)


def _mix(values: NDArray[np.float64], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    mixed: NDArray[np.float64] = (_softmax(logits) * values).sum(axis=0)
    return mixed


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=0))
    shares: NDArray[np.float64] = raised / raised.sum(axis=0)
    return shares


FUSEDREAM = Way(recipe, run)
