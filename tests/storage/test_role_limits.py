"""Limits by role: the most generous of a person's roles counts, what an admin set for the person goes before it."""

from __future__ import annotations

import math

import pytest

from storage import fairness, roles
from storage.database import Database
from storage.errors import UserError
from storage.fairness import Guild, Head, User
from storage.job import Caller, Job, Request
from storage.queue import Queue
from storage.settings import RoleLimits, StoreSettings
from storage.users import Users
from tests.factories import make_params, make_result

PATRON = "discord:77"
ADA = Caller(user="ada", name="Ada", guild="g1", surface="discord")
EVE = Caller(user="eve", name="Eve", guild="g1", surface="discord", roles=("discord:1", PATRON))


def settings_with(settings: StoreSettings, **values: object) -> StoreSettings:
    """The test's settings, with these."""
    return settings.model_copy(update=values)


async def ask(queue: Queue, caller: Caller, times: int = 1) -> Job:
    """So many dreams of a person."""
    for _ in range(times):
        job = await queue.submit(Request(caller=caller, params=make_params(), cost=10.0))
    return job


async def test_the_most_generous_role_counts(db: Database, settings: StoreSettings) -> None:
    """A member may have one waiting, a patron three; who has both roles has three, and reads so."""
    patron = RoleLimits(queued=3, daily_seconds=math.inf, running=1)
    queue = Queue(db, settings_with(settings, queued_limit=1, daily_seconds=15.0, roles={PATRON: patron}))
    await ask(queue, ADA)
    with pytest.raises(UserError, match="You have 1 dreams waiting"):
        await ask(queue, ADA)
    await ask(queue, EVE, 3)
    assert await queue.allowance(EVE) == "3 of 3 queued"
    assert await queue.allowance(ADA) == "1 of 1 queued, 10 of 15 GPU-seconds today"
    with pytest.raises(UserError, match="You have 3 dreams waiting"):
        await ask(queue, EVE)


async def test_an_admin_bounds_a_role_and_a_person(db: Database, settings: StoreSettings) -> None:
    """In the store, so a restart changes nothing; a person's own bound goes before their roles; none takes it back."""
    users = Users(db)
    await users.bound("discord", roles.subject(f"role:{PATRON}"), *roles.amount("queued=2000"))
    await users.bound("discord", roles.subject("eve"), *roles.amount("cooldown=60"))
    await users.bound("discord", roles.subject("guild:g1"), *roles.amount("queued=2"))
    queue = Queue(db, settings_with(settings, queued_limit=1))
    await ask(queue, EVE)
    with pytest.raises(UserError, match="One dream every 60 seconds"):
        await ask(queue, EVE)
    await users.bound("discord", roles.subject("eve"), *roles.amount("cooldown=none"))
    await ask(queue, EVE)
    with pytest.raises(UserError, match="This server has 2 dreams waiting"):
        await ask(queue, EVE)


async def test_running_is_bounded_when_jobs_are_claimed(db: Database, settings: StoreSettings) -> None:
    """One at a time, whatever room there is and whichever engine asks; what has ended makes room, and it is told."""
    queue = Queue(db, settings_with(settings, running_limit=1))
    await ask(queue, ADA, 3)
    await ask(queue, Caller(user="ada", name="Ada", guild="g2", surface="discord"))
    (first,) = await queue.claim("engine 1", 8)
    assert await queue.claim("engine 2", 8) == []
    assert await queue.allowance(ADA) == "1 of 1 running"
    await queue.complete(first, make_result())
    assert len(await queue.claim("engine 2", 8)) == 1


async def test_a_guilds_running_jobs_are_bounded(db: Database, settings: StoreSettings) -> None:
    """Everybody of it together; another guild goes on."""
    queue = Queue(db, settings_with(settings, running_limit_guild=2))
    for number in range(4):
        await ask(queue, Caller(user=f"u{number}", name="u", guild="g1", surface="discord"))
    await ask(queue, Caller(user="far", name="far", guild="g2", surface="discord"))
    assert sorted(job.caller.guild for job in await queue.claim("engine", 8)) == ["g1", "g1", "g2"]


def test_who_may_start_no_more_is_passed_over() -> None:
    """In all their guilds together; the others keep their order."""
    users = [User(id=n, guild=n, person=1, left=1) for n in (1, 2)] + [User(id=3, guild=1, person=2)]
    heads = {n: [Head(job=f"{n}{k}", user=n) for k in range(2)] for n in (1, 2, 3)}
    order = [head.job for head in fairness.turns([Guild(id=1), Guild(id=2)], users, heads)]
    assert order == ["10", "30", "31"]
    assert [h.job for h in fairness.turns([Guild(id=1, left=1), Guild(id=2, left=0)], users, heads)] == ["10"]


@pytest.mark.parametrize("text", ["speed=3", "running=-1", "running=1e3", "=3", "cooldown=", "running=99999999"])
def test_wrong_amounts_are_one_sentence(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(UserError, match=r"one of queued|a whole number from 0"):
        roles.amount(text)


def test_a_role_is_ours_or_an_id(settings: StoreSettings) -> None:
    """Any server may call a role as it likes, so a name of Discord's is none; wrong settings are a sentence."""
    with pytest.raises(UserError, match="discord:ROLE_ID"):
        roles.subject("role:patron")
    given = {"DREAMBOT_HOME": str(settings.home), "DREAMBOT_ROLES": '{"moderator": {"queued": 9}}'}
    assert StoreSettings.load(given).roles["moderator"].queued == 9
    for wrong in ('{"patron": {"queued": 9}}', '{"member": {"speed": 9}}', "{"):
        with pytest.raises(UserError, match="DREAMBOT_ROLES"):
            StoreSettings.load(given | {"DREAMBOT_ROLES": wrong})
