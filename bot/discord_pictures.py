"""Pictures as Discord takes them: a ladder from the enlarged PNG down to a small JPEG, the first rung that fits.

Knows sizes in bytes and no chat library. Works on a thread: it reads and encodes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bot.enlarge import enlarged

JPEGS = ((1.0, 90), (1.0, 70), (0.5, 80), (0.25, 70))  # share of the shown side, quality


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to send; `name` says nothing of the prompt."""

    name: str
    data: bytes


def fitting(path: Path, name: str, side: int, limit: int) -> Picture | None:
    """The first rung of the ladder with at most `limit` bytes; None if even the last is larger, or the file is gone."""
    try:
        png = path.read_bytes()
    except FileNotFoundError:
        return None
    return next((picture for picture in _ladder(png, name, side) if len(picture.data) <= limit), None)


def whole(path: Path, name: str, limit: int) -> Picture | None:
    """A file as it is; None if it is gone, or larger than `limit` bytes."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return Picture(name, data) if len(data) <= limit else None


def _ladder(png: bytes, name: str, side: int) -> Iterator[Picture]:
    large = enlarged(png, side)
    yield Picture(f"{name}.png", large)
    yield Picture(f"{name}.png", png)
    for share, quality in JPEGS:
        yield Picture(f"{name}.jpg", _jpeg(large, share, quality))


def _jpeg(png: bytes, share: float, quality: int) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        buffer = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()
