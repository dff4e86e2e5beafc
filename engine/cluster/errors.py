"""What can go wrong between the controller and an engine that it placed."""

from __future__ import annotations

from storage.errors import DreambotError


class EngineLost(DreambotError):
    """The engine's process, its node or the way to it is gone for good."""


class ClusterLost(DreambotError):
    """The cluster itself does not answer."""
