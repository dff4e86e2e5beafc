"""What people may do, on the real store with a fake engine."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from bot import arguments
from bot.commands import Commands
from bot.line import standings
from bot.store import Store
from storage.errors import UserError
from storage.job import Caller, Outcome, State
from tests.bot import jobs
from tests.fakes.engine import PACK, FakeEngine

ADA = Caller(user="ada", name="ada")
BOB = Caller(user="bob", name="bob")
ROOT = Caller(user="root", name="root", admin=True)
STRANGER = Caller(user="eve", name="eve", guild="elsewhere")


async def dream(commands: Commands, caller: Caller = ADA, prompt: str = "a lemon", reply_to: str | None = None) -> str:
    """A queued job's name."""
    card = await commands.dream(caller, arguments.dream(prompt, {"seed": 7}, keep=2), reply_to=reply_to)
    return str(card.job)


async def dreamt(commands: Commands, engine: FakeEngine, caller: Caller = ADA, prompt: str = "a lemon") -> str:
    """A job's name, when it is over."""
    name = await dream(commands, caller, prompt)
    await step(engine)
    return name


async def step(engine: FakeEngine) -> None:
    """Let the engine run one job to its end."""
    (job,) = await engine.queue.claim(engine.owner, 1)
    await engine.run(job)


async def outcome(commands: Commands, caller: Caller, name: str) -> str:
    """What a cancel observed."""
    return str((await commands.cancel(caller, name)).rows[0]["outcome"])


async def test_a_dream_is_durable_once_it_is_answered(commands: Commands, store: Store) -> None:
    """The card names a job that is in the store, first in line; nobody works yet, and the card says so."""
    card = await commands.dream(ADA, arguments.dream("a lemon", {}))
    job = await store.queue.get(str(card.job))
    assert job is not None
    assert job.state is State.QUEUED
    assert card.text == "queued; the engine is not running."


@pytest.mark.parametrize(
    ("options", "named"), [({"pack": "nosuch"}, "embedded"), ({"top-k": 27}, "1 to 26"), ({"keep": 0}, "1 to 16")]
)
async def test_a_wrong_dream_leaves_nothing_behind(
    commands: Commands, store: Store, options: dict[str, str | int], named: str
) -> None:
    """A refusal names what is allowed, and the queue stays empty."""
    with pytest.raises(UserError, match=named):
        await commands.dream(ADA, arguments.dream("a lemon", options))
    assert not await store.queue.waiting()


async def test_a_pack_that_is_not_offered_is_for_admins(commands: Commands, store: Store) -> None:
    """People are not told of it; an admin may name it."""
    await store.engines.publish_pack(replace(PACK, name="trial", offered=False))
    params = arguments.dream("a lemon", {"pack": "trial"})
    with pytest.raises(UserError, match="pack is one of embedded;"):
        await commands.dream(ADA, params)
    assert (await commands.dream(ROOT, params)).job


async def test_cancel_tells_what_it_observed(commands: Commands, engine: FakeEngine) -> None:
    """Waiting, running, finished, somebody else's and unknown: five truths."""
    waiting = await dream(commands)
    assert await outcome(commands, BOB, waiting) == Outcome.NOT_YOURS
    assert await outcome(commands, ADA, waiting) == Outcome.CANCELLED
    assert await outcome(commands, ADA, waiting) == Outcome.FINISHED
    running = await dream(commands)
    await engine.queue.claim(engine.owner, 1)
    assert await outcome(commands, ADA, running) == Outcome.STOPPING
    assert await outcome(commands, ADA, "zzzzzz") == Outcome.UNKNOWN
    assert await outcome(commands, ADA, "../../x") == Outcome.UNKNOWN


async def test_an_admin_cancels_anybodys_job(commands: Commands) -> None:
    """Own job or admin."""
    assert await outcome(commands, ROOT, await dream(commands)) == Outcome.CANCELLED


@pytest.mark.parametrize("verb", ["show", "again", "rerank"])
async def test_a_guild_sees_its_own_jobs_only(commands: Commands, engine: FakeEngine, verb: str) -> None:
    """Others of the guild and admins see a job; for another guild it does not exist."""
    name = await dreamt(commands, engine)
    for caller in (ADA, BOB, ROOT):
        assert (await getattr(commands, verb)(caller, name)).job
    with pytest.raises(UserError, match="There is no job"):
        await getattr(commands, verb)(STRANGER, name)


