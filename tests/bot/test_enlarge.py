"""Pictures made large enough to look at."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bot.enlarge import enlarged
from engine.codec import decode, encode

PIXELS = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)


def test_the_shorter_side_becomes_256_and_the_recipe_stays() -> None:
    """64x48 becomes 341x256, with all that stood beside the pixels."""
    png = encode(PIXELS, {"prompt": "青い犬", "seed": 7}, 41, "lemon")
    large = enlarged(png, 256)
    assert Image.open(io.BytesIO(large)).size == (256, 341)
    assert decode(large)[1] == decode(png)[1]


def test_what_is_large_enough_is_left_alone() -> None:
    """Not a byte changes."""
    png = encode(PIXELS, {}, 0, None)
    assert enlarged(png, 48) == png
