"""Who watches while something is fuzzed: no traceback in any log, nothing written outside the folders that are ours."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MADE = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.remove": 0, "os.rmdir": 0, "os.truncate": 0}
TOOLS_OWN = ("__pycache__", "/.hypothesis", "/dev/", "/proc/")


class Witness(logging.Handler):
    """Collects what should not have happened."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        super().__init__(logging.DEBUG)
        self.folders = tuple(os.path.realpath(folder) for folder in folders)
        self.tracebacks: list[str] = []
        self.strays: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """A record with a traceback is one too many."""
        if "Traceback (most recent" in (told := logging.Formatter().format(record)):
            self.tracebacks.append(told)

    def touched(self, event: str, args: tuple[Any, ...]) -> None:
        """A file or folder is about to be made, changed or taken away."""
        if event == "open":
            name, _, flags = args
            path = name if isinstance(flags, int) and flags & WRITES else None
        else:
            path = args[MADE[event]] if event in MADE else None
        if isinstance(path, str | bytes | os.PathLike):
            self._judge(os.fsdecode(path))

    def _judge(self, path: str) -> None:
        real = os.path.realpath(path) if "\0" not in path else path
        if not real.startswith(self.folders) and not any(part in real for part in TOOLS_OWN):
            self.strays.append(real)

    @contextmanager
    def away(self) -> Iterator[None]:
        """While the test itself writes something."""
        _watching.remove(self)
        try:
            yield
        finally:
            _watching.append(self)

    def check(self) -> None:
        """AssertionError if anything was seen; what was seen is forgotten."""
        tracebacks, strays = self.tracebacks, self.strays
        self.tracebacks, self.strays = [], []
        assert not tracebacks, tracebacks[0]
        assert not strays, strays


_watching: list[Witness] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching and (event == "open" or event in MADE):
        _watching[-1].touched(event, args)


sys.addaudithook(_hook)  # there is no way to take one back; it looks only while somebody watches


@contextmanager
def watched(*folders: Path) -> Iterator[Witness]:
    """A witness for the time being; `folders` may be written to."""
    witness = Witness(folders)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(witness)
    _watching.append(witness)
    try:
        yield witness
    finally:
        _watching.remove(witness)
        root.removeHandler(witness)
        root.setLevel(level)
