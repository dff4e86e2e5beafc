"""Which engines are dead, judged by this process's own monotonic clock: no wall clock is compared with another's.

Knows owners and their beat counters. An owner names a process for ever: no restart can have the same one.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def new_owner() -> str:
    """`host:boot:pid:random` of this process."""
    return f"{host()}:{boot()}:{os.getpid()}:{secrets.token_hex(4)}"


def host() -> str:
    """This machine's name, without colons."""
    return socket.gethostname().replace(":", "-")


def boot() -> str:
    """This boot, and the table of process ids that this process sees: a container has its own."""
    return f"{_read('/proc/sys/kernel/random/boot_id')[:8]}-{_pid_table()}"


def is_gone(owner: str) -> bool:
    """Whether the owner's process has certainly ended: it was on this boot of this machine, and is no more."""
    parts = owner.split(":")
    if len(parts) != 4 or parts[:2] != [host(), boot()] or not parts[2].isdigit():
        return False
    return not pid_alive(int(parts[2]))


def pid_alive(pid: int) -> bool:
    """Whether a process runs on this machine; one that ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in (["Z"], ["X"])


class Watch:
    """Remembers when each owner's beat was last seen to move. One for the life of a rescuer."""

    def __init__(
        self,
        silent_s: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        gone: Callable[[str], bool] = is_gone,
        well: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._silent_s = silent_s
        self._clock = clock
        self._gone = gone
        self._well = well  # an owner that certainly lives, whatever its beat: the rescuer itself, on a full disk
        self._seen: dict[str, tuple[int | None, float]] = {}

    def dead(self, beats: Mapping[str, int | None]) -> set[str]:
        """The owners that are gone or silent for too long; one seen for the first time is given the full time."""
        now = self._clock()
        before, self._seen = self._seen, {}
        for owner, beat in beats.items():
            last = before.get(owner)
            stands = last is not None and last[0] == beat and not self._well(owner)
            self._seen[owner] = last if last is not None and stands else (beat, now)
        return {o for o in beats if self._gone(o) or now - self._seen[o][1] >= self._silent_s}


def _pid_table() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
