"""Giving way to other programs: a nice value that counts outside the engine's own session, too.

Linux with autogroup scheduling (most desktops and servers) shares the processor between sessions first and by nice
values only within one (sched(7), "The autogroup feature"). A supervisor starts the engine in a session of its own, so
that its nice value alone would change nothing for the bot. Knows nothing of what the engine does.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def give_way(autogroup: Path = AUTOGROUP) -> None:
    """Let this process's nice value hold for its session, if it leads one; no error where that cannot be."""
    value = os.nice(0)
    if value > 0 and os.getsid(0) == os.getpid() and autogroup.exists():
        with suppress(OSError):  # the kernel takes a value every 100 ms, and containers may not write here
            autogroup.write_text(f"{value}\n", encoding="ascii")
