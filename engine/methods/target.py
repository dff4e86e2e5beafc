"""What pictures are scored against: the parts of a prompt, and a picture that was handed in, as one unit vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.latents import LatentSpace
from engine.methods.found import Past
from engine.ops import Ask, EncodePicture, EncodeText, Floats, Texts, Tower
from storage.errors import UserError
from storage.job import Job
from storage.prompt import Part

LEAST = 1e-3  # a weighted sum that is shorter points nowhere


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A direction on CLIP's sphere, (d,) float32 of unit length; what was asked for in words, and what was not."""

    embedding: Floats
    said: str
    unsaid: str = ""
    note: str | None = None


def encode_target(job: Job, space: LatentSpace, past: Past | None, tower: Tower = Tower.SCORER) -> Ask[Target]:
    """The job's whole target: every part of its prompt, and its picture with the weight 1.

    A score is the cosine to this one vector: the sum of the parts' unit embeddings times their weights, plus the
    picture's unit embedding, brought back to unit length (algorithms: idea 18). One part alone is its own embedding,
    to the last bit, whatever its weight.
    """
    pixels = past.picture if past is not None else None
    picture: Floats | None = None
    if job.params.image is not None:
        if pixels is None:
            raise UserError("The picture that this dream starts from is no longer stored; hand it in again.")
        picture = yield EncodePicture(space.pack, pixels, tower)
    return (yield from encode_parts(space, job.params.parts, picture, tower))


def encode_parts(
    space: LatentSpace, parts: Sequence[Part], picture: Floats | None = None, tower: Tower = Tower.SCORER
) -> Ask[Target]:
    """The target of these parts."""
    texts: Texts = yield EncodeText(space.pack, tuple(part.text for part in parts), tower)
    said = [part.text for part in parts if part.weight > 0]
    unsaid = [part.text for part in parts if part.weight < 0]
    cut = next((cut for cut in texts.cut if cut is not None), None)
    note = None if cut is None else f"The prompt is longer than CLIP reads; it was read up to: “…{cut[-40:]}”."
    return Target(_sum(parts, texts.embeddings, picture), " | ".join(said), " | ".join(unsaid), note)


def _sum(parts: Sequence[Part], embeddings: Floats, picture: Floats | None) -> Floats:
    if len(parts) == 1 and picture is None:
        only: Floats = embeddings[0]
        return only
    total: NDArray[np.float64] = np.zeros(embeddings.shape[1])
    for part, embedding in zip(parts, embeddings, strict=True):
        total = total + part.weight * embedding.astype(np.float64)
    if picture is not None:
        total = total + picture.astype(np.float64)
    length = float(np.sqrt((total * total).sum()))
    if length < LEAST:
        raise UserError("The parts of this prompt cancel each other out; give one of them another weight.")
    direction: Floats = (total / length).astype(np.float32)
    return direction
