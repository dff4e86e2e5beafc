"""Small pictures made large enough to look at. The original stays as it is in the store; its recipe travels along.

Knows PNGs only. Pillow is imported when a picture is really enlarged.
"""

from __future__ import annotations

import io


def enlarged(png: bytes, side: int) -> bytes:
    """The picture with its shorter side at least `side` pixels, by Lanczos; unchanged where it is that large."""
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile, PngInfo

    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        if min(image.size) >= side or not isinstance(image, PngImageFile):
            return png
        factor = side / min(image.size)
        size = (round(image.width * factor), round(image.height * factor))
        about = PngInfo()
        for key, value in image.text.items():
            about.add_itxt(key, value)
        buffer = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG", pnginfo=about)
        return buffer.getvalue()
