"""The concept check: what it compares, and what becomes of a picture that shows something."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.concepts import Concept, read_concepts, verdicts, watched
from engine.methods import Found
from engine.methods.found import Picture
from engine.ops import EncodePicture, EncodeText, Progress, Texts
from storage.errors import UserError
from storage.job import Candidate

GORE = Concept(name="gore", texts=("blood", "a wound"), threshold=0.5, action="withhold")
SWIM = Concept(name="swimwear", texts=("a bikini",), threshold=0.7, action="spoiler")
X, Y, Z = np.eye(3, dtype=np.float32)


def found(*embeddings: Any, stored: bool = True) -> Found:
    """As many pictures; with `stored` each has the embedding that it was scored by."""
    pictures = tuple(Picture(n, "lemon", pixels=np.zeros((2, 2, 3), np.uint8)) for n in range(len(embeddings)))
    rows = [struct.pack("<3e", *row) if stored else None for row in embeddings]
    candidates = tuple(Candidate(number=n, label="lemon", clip_score=0.1, embedding=row) for n, row in enumerate(rows))
    return Found(pictures=pictures, candidates=candidates)


def run(
    result: Found, replies: dict[type, Any], concepts: tuple[Concept, ...] = (GORE, SWIM)
) -> tuple[Found, list[type]]:
    """The wrapped method to its end, each op answered by its kind; what was asked for."""

    def method() -> Any:
        yield Progress(1, 2)
        return result

    ask, asked, reply = watched(method(), "tiny", concepts), [], None
    while True:
        try:
            op = ask.send(reply)
        except StopIteration as end:
            return end.value, asked
        asked.append(type(op))
        reply = replies.get(type(op))


def texts(*rows: Any) -> Texts:
    """The reply to EncodeText."""
    return Texts(np.stack(rows), (None,) * len(rows))


def test_the_nearest_text_of_the_nearest_picture_decides() -> None:
    """One row a concept that is shown, with its score and threshold; what is below is not mentioned."""
    near = (0.8 * X + 0.6 * Y).astype(np.float32)
    assert verdicts((GORE, SWIM), np.stack([Y, Z, X]), np.stack([Z * 0, near])) == (
        {"concept": "gore", "score": 0.6, "threshold": 0.5, "action": "withhold"},
        {"concept": "swimwear", "score": 0.8, "threshold": 0.7, "action": "spoiler"},
    )
    assert verdicts((GORE, SWIM), np.stack([Y, Z, X]), np.stack([0.4 * Y])) == ()


def test_a_stored_embedding_costs_no_picture() -> None:
    """Only the texts are encoded where the method has scored its pictures."""
    end, asked = run(found(X, Y), {EncodeText: texts(Y, Z, Z)})
    assert asked == [Progress, EncodeText]
    assert [row["concept"] for row in end.verdicts] == ["gore"]


def test_a_picture_without_one_is_looked_at() -> None:
    """What a method has made anew is encoded."""
    end, asked = run(found(X, stored=False), {EncodeText: texts(Y, X, Z), EncodePicture: X})
    assert asked == [Progress, EncodePicture, EncodeText]
    assert [row["score"] for row in end.verdicts] == [1.0]


def test_without_concepts_nothing_is_asked() -> None:
    """Who checks nothing pays nothing."""
    end, asked = run(found(X), {}, ())
    assert (end.verdicts, asked) == ((), [Progress])


def test_the_file(tmp_path: Path) -> None:
    """What stands in it, or a sentence that names what is wrong."""
    path = tmp_path / "concepts.toml"
    path.write_text('[[concept]]\nname = "gore"\ntexts = ["blood"]\nthreshold = 0.3\naction = "withhold"\n')
    assert read_concepts(path) == (Concept(name="gore", texts=("blood",), threshold=0.3, action="withhold"),)
    assert read_concepts(None) == ()
    path.write_text('[[concept]]\nname = "gore"\ntexts = []\nthreshold = 3\naction = "burn"\n')
    with pytest.raises(UserError, match=r"action \(withhold or spoiler\); 'gore' has not"):
        read_concepts(path)
    with pytest.raises(UserError, match="DREAMBOT_CONCEPTS is a TOML file"):
        read_concepts(tmp_path / "none")
