"""Room on the disk: the floor below which nothing new is accepted, and the ballast that is thrown out in an emergency.

What is accepted must be able to end: its picture, its row and its reply need room too. So `check_floor` refuses new
dreams while there is still some left, and when another program has eaten that as well, deleting the ballast gives what
runs a little more. Knows folders and bytes; nothing of jobs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from storage.errors import StoreFull

MB = 1 << 20
BALLAST = "ballast"


def free(folder: Path) -> int:
    """Bytes that this user may still write below `folder`, or where it would be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_floor(folders: Iterable[Path], floor_mb: int) -> None:
    """StoreFull, in a sentence for the person, if one of the folders has less than `floor_mb` left."""
    left = min(free(folder) for folder in folders)
    if left < floor_mb * MB:
        raise StoreFull(
            f"The disk is nearly full: {left // MB} MB are free, and the last {floor_mb} MB are kept for dreams that "
            "were accepted before. Nothing new is accepted until an admin makes room."
        )


def keep_ballast(home: Path, ballast_mb: int, floor_mb: int) -> bool:
    """Have a file of `ballast_mb` in `home`, if that leaves twice as much above the floor; whether it is there."""
    path = home / BALLAST
    if not ballast_mb:
        path.unlink(missing_ok=True)
        return False
    if path.exists() and path.stat().st_size == ballast_mb * MB:
        return True
    if free(home) < (floor_mb + 3 * ballast_mb) * MB:
        return False
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, ballast_mb * MB)
    return True


def drop_ballast(home: Path) -> None:
    """Make room at once."""
    with suppress(OSError):
        (home / BALLAST).unlink(missing_ok=True)
