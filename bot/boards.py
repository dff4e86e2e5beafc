"""Cards that are lists: queue, history, leaderboard, gallery, own defaults, and any other table of plain facts.

Knows how rows become cells for people; `rows` stay the same facts for a machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.cards import Card, Field, Standing, Tone, cut, span
from storage.job import Job

NAMES = 60  # characters of a name in a title or a row


def queue_card(standings: Sequence[Standing], *, engine: bool, paused: bool, guilds: bool = False) -> Card:
    """Who waits and who runs, in the order in which they will be served; with whose guild, if there are several."""
    notes = [
        "The queue is paused." if paused else "",
        "" if engine else "The engine is not running.",
        "" if standings else "Nothing waits and nothing runs.",
    ]
    guilds = guilds and len({(s.job.caller.surface, s.job.caller.guild) for s in standings}) > 1
    engines = len({s.engine for s in standings if s.engine}) > 1
    return Card(
        tone=Tone.INFO,
        title="Queue",
        text=" ".join(note for note in notes if note),
        columns=("", "job", "who", *(("guild",) if guilds else ()), "prompt", "done in", *(("on",) if engines else ())),
        cells=tuple(_queue_cells(standing, guilds=guilds, engines=engines) for standing in standings),
        rows=tuple(_queue_row(standing) for standing in standings),
    )


def _queue_cells(standing: Standing, *, guilds: bool, engines: bool) -> tuple[str, ...]:
    job = standing.job
    rank = "runs" if standing.position == 0 else f"#{standing.position}"
    place = (f"{job.caller.surface} {job.caller.guild}",) if guilds else ()
    done = span(standing.eta) if standing.eta else "–"
    where = (cut(standing.engine or "", NAMES),) if engines else ()
    return rank, job.id, cut(job.caller.name, NAMES), *place, cut(job.params.prompt), done, *where


def _queue_row(standing: Standing) -> dict[str, Any]:
    eta = standing.eta
    return brief(standing.job) | {
        "position": standing.position,
        "eta_seconds": None if eta is None else [round(second, 2) for second in eta],
        "engine": standing.engine,
    }


def history_card(jobs: Sequence[Job]) -> Card:
    """A person's own jobs, latest first."""
    return Card(
        tone=Tone.INFO,
        title="History",
        text="" if jobs else "No dreams yet.",
        columns=("job", "state", "score", "prompt"),
        cells=tuple((job.id, job.withdrawn or job.state, _score(job), cut(job.params.prompt)) for job in jobs),
        rows=tuple(brief(job) for job in jobs),
    )


def _score(job: Job) -> str:
    score = job.images[0].clip_score if job.images else None
    return "–" if score is None else f"{score:.3f}"


def brief(job: Job) -> dict[str, Any]:
    """A job as one flat row."""
    best = job.images[0] if job.images else None
    return {
        "job": job.id,
        "state": job.state.value,
        "user": job.caller.user,
        "guild": job.caller.guild,
        "prompt": job.params.prompt,
        "method": job.params.method.value,
        "pack": job.params.pack,
        "seed": job.params.seed,
        "score": best.clip_score if best else None,
        "label": best.label if best else None,
        "votes": job.votes,
        "withdrawn": job.withdrawn,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    }


def table_card(title: str, rows: Sequence[Mapping[str, Any]], *, empty: str, columns: Sequence[str]) -> Card:
    """Rows of plain facts: leaderboards, audit logs, statistics."""
    return Card(
        tone=Tone.INFO,
        title=title,
        text="" if rows else empty,
        columns=tuple(columns),
        cells=tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows),
        rows=tuple(rows),
    )


def leaderboard_card(rows: Sequence[Mapping[str, Any]], by: str, period: str = "ever") -> Card:
    """The best or most loved pictures, or the busiest dreamers with their best."""
    columns = {
        "score": ("rank", "score", "name", "label", "job", "prompt"),
        "votes": ("rank", "votes", "score", "name", "job", "prompt"),
        "person": ("rank", "name", "dreams", "votes", "score", "job", "prompt"),
    }[by]
    title = "Leaderboard" if period == "ever" else f"Leaderboard of the {period}"
    title += ", scores by CLIP"
    return table_card(title, rows, empty="Nobody has dreamed here yet.", columns=columns)


def gallery_card(rows: Sequence[Mapping[str, Any]], of: str, period: str = "ever") -> Card:
    """The best pictures, with what they are."""
    whose = {"me": "your", "guild": "the guild's"}.get(of, f"{cut(of, NAMES)}'s")
    title = f"Gallery: {whose} best" + ("" if period == "ever" else f" of the {period}")
    table = table_card(
        title, rows, empty="No pictures yet.", columns=("rank", "score", "votes", "name", "job", "prompt")
    )
    return Card(
        tone=table.tone,
        title=table.title,
        text=table.text,
        columns=table.columns,
        cells=table.cells,
        rows=table.rows,
        images=tuple(str(row["sha256"]) for row in rows if row["sha256"]),
    )


def settings_card(own: Mapping[str, Any]) -> Card:
    """A person's own defaults."""
    return Card(
        tone=Tone.INFO,
        title="Your defaults",
        text="What a dream of yours takes where an option is not given. A value changes one, `none` takes it back.",
        fields=tuple(Field(name, "–" if value is None else str(value)) for name, value in own.items()),
        rows=(dict(own),),
        private=True,
    )


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else cut(str(value))
