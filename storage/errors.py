"""The tree of errors that storage raises; the type decides who sees it.

    DreambotError
    ├── UserError            shown to the person as it is: one sentence that names the allowed values
    └── StorageError         shown to us
        ├── StoreBusy        the database stayed locked
        │   └── StoreLost    the connection to it was lost, and nothing of the call was stored
        ├── StoreFull        no room on the disk
        ├── StoreBroken      the disk or the file is not to be trusted; the process must end
        ├── StoreMoved       it was moved elsewhere and takes nothing more; shown to the person, too
        └── LostClaim        the job is no longer ours: it was rescued, or cancelled

A class's docstring is its default message.
"""

from __future__ import annotations

import inspect


class DreambotError(Exception):
    """Something broke."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)) or "")


class UserError(DreambotError):
    """The request was wrong."""


class StorageError(DreambotError):
    """The store could not do what was asked."""


class StoreBusy(StorageError):
    """The database is locked by another program; try again in a moment."""


class StoreLost(StoreBusy):
    """The connection to the database was lost; nothing of this was stored, so try again in a moment."""


class StoreFull(StorageError):
    """The disk that holds the database is full."""


class StoreBroken(StorageError):
    """The database could not be read or written; this process must not go on."""


class StoreMoved(StorageError):
    """This store has moved; set DREAMBOT_STORE to where it is."""


class LostClaim(StorageError):
    """The job is no longer claimed by this engine."""
