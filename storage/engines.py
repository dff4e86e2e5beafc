"""What engines say of themselves: who is there, and which packs and methods they offer.

The bot reads here what it must know beforehand; it never asks an engine. Knows nothing of jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, select

from storage import schema
from storage.database import Database, shielded
from storage.dialects import now, upsert
from storage.events import Kind
from storage.rescue import is_gone


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine process."""

    owner: str
    pid: int
    host: str
    boot: str
    device: str
    dtype: str
    started_at: float
    packs: Sequence[str] = field(default_factory=list)
    beat: int = 0
    beat_at: float | None = None  # by the store's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRow:
    """One pack as an engine last published it; `digest` is None until one did."""

    name: str
    digest: str | None
    labels: int
    label_names: Sequence[str] = field(default_factory=list)
    methods: Sequence[str] = field(default_factory=list)
    resolution: int = 0
    offered: bool = True
    seconds_per_candidate: float | None = None  # not measured yet


class Engines:
    """The engine and pack tables."""

    def __init__(self, db: Database, *, clock: Callable[[], float] | None = None) -> None:
        self._db = db
        self._clock = clock or time.time
        self._now: float | ColumnElement[float] | None = None if clock else now()  # of the store, whose host ever asks

    @shielded
    async def register(self, row: EngineRow) -> None:
        """The engine is there; it says later that it is ready."""
        values = {**asdict(row), "packs": list(row.packs), "beat_at": row.beat_at or self._at()}
        async with self._db.write() as connection:
            new = upsert(schema.engine).values(values)
            await connection.execute(new.on_conflict_do_update(index_elements=["owner"], set_=values))

    @shielded
    async def ready(self, owner: str, device: str) -> None:
        """The engine takes jobs from now on; whoever follows the feed hears of it."""
        async with self._db.write() as connection:
            await connection.execute(self._event(Kind.ENGINE_READY, {"owner": owner, "device": device}))

    @shielded
    async def leave(self, owner: str) -> None:
        """The engine has given back its jobs and goes."""
        gone = delete(schema.engine).where(schema.engine.c.owner == owner)
        async with self._db.write() as connection:
            if (await connection.execute(gone)).rowcount:
                await connection.execute(self._event(Kind.ENGINE_GONE, {"owner": owner}))

    @shielded
    async def alive(self, silent_s: float) -> list[EngineRow]:
        """Engines that beat within `silent_s` by the store's clock and whose process is not known to have ended."""
        since = self._at() - silent_s
        query = select(schema.engine).where(schema.engine.c.beat_at >= since).order_by(schema.engine.c.started_at)
        async with self._db.read() as connection:
            found = [_of(EngineRow, row) for row in await connection.execute(query)]
        return [row for row in found if not is_gone(row.owner)]

    @shielded
    async def known(self) -> list[EngineRow]:
        """Every engine that has not left, dead ones too, the oldest first."""
        async with self._db.read() as connection:
            query = select(schema.engine).order_by(schema.engine.c.started_at)
            return [_of(EngineRow, row) for row in await connection.execute(query)]

    @shielded
    async def publish_pack(self, row: PackRow) -> None:
        """Say what a pack is; the last engine to say so is right."""
        values = {**asdict(row), "label_names": list(row.label_names), "methods": list(row.methods)}
        new = upsert(schema.pack).values(values)
        async with self._db.write() as connection:
            await connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=values))

    @shielded
    async def packs(self) -> list[PackRow]:
        """Every pack, by name."""
        async with self._db.read() as connection:
            return [_of(PackRow, row) for row in await connection.execute(select(schema.pack).order_by("name"))]

    def _at(self) -> Any:
        return self._clock() if self._now is None else self._now

    def _event(self, kind: Kind, data: dict[str, Any]) -> Any:
        return insert(schema.event).values(kind=kind.value, job=None, at=self._clock(), data=data)


def _of(cls: Any, row: Row[Any]) -> Any:
    return cls(**{field.name: getattr(row, field.name) for field in fields(cls)})