async def test_again_runs_the_same_params_and_says_identical(
    commands: Commands, engine: FakeEngine, store: Store
) -> None:
    """An `again` is a job of its own, of whoever asked, with the first one's params."""
    name = await dreamt(commands, engine)
    card = await commands.again(BOB, name)
    await step(engine)
    job, first = await commands.job(str(card.job)), await commands.job(name)
    assert (job.params, job.again_of, job.caller.user, job.identical) == (first.params, name, "bob", True)


async def test_rerank_has_a_parent(commands: Commands, engine: FakeEngine) -> None:
    """A rerank is a new job whose parent is the first one."""
    name = await dreamt(commands, engine)
    job = await commands.job(str((await commands.rerank(ADA, name, prompt="a lime", by="judge")).job))
    assert (job.parent, job.params.prompt, job.params.by) == (name, "a lime", "judge")


async def test_again_and_rerank_wait_for_the_end(commands: Commands) -> None:
    """A job that is not over can neither be reproduced nor re-ranked."""
    name = await dream(commands)
    for ask in (commands.again(ADA, name), commands.rerank(ADA, name)):
        with pytest.raises(UserError, match="queued"):
            await ask


async def test_show_has_every_key_of_a_report(commands: Commands, engine: FakeEngine) -> None:
    """The row of `show` is the fixed JSON of a job."""
    row = (await commands.show(ADA, await dreamt(commands, engine))).rows[0]
    assert row["state"] == "completed"
    assert row["seconds"]["engine_start"] is None
    assert [image["candidate"] for image in row["images"]] == [0, 1]


async def test_the_queue_ranks_everybody_and_shows_the_guild(commands: Commands, store: Store) -> None:
    """A guild sees its own jobs with their true ranks; an admin sees all."""
    await store.engines.publish_pack(PACK)
    names = [await dream(commands, ADA), await dream(commands, STRANGER), await dream(commands, BOB)]
    everything = (await commands.queue(ROOT)).rows
    assert {row["job"] for row in everything} == set(names)
    assert [row["position"] for row in everything] == [1, 2, 3]
    near = (await commands.queue(BOB)).rows
    assert {row["job"] for row in near} == {names[0], names[2]}
    ranks = {row["job"]: row["position"] for row in everything}
    assert all(row["position"] == ranks[row["job"]] for row in near)
    assert all(row["eta_seconds"][0] <= row["eta_seconds"][1] for row in near)


async def test_a_paused_queue_says_so(commands: Commands, store: Store) -> None:
    """Whoever dreams into a paused or a drained queue is told."""
    for hold in (store.queue.pause, store.queue.drain):
        await hold()
        card = await commands.dream(ADA, arguments.dream("a lemon", {}))
        assert "paused" in card.text
        assert "paused" in (await commands.queue(ADA)).text
        await store.queue.resume()


async def test_history_is_the_callers_own(commands: Commands, engine: FakeEngine) -> None:
    """Latest first, and nobody else's."""
    first, second = await dreamt(commands, engine), await dream(commands)
    await dream(commands, BOB)
    assert [row["job"] for row in (await commands.history(ADA)).rows] == [second, first]


async def test_the_leaderboard_is_the_guilds(commands: Commands, engine: FakeEngine) -> None:
    """By score and by person; another guild's pictures are not on it."""
    await dreamt(commands, engine)
    await dreamt(commands, engine, STRANGER)
    for by in ("score", "person"):
        assert [row["user"] for row in (await commands.leaderboard(ADA, by=by)).rows] == ["ada"]
    with pytest.raises(UserError, match="score, votes, person"):
        await commands.leaderboard(ADA, by="luck")


def test_ranges_grow_with_the_work_before() -> None:
    """At best a job runs beside the others, at worst after all of them; unmeasured packs give no range."""
    line = standings([jobs.job()], [jobs.job(), jobs.job()], {"embedded": 0.01})
    assert [(s.position, s.eta) for s in line] == [(0, (1.0, 1.0)), (1, (1.0, 2.0)), (2, (1.0, 3.0))]
    assert standings([], [jobs.job()], {"embedded": 0.0})[0].eta is None


async def test_the_same_event_is_one_job(commands: Commands) -> None:
    """A platform's second delivery of an event answers with the first one's job."""
    params = arguments.dream("a lemon", {})
    cards = await asyncio.gather(*(commands.dream(ADA, params, event_key="slack:E1") for _ in range(3)))
    assert len({card.job for card in cards}) == 1


async def test_an_unknown_job_is_one_sentence(commands: Commands) -> None:
    """Job names that cannot be are told how names look."""
    with pytest.raises(UserError, match=re.escape("k7f3q2")):
        await commands.show(ADA, "not a name")
