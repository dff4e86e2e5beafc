"""An engine's heartbeat: one transaction a second, on a thread and a connection of its own.

So a long step does not stop it. Knows nothing of jobs: one beat is for all that the engine runs. `allow` is the
watchdog's word: while it says no, because no step has ended for too long, the beat stops and others may rescue.
When it beat is written by the store's own clock, unless there is another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from storage import sqlite
from storage.errors import StorageError
from storage.rescue import new_owner

if TYPE_CHECKING:
    from storage.settings import StoreSettings

__all__ = ["Heart", "new_owner"]

log = logging.getLogger(__name__)


class Heart(threading.Thread):
    """Beats for a registered `owner` from `start()` to `stop()`."""

    def __init__(
        self,
        settings: StoreSettings,
        owner: str,
        *,
        allow: Callable[[], bool] = lambda: True,
        every_s: float = 1.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(name="heart", daemon=True)
        self._beats = _beats(settings)
        self._owner = owner
        self._allow = allow
        self._every_s = every_s
        self._clock = clock
        self._stop_now = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """The first beat, at once and on the caller's thread, then the others."""
        self.beat()
        super().start()

    def run(self) -> None:
        """Beat until stopped. A beat that fails is logged and tried again: silence is for the rescuer to judge."""
        while not self._stop_now.wait(self._every_s):
            if self._allow():
                try:
                    self.beat()
                except StorageError as error:
                    log.warning("A beat failed: %s", error)

    def beat(self) -> None:
        """One beat."""
        self._beats.beat(self._owner, None if self._clock is None else self._clock())

    def stop(self) -> None:
        """No more beats; returns when the thread has ended."""
        self._stop_now.set()
        if self.is_alive():
            self.join()
        self._beats.close()


class Beats(Protocol):
    """How a beat gets into the store."""

    def beat(self, owner: str, at: float | None) -> None: ...
    def close(self) -> None: ...


def _beats(settings: StoreSettings) -> Beats:
    if not settings.on_server:
        return sqlite.Beats(settings)
    from storage import postgres

    return postgres.Beats(settings)
