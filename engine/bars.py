"""Progress of downloads: a bar a file on standard error. Knows bytes and names, nothing of packs."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from engine.fetch import Told


class Bars:
    """`told(name)` is a new bar's function; drawn while the block is open, and only where somebody looks."""

    def __init__(self, console: Console | None = None) -> None:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(TextColumn("{task.description}"), *columns, console=console or Console(stderr=True))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def told(self, name: str) -> Told:
        """A bar for one download: call it with the bytes that are there and that will be."""
        task = self._progress.add_task(name, total=None)

        def tell(there: int, total: int | None) -> None:
            self._progress.update(task, completed=there, total=total)

        return tell
