"""PNG with its recipe inside."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from engine.codec import decode, encode, pixels_sha256

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
RECIPE = {"prompt": "ein blauer Hund – 青い犬", "seed": 7}


def test_pixels_and_recipe_come_back() -> None:
    """What was written beside the pixels is read back, in any script."""
    pixels, about = decode(encode(PIXELS, RECIPE, 41, "lemon"))
    assert (pixels == PIXELS).all()
    assert about["recipe"] == RECIPE
    assert (about["candidate"], about["label"]) == (41, "lemon")


def test_the_same_picture_is_the_same_file() -> None:
    """No time, no id: equal arguments give equal bytes."""
    assert encode(PIXELS, RECIPE, 1, None) == encode(PIXELS.copy(), dict(reversed(RECIPE.items())), 1, None)


def test_pixels_sha256_is_that_of_the_decoded_rgb_bytes() -> None:
    """Anybody can check it with Pillow alone."""
    with Image.open(io.BytesIO(encode(PIXELS, RECIPE, 1, None))) as image:
        raw = image.convert("RGB").tobytes()
    assert pixels_sha256(PIXELS) == hashlib.sha256(raw).hexdigest()


def test_a_png_that_is_not_ours_has_no_recipe() -> None:
    """Foreign files decode, with nothing beside them."""
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    assert decode(buffer.getvalue())[1] == {}
