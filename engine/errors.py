"""The tree of errors that the engine raises.

    DreambotError (storage.errors)
    ├── UserError              shown to the person as it is
    │   └── UnknownPack
    └── EngineError            shown to us
        ├── BadWeights         a file is missing, changed, or of another layout; the message names which
        ├── PullFailed         weights could not be pulled; the message is one sentence for the person at the terminal
        │   └── Unreachable    no connection came about
        └── DeviceBusy         another engine holds this device and store

A class's docstring is its default message.
"""

from __future__ import annotations

from storage.errors import DreambotError, UserError


class UnknownPack(UserError):
    """There is no such pack."""


class EngineError(DreambotError):
    """The engine could not do what was asked."""


class BadWeights(EngineError):
    """A weights file is missing or not what its pack says."""


class PullFailed(EngineError):
    """Weights could not be pulled."""


class Unreachable(PullFailed):
    """There is no way to the source from here."""


class DeviceBusy(EngineError):
    """Another engine works on this device for this store."""
