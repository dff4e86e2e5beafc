"""A child process on a leash: it gets SIGTERM when we die, however we die (Linux; elsewhere it outlives our kill -9).

Knows how to start and end a program. Does not know which.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

# The leash is put on by a moment of Python before exec, not by preexec_fn, which is unsafe in a process with threads.
LEASH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]): sys.exit(143)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def leashed(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` on a leash where the system has one; the process id stays the same."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), *command]


async def spawn(command: Sequence[str], log: IO[bytes] | None = None) -> asyncio.subprocess.Process:
    """Start it in a session of its own, so that a Ctrl-C of the terminal reaches only us and we decide."""
    return await asyncio.create_subprocess_exec(
        *leashed(command), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


async def end(process: asyncio.subprocess.Process, grace_s: float) -> int:
    """SIGTERM, then SIGKILL after the grace; returns its exit status."""
    if process.returncode is None:
        send(process, signal.SIGTERM)
    try:
        return await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        send(process, signal.SIGKILL)
        return await process.wait()


def send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
