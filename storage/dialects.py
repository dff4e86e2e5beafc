"""Where the two databases want other words: SQLite, which is the default, and PostgreSQL.

Knows types and sentences of SQL. How each is opened, locked and followed is in `storage.sqlite` and `storage.postgres`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Float, Integer, TextClause, text
from sqlalchemy.dialects.postgresql import insert as upsert  # what it compiles to SQLite understands as well
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine

__all__ = ["CLOCK", "POSTGRESQL", "SQLITE", "Said", "Whole", "now", "partial", "upsert"]

SQLITE, POSTGRESQL = "sqlite", "postgresql"
CLOCK = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"  # PostgreSQL's, as time.time
Whole: TypeEngine[int] = BigInteger().with_variant(Integer(), SQLITE)  # a service counter outgrows 32 bits in an hour


@dataclass(frozen=True, slots=True)
class Said:
    """One statement in both dialects: `sql` with {names} in it, and what each dialect puts there."""

    sql: str
    sqlite: Mapping[str, str]
    postgresql: Mapping[str, str]

    def to(self, connection: AsyncConnection) -> TextClause:
        """As this connection's database wants it."""
        return _filled(self.sql, tuple(getattr(self, connection.dialect.name).items()))


@functools.cache  # SQLAlchemy's own cache is by the text clause's text; this one saves the formatting
def _filled(sql: str, words: tuple[tuple[str, str], ...]) -> TextClause:
    return text(sql.format(**dict(words)))


class now(ColumnElement[float]):  # noqa: N801 - it reads like a function of SQL
    """Seconds since the epoch by the store's own clock, which is the same for every host."""

    inherit_cache = True
    type = Float()


@compiles(now, SQLITE)
def _now_of_sqlite(*_: object, **__: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, POSTGRESQL)
def _now_of_postgresql(*_: object, **__: object) -> str:
    return CLOCK


def partial(condition: str) -> dict[str, Any]:
    """The options of an index of only the rows that satisfy `condition`."""
    return {f"{dialect}_where": text(condition) for dialect in (SQLITE, POSTGRESQL)}
