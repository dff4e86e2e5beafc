"""The best pictures and the busiest dreamers.

Knows scores, votes and counts of completed jobs that nobody has withdrawn; nothing of how a board looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Subquery, cast, func, literal, select

from storage import schema
from storage.database import Database, shielded
from storage.dialects import Whole
from storage.errors import UserError
from storage.job import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One place: of a picture (`dreams` is 1), or of a person (`job` and what follows is their best picture's)."""

    rank: int
    user: str
    name: str
    guild: str
    dreams: int
    votes: int  # for the picture, or for all of the person's
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
        self,
        by: str = "score",
        guild: str | None = None,
        since: float | None = None,
        limit: int = 10,
        *,
        surface: str | None = None,
        user: str | None = None,
    ) -> list[Row]:
        """The best pictures by CLIP score or votes, one a job, or the people with the most dreams.

        A score against words and a picture does not compare with one against words: such dreams are not on the board by
        score. `gallery` has them as well: the most loved first, then by score, then those. Ties go to the earlier. Of
        one guild, of one surface, of one person, of what was finished since, if given.
        """
        if by not in _BOARDS:
            raise UserError(f"A leaderboard is by one of {', '.join(_BOARDS)}; {by!r} is not.")
        query = _BOARDS[by](_best(guild, since, surface, user)).limit(limit)
        async with self._db.read() as connection:
            found = (await connection.execute(query)).all()
        return [Row(rank=rank, **row._mapping) for rank, row in enumerate(found, 1)]


def _best(guild: str | None, since: float | None, surface: str | None, user: str | None) -> Select[Any]:
    """Every completed job with its best picture and its votes."""
    picture, one = schema.image.c, schema.job.c
    votes = select(func.count()).where(schema.vote.c.job == one.id).correlate(schema.job).scalar_subquery()
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
            votes.label("votes"),
            one.params["image"].as_string().is_not(None).label("aimed"),  # at a picture, too
        )
        .join_from(schema.job, schema.flow, one.flow_id == schema.flow.c.id)
        .join(schema.user, schema.flow.c.user_id == schema.user.c.id)
        .join(schema.guild, schema.flow.c.guild_id == schema.guild.c.id)
        .join(schema.image, (picture.job == one.id) & (picture.place == 0), isouter=True)
        .join(schema.withdrawal, schema.withdrawal.c.job == one.id, isouter=True)
        .where(one.state == State.COMPLETED, schema.withdrawal.c.job.is_(None))
    )
    for column, wanted in ((schema.guild.c.name, guild), (schema.user.c.surface, surface), (schema.user.c.user, user)):
        if wanted is not None:
            query = query.where(column == wanted)
    return query if since is None else query.where(one.finished_at >= since)


def _by_score(query: Select[Any]) -> Select[Any]:
    best = query.where(schema.image.c.clip_score.is_not(None)).subquery()
    ranked = _pictures(best).where(~best.c.aimed)
    return ranked.order_by(best.c.score.desc(), best.c.at, best.c.job)


def _by_gallery(query: Select[Any]) -> Select[Any]:
    best = query.where(schema.image.c.sha256.is_not(None)).subquery()
    order = (best.c.votes.desc(), best.c.aimed, best.c.score.desc().nulls_last(), best.c.at, best.c.job)
    return _pictures(best).order_by(*order)


def _pictures(best: Subquery) -> Select[Any]:
    return select(*(best.c[name] for name in _SHOWN), literal(1).label("dreams"))


def _by_votes(query: Select[Any]) -> Select[Any]:
    best = query.subquery()
    return (
        _pictures(best)
        .where(best.c.votes > 0)
        .order_by(best.c.votes.desc(), best.c.score.desc().nulls_last(), best.c.at, best.c.job)
    )


def _by_person(query: Select[Any]) -> Select[Any]:
    """One row a person: their best job, and how many there are."""
    best = query.subquery()
    order = (best.c.score.desc().nulls_last(), best.c.at)
    ranked = select(
        best,
        func.count().over(partition_by=best.c.person).label("dreams"),
        cast(func.sum(best.c.votes).over(partition_by=best.c.person), Whole).label("all_votes"),
        func.row_number().over(partition_by=best.c.person, order_by=order).label("place"),
    ).subquery()
    shown = [ranked.c[name] for name in _SHOWN if name != "votes"]
    first = select(*shown, ranked.c.dreams, ranked.c.all_votes.label("votes")).where(ranked.c.place == 1)
    return first.order_by(ranked.c.dreams.desc(), ranked.c.score.desc().nulls_last(), ranked.c.at)


_SHOWN = ("user", "name", "guild", "job", "prompt", "at", "score", "label", "sha256", "votes")
_BOARDS = {"score": _by_score, "votes": _by_votes, "person": _by_person, "gallery": _by_gallery}
