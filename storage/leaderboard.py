"""The best pictures and the busiest dreamers.

Knows scores and counts of completed jobs; nothing of how a board looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, literal, select

from storage import schema
from storage.database import Database, shielded
from storage.errors import UserError
from storage.job import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One place: of a picture (`dreams` is 1), or of a person (`job` and what follows is their best picture)."""

    rank: int
    user: str
    name: str
    guild: str
    dreams: int
    score: float | None
    job: str | None
    prompt: str | None
    label: str | None
    sha256: str | None
    at: float | None


class Leaderboard:
    """Who and what is on top."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @shielded
    async def top(
        self, by: str = "score", guild: str | None = None, since: float | None = None, limit: int = 10
    ) -> list[Row]:
        """The best pictures by CLIP score, one a job, or the people with the most dreams; ties go to the earlier."""
        if by not in _BOARDS:
            raise UserError(f"A leaderboard is by one of {', '.join(_BOARDS)}; {by!r} is not.")
        query = _BOARDS[by](_best(guild, since)).limit(limit)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).all()
        return [Row(rank=rank, **row._mapping) for rank, row in enumerate(found, 1)]


def _best(guild: str | None, since: float | None) -> Select[Any]:
    """Every completed job with its best picture."""
    picture, one = schema.image.c, schema.job.c
    query = (
        select(
            schema.user.c.id.label("person"),
            schema.user.c.user,
            schema.user.c.name,
            schema.guild.c.name.label("guild"),
            one.id.label("job"),
            one.params["prompt"].as_string().label("prompt"),
            one.finished_at.label("at"),
            picture.clip_score.label("score"),
            picture.label,
            picture.sha256,
        )
        .join_from(schema.job, schema.flow, one.flow_id == schema.flow.c.id)
        .join(schema.user, schema.flow.c.user_id == schema.user.c.id)
        .join(schema.guild, schema.flow.c.guild_id == schema.guild.c.id)
        .join(schema.image, (picture.job == one.id) & (picture.place == 0), isouter=True)
        .where(one.state == State.COMPLETED)
    )
    if guild is not None:
        query = query.where(schema.guild.c.name == guild)
    return query if since is None else query.where(one.finished_at >= since)


def _by_score(query: Select[Any]) -> Select[Any]:
    best = query.where(schema.image.c.clip_score.is_not(None)).subquery()
    shown = [best.c[name] for name in _SHOWN]
    return select(*shown, literal(1).label("dreams")).order_by(best.c.score.desc(), best.c.at, best.c.job)


def _by_person(query: Select[Any]) -> Select[Any]:
    """One row a person: their best job, and how many there are."""
    best = query.subquery()
    order = (best.c.score.desc().nulls_last(), best.c.at)
    ranked = select(
        best,
        func.count().over(partition_by=best.c.person).label("dreams"),
        func.row_number().over(partition_by=best.c.person, order_by=order).label("place"),
    ).subquery()
    shown = [ranked.c[name] for name in _SHOWN]
    first = select(*shown, ranked.c.dreams).where(ranked.c.place == 1)
    return first.order_by(ranked.c.dreams.desc(), ranked.c.score.desc().nulls_last(), ranked.c.at)


_SHOWN = ("user", "name", "guild", "job", "prompt", "at", "score", "label", "sha256")
_BOARDS = {"score": _by_score, "person": _by_person}
