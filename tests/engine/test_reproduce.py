"""Again, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.codec import encode, pixels_sha256
from engine.reproduce import compare
from storage.images import ImageStore
from storage.job import Image, Job

BLACK = np.zeros((8, 8, 3), np.uint8)


def kept(store: ImageStore, pixels: np.ndarray) -> Image:
    """A stored picture."""
    sha = store.put(encode(pixels, {}, 0, None))
    return Image(sha256=sha, pixels_sha256=pixels_sha256(pixels), width=8, height=8, candidate=0)


def test_equal_pixels_are_identical(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    """Nothing differs, so there is no difference to tell."""
    store = ImageStore(tmp_path)
    image = kept(store, BLACK)
    original = replace(make_job(), images=(image,), recipe={"seed": 7}, trace={"torch": "2.11"})
    assert compare(original, [image], {"seed": 7}, {"torch": "2.15"}, store) == (True, None)


def test_what_differs_is_measured_and_explained(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    """One pixel of 64, by 9 of 255, under another torch."""
    store = ImageStore(tmp_path)
    other = BLACK.copy()
    other[0, 0, 1] = 9
    original = replace(
        make_job(), images=(kept(store, BLACK),), recipe={"seed": 7}, trace={"torch": "2.11", "seconds": 1}
    )
    identical, difference = compare(original, [kept(store, other)], {"seed": 7}, {"torch": "2.15", "seconds": 2}, store)
    assert not identical
    assert difference == {"pixels": 1 / 64, "max": 9, "changed": ["torch 2.11 -> 2.15"]}


def test_a_lost_file_is_said_not_guessed(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    """Where the first picture is gone the share is unknown, not zero."""
    store = ImageStore(tmp_path)
    gone = Image(sha256="0" * 64, pixels_sha256="1" * 64, width=8, height=8, candidate=0)
    original = replace(make_job(), images=(gone,), recipe={"seed": 7}, trace={})
    identical, difference = compare(original, [kept(store, BLACK)], {"seed": 7}, {}, store)
    assert not identical
    assert difference == {"pixels": None, "max": None, "changed": []}
