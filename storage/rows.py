"""Jobs as rows: the one SELECT that makes a Job, and how a Job's parts are written.

Knows which column holds which field; nothing of states or turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema
from storage.job import Caller, Candidate, Image, Job, Params, Reason, Request, State, Withdrawn

_CALCULATED = {"caller", "params", "state", "reason", "images", "withdrawn"}
AS_THEY_ARE = [field.name for field in fields(Job) if field.name not in _CALCULATED]
OF_AN_IMAGE = [field.name for field in fields(Image)]
_VOTES = select(func.count()).where(schema.vote.c.job == schema.job.c.id).correlate(schema.job).scalar_subquery()
OF_A_CANDIDATE = [field.name for field in fields(Candidate)]


def jobs() -> Select[Any]:
    """Every job with its caller; to be narrowed by `where`."""
    return (
        select(
            schema.job,
            schema.user.c.surface,
            schema.user.c.user,
            schema.user.c.name.label("user_name"),
            schema.guild.c.name.label("guild"),
            schema.withdrawal.c.kind.label("withdrawn"),
            _VOTES.label("votes"),
        )
        .join_from(schema.job, schema.flow, schema.job.c.flow_id == schema.flow.c.id)
        .join(schema.user, schema.flow.c.user_id == schema.user.c.id)
        .join(schema.guild, schema.flow.c.guild_id == schema.guild.c.id)
        .join(schema.withdrawal, schema.withdrawal.c.job == schema.job.c.id, isouter=True)
    )


async def fetch(connection: AsyncConnection, query: Select[Any]) -> list[Job]:
    """The jobs of a narrowed `jobs()`, with their images."""
    rows = (await connection.execute(query)).all()
    images = await _images(connection, [row.id for row in rows if row.state == State.COMPLETED])
    return [_job(row, images.get(row.id, [])) for row in rows]


def job_values(request: Request) -> dict[str, Any]:
    """The columns that a request decides."""
    return {
        "event_key": request.event_key,
        "params": request.params.to_json(),
        "pack": request.params.pack,
        "reply_to": request.reply_to,
        "parent": request.parent,
        "again_of": request.again_of,
    }


def image_values(job_id: str, images: Iterable[Image]) -> list[dict[str, Any]]:
    """Rows for the image table, best first."""
    return [{"job": job_id, "place": place, **asdict(image)} for place, image in enumerate(images)]


def candidate_values(job_id: str, candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """Rows for the candidate table."""
    return [{"job": job_id, **{name: getattr(one, name) for name in OF_A_CANDIDATE}} for one in candidates]


def candidate(row: Row[Any]) -> Candidate:
    """A row of the candidate table as a Candidate."""
    return Candidate(**{name: getattr(row, name) for name in OF_A_CANDIDATE})


async def _images(connection: AsyncConnection, job_ids: Sequence[str]) -> dict[str, list[Image]]:
    found: dict[str, list[Image]] = {}
    if job_ids:
        query = select(schema.image).where(schema.image.c.job.in_(job_ids)).order_by(schema.image.c.place)
        for row in await connection.execute(query):
            found.setdefault(row.job, []).append(Image(**{name: getattr(row, name) for name in OF_AN_IMAGE}))
    return found


def _job(row: Row[Any], images: Sequence[Image]) -> Job:
    return Job(
        caller=Caller(user=row.user, name=row.user_name, guild=row.guild, surface=row.surface),
        params=Params.from_json(row.params),
        state=State(row.state),
        reason=Reason(row.reason) if row.reason else None,
        withdrawn=Withdrawn(row.withdrawn) if row.withdrawn else None,
        images=tuple(images),
        **{name: getattr(row, name) for name in AS_THEY_ARE},
    )
