"""Pictures that people hand in: read with care, made small and plain, and stored by their content.

Knows files; not what a picture is for. Decoding is a child's work (`bot.decoder`). What is stored is our own PNG of the
decoded pixels: upright, RGB, at most SIDE pixels a side, without whatever else was in the file. The same picture handed
in twice is one file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bot import decoder
from storage.errors import UserError
from storage.images import ImageStore

MAX_BYTES = 10_000_000
MAX_PIXELS = 40_000_000  # of the file; what is stored has at most SIDE x SIDE
SIDE = 512
PATIENCE_S = 60.0  # the child has far less of the processor's time
ALLOWED = f"A picture is a PNG, JPEG or WebP file of at most {MAX_BYTES // 1_000_000} MB and 40 million pixels"


def hand_in(content: bytes, images: ImageStore) -> str:
    """Store a picture; its digest, as `Params` hold it. UserError for what is not a picture, or too large."""
    if len(content) > MAX_BYTES:
        raise UserError(f"{ALLOWED}; this one is larger.")
    return images.put(_plain(content))


def hand_in_file(path: Path, images: ImageStore, option: str = "--image") -> str:
    """The same for a file on this machine, named by an option."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{option} names a file that can be read; {str(path)!r}: {error.strerror}.") from None
    return hand_in(content, images)


def _plain(content: bytes) -> bytes:
    """Decoded by a child that has limits and no secrets; one that dies has met a picture that is none."""
    command = [sys.executable, "-I", decoder.__file__, str(MAX_PIXELS), str(SIDE)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, env={}, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{ALLOWED}; this one takes too long to read.") from None
    if done.returncode == 0 and done.stdout[:2] == b"ok":
        return done.stdout[2:]
    why = done.stdout[2:].decode() if done.returncode == 0 else "cannot be read"
    raise UserError(f"{ALLOWED}; this one {why}.")
