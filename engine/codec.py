"""PNG with its recipe inside, and back. Knows pixels and metadata; stores nothing."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from storage.recipe import canonical, digest

KEY = "dreambot"  # the PNG text chunk that holds {"recipe", "recipe_digest", "candidate", "label"}


def encode(pixels: NDArray[np.uint8], recipe: Mapping[str, Any], candidate: int, label: str | None) -> bytes:
    """A PNG of (height, width, 3) uint8 pixels. The same arguments give the same bytes."""
    about = {"recipe": recipe, "recipe_digest": digest(recipe), "candidate": candidate, "label": label}
    info = PngInfo()
    info.add_text("Software", "dreambot")
    info.add_itxt(KEY, canonical(about))
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGB").save(buffer, "PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def decode(png: bytes) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Pixels (height, width, 3) and what `encode` wrote beside them; an empty dict for a PNG that is not ours."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        pixels = np.asarray(image.convert("RGB"))
        about = image.info.get(KEY)
    return pixels, json.loads(about) if about else {}


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """sha256 of the decoded RGB bytes, row by row: what `again` compares."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
