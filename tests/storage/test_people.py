"""Bans, limits, weights, the audit log and the leaderboard."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.errors import UserError
from storage.leaderboard import Leaderboard
from storage.queue import Queue
from storage.users import Users
from tests.factories import make_caller, make_image, make_params, make_request, make_result


async def test_bans(db: Database) -> None:
    """A ban holds for one person of one surface, known before or not."""
    users = Users(db)
    await users.ban("discord", "ada")
    assert await users.is_banned(make_caller("ada", surface="discord"))
    assert not await users.is_banned(make_caller("ada"))
    await users.unban("discord", "ada")
    assert not await users.is_banned(make_caller("ada", surface="discord"))


async def test_unbanned_have_no_credit(queue: Queue, db: Database) -> None:
    """Who was banned while others were served does not make up for it afterwards."""
    users = Users(db)
    for _ in range(6):
        await queue.submit(make_request("ada"))
        await queue.submit(make_request("bob"))
    await users.ban("local", "ada")
    for _ in range(4):
        (job,) = await queue.claim("engine", 1)
        await queue.complete(job, make_result())
    await users.unban("local", "ada")
    started = []
    for _ in range(4):
        (job,) = await queue.claim("engine", 1)
        started.append(job.caller.user)
        await queue.complete(job, make_result())
    assert started.count("ada") == 2


async def test_weights(queue: Queue, db: Database) -> None:
    """Twice the weight is twice the service, for people and for guilds."""
    users = Users(db)
    await users.weigh_user("local", "ada", 2.0)
    await users.weigh_guild("local", "big", 2.0)
    for _ in range(12):
        for user, guild in (("ada", "big"), ("bob", "big"), ("eve", "small")):
            await queue.submit(make_request(user, guild=guild))
    started = []
    for _ in range(18):
        (job,) = await queue.claim("engine", 1)
        started.append(job.caller.user)
        await queue.complete(job, make_result(used=1.0))
    assert [started.count(user) for user in ("ada", "bob", "eve")] == [8, 4, 6]
    for weight in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(UserError, match=r"from 0\.01 to 100"):
            await users.weigh_user("local", "ada", weight)


async def test_audit(db: Database) -> None:
    """Decisions are written down with who made them, newest first."""
    users = Users(db)
    for verb in ("ban", "unban"):
        await users.audit(make_caller("root", admin=True), verb, "discord:ada", {"why": "spam"})
    rows = await users.audit_log(1)
    assert [(row.who, row.verb, row.target, row.detail) for row in rows] == [
        ("local:root", "unban", "discord:ada", {"why": "spam"})
    ]


async def finish(queue: Queue, user: str, score: float | None, guild: str = "local") -> str:
    """A completed job whose best picture has this score."""
    job = await queue.submit(make_request(user, guild=guild, params=make_params(f"{user}'s dream")))
    (claimed,) = await queue.claim("engine", 1)
    await queue.complete(claimed, make_result(images=(make_image(1, clip_score=score), make_image(2, clip_score=0.99))))
    return job.id


async def test_best_pictures(queue: Queue, db: Database) -> None:
    """The board of pictures has every job's best picture, the highest score first; unscored ones are not on it."""
    low, high = await finish(queue, "ada", 0.2), await finish(queue, "bob", 0.4, guild="other")
    await finish(queue, "eve", None)
    await queue.submit(make_request())
    rows = await Leaderboard(db).top()
    assert [(row.rank, row.job, row.name, row.score, row.prompt) for row in rows] == [
        (1, high, "Bob", 0.4, "bob's dream"),
        (2, low, "Ada", 0.2, "ada's dream"),
    ]
    assert [row.job for row in await Leaderboard(db).top(guild="local", limit=1)] == [low]
    assert await Leaderboard(db).top(since=1e12) == []


async def test_busiest_people(queue: Queue, db: Database) -> None:
    """The board of people counts their dreams in all guilds, and shows each one's best."""
    await finish(queue, "ada", 0.2)
    best = await finish(queue, "ada", 0.3, guild="other")
    await finish(queue, "bob", 0.9)
    rows = await Leaderboard(db).top(by="person")
    assert [(row.rank, row.user, row.dreams, row.score) for row in rows] == [(1, "ada", 2, 0.3), (2, "bob", 1, 0.9)]
    assert rows[0].job == best


async def test_unknown_board(db: Database) -> None:
    """A board that does not exist is named with those that do."""
    with pytest.raises(UserError, match="score, votes, person, gallery"):
        await Leaderboard(db).top(by="luck")
