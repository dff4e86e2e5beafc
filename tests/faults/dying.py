"""A process that dies of kill -9 before the first call on its disk, before the second, … until no call is left.

Run as `python -m tests.faults.dying EMPTY ROOT STRIDE` with the shim under it: every life is STRIDE calls longer than
the one before, starts from a copy of the home EMPTY in ROOT/N/home, and makes one dream. All are forked from one
parent, so that a hundred deaths cost one import.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import sys
from pathlib import Path

from tests.faults.dreamer import main

DREAMS = 1


def live(home: Path, last_call: int) -> int:
    """One life; its exit status, 9 below zero if it was killed."""
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).disk_rule(f"any {last_call} 0 kill".encode())
        asyncio.run(main(home, DREAMS))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lives(empty: Path, root: Path, stride: int) -> None:
    """All of them."""
    number = 1
    while True:
        home = root / str(number) / "home"
        shutil.copytree(empty, home)
        if (status := live(home, number)) != -9:
            sys.exit(status)
        number += stride


if __name__ == "__main__":
    lives(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
