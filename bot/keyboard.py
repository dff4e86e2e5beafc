"""Lines from the standard input while other things are printed.

Knows terminals and pipes. A daemon thread reads, so that leaving never waits for a key; what reading did to the
terminal's settings is undone at the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

PROMPT = "› "


class Keyboard:
    """The standard input, line by line."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._restore: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        if self.interactive and sys.platform != "win32":
            import termios

            before = termios.tcgetattr(0)
            self._restore = lambda: termios.tcsetattr(0, termios.TCSADRAIN, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._restore()

    async def lines(self) -> AsyncIterator[str]:
        """Every line until the end of the input."""
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def put(line: str | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(lines.put_nowait, line)

        threading.Thread(target=self._read, args=(put,), daemon=True).start()
        while (line := await lines.get()) is not None:
            yield line

    def _read(self, put: Callable[[str | None], None]) -> None:
        if self.interactive:
            with suppress(ImportError):
                import readline  # noqa: F401  (input() edits and remembers lines once this is loaded)
            with suppress(EOFError):
                while True:
                    put(input(PROMPT))
        else:
            # Not sys.stdin: a thread that holds its lock would abort the interpreter's end.
            with os.fdopen(os.dup(0), encoding="utf-8", errors="replace") as file:
                for line in file:
                    put(line)
        put(None)

    def clear(self) -> None:
        """Take the prompt off the screen before something is printed."""
        if self.interactive:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()

    def again(self) -> None:
        """Put the prompt back, with what has been typed so far."""
        if self.interactive:
            readline = sys.modules.get("readline")
            sys.stdout.write(PROMPT + (readline.get_line_buffer() if readline else ""))
            sys.stdout.flush()
