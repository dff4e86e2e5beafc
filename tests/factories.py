"""Makers of the storage's facts, with everything that a test does not care about filled in."""

from __future__ import annotations

import struct
from typing import Any

from storage.job import Caller, Candidate, Image, Params, Request, Result


def make_caller(user: str = "ada", **values: Any) -> Caller:
    """A person of the local guild."""
    return Caller(**{"user": user, "name": user.title(), **values})


def make_params(prompt: str = "a blue dog", **values: Any) -> Params:
    """A search with a fixed seed."""
    return Params(**{"prompt": prompt, "seed": 7, **values})


def make_request(user: str = "ada", *, guild: str = "local", surface: str = "local", **values: Any) -> Request:
    """A request of that person."""
    caller = make_caller(user, guild=guild, surface=surface)
    return Request(**{"caller": caller, "params": make_params(), **values})


def make_image(number: int = 0, score: float = 0.3, **values: Any) -> Image:
    """A kept picture; its digests follow from the number."""
    digests = {"sha256": f"{number:064x}", "pixels_sha256": f"{number + 1:064x}"}
    size = {"width": 64, "height": 64, "candidate": number, "label": "lemon"}
    return Image(**{**digests, **size, "clip_score": score, **values})


def make_candidate(number: int = 0, score: float = 0.3) -> Candidate:
    """A scored draw with a small embedding."""
    return Candidate(number=number, label="lemon", clip_score=score, embedding=struct.pack("<4e", number % 7, 1, 2, 3))


def make_result(pictures: int = 1, draws: int = 2, **values: Any) -> Result:
    """What a completed search leaves behind."""
    made: dict[str, Any] = {
        "images": tuple(make_image(number, 0.3 - number / 100) for number in range(pictures)),
        "candidates": tuple(make_candidate(number) for number in range(draws)),
        "recipe": {"method": "search", "seed": 7},
        "recipe_digest": "d" * 64,
        "trace": {"device": "cpu"},
        "used": 1.0,
    }
    return Result(**{**made, **values})
