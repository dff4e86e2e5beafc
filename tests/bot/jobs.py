"""Jobs for the tests of cards and reports."""

from __future__ import annotations

from typing import Any

from storage.job import Caller, Image, Job, Params, State

ADA = Caller(user="ada", name="ada")
IMAGE = Image(
    sha256="a" * 64, pixels_sha256="b" * 64, width=64, height=64, candidate=41, label="lemon", clip_score=0.31
)


def job(prompt: str = "a lemon", **values: Any) -> Job:
    """A completed job, unless `values` say otherwise."""
    usual: dict[str, Any] = {
        "id": "k7f3q2",
        "caller": ADA,
        "params": Params(prompt=prompt, seed=7),
        "state": State.COMPLETED,
        "created_at": 100.0,
        "started_at": 100.01,
        "first_image_at": 100.4,
        "finished_at": 101.9,
        "images": (IMAGE,),
        "recipe_digest": "c" * 64,
    }
    return Job(**(usual | values))
