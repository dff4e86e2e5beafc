"""Events: appended facts about jobs and engines. The events table is the wire between bot and engine.

Knows the kinds and what each carries. A lower id never commits after a higher one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened."""

    QUEUED = "queued"  # accepted; data: {}
    STARTED = "started"  # claimed; data: {"attempt": n}
    PROGRESSED = "progressed"  # data: {"done": n, "total": n, "preview": sha256 | null, "score": cosine | null}
    COMPLETED = "completed"  # data: {}; the pictures are in the image table
    FAILED = "failed"  # data: {"reason": ..., "message": ...}
    CANCELLED = "cancelled"  # data: {"by": user}
    CANCEL_REQUESTED = "cancel_requested"  # the job is running; its engine is to stop it
    REQUEUED = "requeued"  # its engine died or drains; data: {"why": "rescue" | "drain"}
    ENGINE_READY = "engine_ready"  # job is null; data: {"owner": ..., "device": ...}
    ENGINE_GONE = "engine_gone"  # job is null; an engine drained and left


FINAL_KINDS = frozenset({Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. `id` is 0 until the store has given it one; `at` is seconds since the epoch."""

    kind: Kind
    job: str | None
    at: float
    id: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
