"""A picture that was handed in as the place to start from: latents of a GAN whose picture is as near to it as it comes.

By optimisation, as pix2latent and others invert GANs: the candidates nearest by CLIP are mixed and climbed, nearness
being CLIP's cosine to the picture less a distance of pixels over several scales. Knows nothing of what comes after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.latents import LatentSpace
from engine.methods import search
from engine.methods.found import Past
from engine.methods.mixture import Adam, Mixture
from engine.methods.target import Target
from engine.ops import Ask, EncodePicture, Near, Pixels, Progress, Slope
from storage.errors import UserError
from storage.job import Job

STEPS, RATES = 80, (0.02, 0.05)  # as a climb's: five times larger ones come nearer by CLIP and look like nothing
SHOW = 25  # steps between two words on how far it is


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A picture (h, w, 3) to start from, and what the scorer sees in it."""

    pixels: Pixels
    target: Target


def given(job: Job, space: LatentSpace, past: Past | None) -> Ask[Given]:
    """The picture of a job that starts from one. UserError where it is stored no more."""
    pixels = past.start if past is not None else None
    if pixels is None:
        raise UserError("The picture that this dream starts from is no longer stored; hand it in again.")
    return Given(pixels, Target((yield EncodePicture(space.pack, pixels)), said=""))


def candidates(job: Job, space: LatentSpace, picture: Given, total: int) -> Ask[search.Scored]:
    """The job's candidates, of labels near to the picture and ranked by their likeness to it."""
    return (yield from search.score(job, space, picture.target, total=total))


def invert(job: Job, space: LatentSpace, mixture: Mixture, picture: Given, total: int) -> Ask[tuple[Mixture, float]]:
    """The mixture at its nearest to the picture, and the cosine less the distance there."""
    adam = Adam(*RATES)
    best, top = -np.inf, mixture
    for step in range(STEPS + 1):
        near: Slope = yield Near(space.pack, mixture.latents(), picture.pixels, picture.target.embedding)
        if near.score > best:
            best, top = near.score, replace(mixture)  # a step replaces the arrays, it does not write into them
        if step < STEPS:
            adam.ascend(mixture, mixture.gradient(near.z, near.y), 1 - 0.75 * step / STEPS)
        if step % SHOW == SHOW - 1:
            yield Progress(job.params.candidates + step + 1, total)
    return top, float(best)
