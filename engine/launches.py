"""Launches: ops of many jobs that run as one device call, and how many rows go into one.

Knows keys, rungs and rows of ops; computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from engine.ops import EncodeImages, EncodeViews, Op, Render


@dataclass(frozen=True, slots=True)
class Launch:
    """Ops of one key that run as one device call, together at most `room_of` rows."""

    ops: tuple[Op, ...]

    @property
    def rung(self) -> int:
        return self.ops[0].rung

    @property
    def rows(self) -> int:
        return sum(op.rows for op in self.ops)

    def parts(self) -> list[Launch]:
        """The same ops as launches of at most a rung's rows."""
        return launches(list(self.ops), lambda op: op.rung)


ROOM: Mapping[type[Op], int] = {EncodeImages: 128, EncodeViews: 256, Render: 16}  # the others fill a rung


def room_of(op: Op) -> int:
    """Rows of one launch with this op, at most."""
    return max(op.rung, ROOM.get(type(op), 0))


def launches(ops: list[Op], room: Callable[[Op], int] = room_of) -> list[Launch]:
    """Ops grouped by key, in order, each group cut where the next op would not fit its room any more."""
    filled: list[list[Op]] = []
    open_: dict[Hashable, list[Op]] = {}
    for op in ops:
        group = open_.get(op.key)
        if group is None or sum(o.rows for o in group) + op.rows > room(op):
            group = open_[op.key] = []
            filled.append(group)
        group.append(op)
    return [Launch(tuple(group)) for group in filled]
