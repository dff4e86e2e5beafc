"""A program of its own that turns an untrusted picture into a plain PNG, under tight limits; `bot.hand_in` runs it.

`python decoder.py MAX_PIXELS SIDE` reads the file from standard input and writes `ok` and a PNG, or `no` and why, to
standard output. A decoder's bug ends this process alone: it has no secrets, no files to write and little memory and
time. Standard library and Pillow only.
"""

from __future__ import annotations

import io
import resource
import sys
import warnings

MEMORY, SECONDS = 2 << 30, 20
FORMATS = ("PNG", "JPEG", "WEBP")


class NotPlain(Exception):
    """What is wrong with the picture, as the end of a sentence."""


def limit() -> None:
    """Bounded memory and time, nothing to be written, no further process."""
    bounds = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def plain(content: bytes, max_pixels: int, side: int) -> bytes:
    """Upright, RGB, at most `side` pixels a side, as PNG, without whatever else was in the file; NotPlain otherwise."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes and of odd metadata; the checks below decide
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                raise NotPlain(f"is {picture.width} x {picture.height}")
            picture.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    flat = Image.alpha_composite(white, upright).convert("RGB")
    flat.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    flat.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def main() -> None:
    """Answer on standard output."""
    import PIL.Image
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.WebPImagePlugin  # noqa: F401  (loaded before the limits, as the others)

    limit()
    max_pixels, side = (int(word) for word in sys.argv[1:3])
    try:
        answer = b"ok" + plain(sys.stdin.buffer.read(), max_pixels, side)
    except NotPlain as error:
        answer = b"no" + str(error).encode()
    except Exception as error:  # Pillow's decoders raise many kinds; each means that this is no picture
        answer = b"no" + f"cannot be read ({type(error).__name__})".encode()
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
