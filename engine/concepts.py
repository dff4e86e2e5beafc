"""What pictures must not show: concepts in words, compared with each kept picture's CLIP embedding.

    [[concept]]
    name = "gore"
    texts = ["a photo of a wound", "a photo of blood"]
    threshold = 0.27           # a cosine of the pack's scorer; `dreambot admin audit` has the scores of past decisions
    action = "withhold"        # or "spoiler": covered until somebody asks to see it

The embedding that the method has scored the picture by is used where there is one, so a check costs one text encoding.
Knows ops and cosines; what becomes of a picture is `storage`'s and the bot's business.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.methods import Found
from engine.methods.found import Picture
from engine.ops import Ask, EncodePicture, EncodeText, Floats, Texts
from storage.errors import UserError

ACTIONS = ("withhold", "spoiler")
KEYS = {"name", "texts", "threshold", "action"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One thing, in several words."""

    name: str
    texts: tuple[str, ...]
    threshold: float
    action: str


def read_concepts(path: Path | None) -> tuple[Concept, ...]:
    """The concepts of a TOML file, none without one; UserError says what is wrong with it."""
    if path is None:
        return ()
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("concept", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"DREAMBOT_CONCEPTS is a TOML file of concepts; {str(path)!r}: {error}.") from None
    return tuple(_concept(path, row) for row in rows)


def _concept(path: Path, row: dict[str, Any]) -> Concept:
    texts, threshold = row.get("texts") or (), row.get("threshold")
    sound = set(row) == KEYS and isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not sound or not isinstance(threshold, int | float) or not -1 <= threshold <= 1 or row["action"] not in ACTIONS:
        raise UserError(
            f"{path}: a concept has name, texts (a list), threshold (-1 to 1) and action ({' or '.join(ACTIONS)}); "
            f"{row.get('name', row)!r} has not."
        )
    return Concept(name=str(row["name"]), texts=tuple(texts), threshold=float(threshold), action=row["action"])


def watched(method: Ask[Found], pack: str, concepts: Sequence[Concept]) -> Ask[Found]:
    """The method, and then a verdict on what it found: one row a concept that some picture shows."""
    found = yield from method
    if not concepts or not found.pictures:
        return found
    embeddings = []
    for picture in found.pictures:
        embedding = _stored(found, picture)
        if embedding is None and picture.pixels is not None:
            embedding = yield EncodePicture(pack, picture.pixels)
        if embedding is not None:
            embeddings.append(embedding)
    texts: Texts = yield EncodeText(pack, tuple(text for concept in concepts for text in concept.texts))
    return replace(found, verdicts=verdicts(concepts, texts.embeddings, np.stack(embeddings)) if embeddings else ())


def verdicts(concepts: Sequence[Concept], texts: Floats, pictures: Floats) -> tuple[dict[str, Any], ...]:
    """Which concepts are shown: the best cosine of any picture (rows, d) with any of a concept's texts (rows, d)."""
    best, at, shown = (pictures.astype(np.float64) @ texts.astype(np.float64).T).max(axis=0), 0, []
    for concept in concepts:
        score = float(best[at : at + len(concept.texts)].max())
        at += len(concept.texts)
        if score >= concept.threshold:
            row = {"concept": concept.name, "score": round(score, 4), "threshold": concept.threshold}
            shown.append(row | {"action": concept.action})
    return tuple(shown)


def _stored(found: Found, picture: Picture) -> Floats | None:
    """The embedding that the candidate was scored by, L2-normalised."""
    for candidate in found.candidates:
        if candidate.number == picture.candidate and candidate.embedding is not None:
            row = np.frombuffer(candidate.embedding, dtype="<f2").astype(np.float32)
            return np.asarray(row / np.linalg.norm(row), dtype=np.float32)
    return None
