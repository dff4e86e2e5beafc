"""Pictures that people hand in: read with care, made small and plain, and stored by their content.

Knows files and Pillow; not what a picture is for. What is stored is our own PNG of the decoded pixels: upright, RGB, at
most SIDE pixels a side, without whatever else was in the file. The same picture handed in twice is one file.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from storage.errors import UserError
from storage.images import ImageStore

MAX_BYTES = 10_000_000
MAX_PIXELS = 40_000_000  # of the file; what is stored has at most SIDE x SIDE
SIDE = 512
FORMATS = ("PNG", "JPEG", "WEBP")
ALLOWED = f"A picture is a PNG, JPEG or WebP file of at most {MAX_BYTES // 1_000_000} MB and 40 million pixels"


def hand_in(content: bytes, images: ImageStore) -> str:
    """Store a picture; its digest, for `Params.image`. UserError for what is not a picture, or too large."""
    if len(content) > MAX_BYTES:
        raise UserError(f"{ALLOWED}; this one is larger.")
    return images.put(_plain(content))


def hand_in_file(path: Path, images: ImageStore) -> str:
    """The same for a file on this machine."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"--image names a file that can be read; {str(path)!r}: {error.strerror}.") from None
    return hand_in(content, images)


def _plain(content: bytes) -> bytes:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes and of odd metadata; the checks below decide
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise UserError(f"{ALLOWED}; this one is {picture.width} x {picture.height}.")
                picture.draft("RGB", (SIDE, SIDE))
                upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds; each means that this is no picture
        raise UserError(f"{ALLOWED}; this one cannot be read ({type(error).__name__}).") from None
    white = Image.new("RGBA", upright.size, "white")
    flat = Image.alpha_composite(white, upright).convert("RGB")
    flat.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    flat.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
