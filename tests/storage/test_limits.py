"""What a person and a guild may have and use: bounded, given back, and said."""

from __future__ import annotations

from typing import Any

import pytest

from storage.database import Database
from storage.errors import UserError
from storage.job import Job, Reason
from storage.queue import Queue
from storage.settings import StoreSettings
from storage.withdrawals import Withdrawals
from tests.factories import make_caller, make_request, make_result

DAY_S = 86_400.0


class Day:
    """A queue with bounds, on a clock that is moved by hand."""

    def __init__(self, db: Database, settings: StoreSettings, **bounds: Any) -> None:
        self.now = 1_000_000.0
        self.queue = Queue(db, settings.model_copy(update=bounds), clock=lambda: self.now)

    async def ask(self, user: str = "ada", cost: float = 100.0, **values: Any) -> Job:
        """A dream that costs so many GPU-seconds."""
        return await self.queue.submit(make_request(user, cost=cost, **values))

    async def run(self, used: float = 100.0) -> Job:
        """The next dream, completed."""
        (job,) = await self.queue.claim("engine", 1)
        await self.queue.complete(job, make_result(used=used))
        return job

    async def said(self, user: str = "ada") -> str:
        """What the person is told of it."""
        return await self.queue.allowance(make_caller(user))


async def test_gpu_seconds_of_a_day(db: Database, settings: StoreSettings) -> None:
    """What waits counts by its estimate, what is done by what it used, for a day; then it is free again."""
    day = Day(db, settings, daily_seconds=250.0, queued_limit=3)
    await day.ask()
    await day.ask()
    assert await day.said() == "2 of 3 queued, 200 of 250 GPU-seconds today"
    with pytest.raises(
        UserError, match="You have used 200 of 250 GPU-seconds in the last day, and this takes about 100"
    ):
        await day.ask()
    await day.run(used=20.0)
    await day.ask()
    assert await day.said() == "2 of 3 queued, 220 of 250 GPU-seconds today"
    day.now += DAY_S + 1
    assert await day.said() == "2 of 3 queued, 200 of 250 GPU-seconds today"


async def test_it_is_given_back(db: Database, settings: StoreSettings) -> None:
    """A failure, a cancel and a moderator's withholding cost nothing; a release costs again."""
    day = Day(db, settings, daily_seconds=150.0)
    await day.ask()
    (job,) = await day.queue.claim("engine", 1)
    await day.queue.fail(job, Reason.ERROR, "broke")
    cancelled = await day.ask()
    await day.queue.cancel(cancelled.id, make_caller())
    await day.ask()
    shown = await day.run()
    with pytest.raises(UserError, match="100 of 150"):
        await day.ask()
    withdrawals = Withdrawals(db)
    await withdrawals.withhold(shown.id, make_caller("mod"))
    assert await day.said() == "0 of 150 GPU-seconds today"
    await withdrawals.release(shown.id)
    assert await day.said() == "100 of 150 GPU-seconds today"


async def test_it_survives_a_restart(db: Database, settings: StoreSettings) -> None:
    """Nothing is remembered outside the store."""
    await Day(db, settings, daily_seconds=150.0).ask()
    assert await Day(db, settings, daily_seconds=150.0).said() == "100 of 150 GPU-seconds today"


async def test_roles(db: Database, settings: StoreSettings) -> None:
    """A moderator has a bound of their own, an admin none."""
    day = Day(db, settings, daily_seconds=50.0, daily_seconds_moderator=150.0, cooldown_s=1.0)
    with pytest.raises(UserError, match="0 of 50"):
        await day.ask()
    moderator = make_caller("mod", moderator=True)
    request = make_request(cost=100.0)
    for caller, times in ((moderator, 1), (make_caller("root", admin=True), 5)):
        for _ in range(times):
            await day.queue.submit(type(request)(caller=caller, params=request.params, cost=100.0))
    with pytest.raises(UserError, match="100 of 150"):
        await day.queue.submit(type(request)(caller=moderator, params=request.params, cost=100.0))


async def test_a_guild_has_bounds_of_its_own(db: Database, settings: StoreSettings) -> None:
    """Everybody in it together; another guild is not touched."""
    day = Day(db, settings, queued_limit_guild=2, daily_seconds_guild=10_000.0)
    await day.ask("u1")
    await day.ask("u2")
    with pytest.raises(UserError, match="This server has 2 dreams waiting"):
        await day.ask("u3")
    await day.ask("u3", guild="another")


async def test_a_cooldown(db: Database, settings: StoreSettings) -> None:
    """The time between two dreams; one that was cancelled or failed is none."""
    day = Day(db, settings, cooldown_s=60.0)
    first = await day.ask()
    day.now += 20.0
    with pytest.raises(UserError, match="One dream every 60 seconds is allowed; yours is in 40 seconds"):
        await day.ask()
    await day.ask("bob")
    await day.queue.cancel(first.id, make_caller())
    second = await day.ask()
    day.now += 60.0
    assert (await day.ask()).id != second.id


async def test_what_is_not_bounded_is_not_mentioned(db: Database, settings: StoreSettings) -> None:
    """The usual bound of a thousand is nobody's business."""
    day = Day(db, settings)
    await day.ask()
    assert await day.said() == ""


async def test_one_event_twice_is_counted_once(db: Database, settings: StoreSettings) -> None:
    """A redelivery over the bound is answered with its job."""
    day = Day(db, settings, daily_seconds=150.0)
    first = await day.ask(event_key="discord:1")
    assert (await day.ask(event_key="discord:1")).id == first.id
