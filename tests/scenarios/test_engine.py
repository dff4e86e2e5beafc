"""The engine process as it really runs: claims, batches, cancels, drains, dies and is rescued."""

from __future__ import annotations

import asyncio
import signal

from storage.events import Kind
from storage.job import Caller, Outcome, Reason, State
from tests.scenarios.house import House


async def test_bits_alone_and_among_seven_others(house: House) -> None:
    """The same dream has the same PNG alone and in a batch of eight."""
    house.start_engine()
    (alone,) = await house.finished([await house.submit(seed=7)])
    await house.queue.pause()
    others = [await house.submit(user=f"u{i}", prompt=f"{i} barns", seed=i, candidates=30 + i) for i in range(7)]
    same = await house.submit(seed=7)
    await house.queue.resume()
    *_, together = await house.finished([*others, same])
    assert together.images[0].sha256 == alone.images[0].sha256
    assert together.recipe_digest == alone.recipe_digest


async def test_a_poison_job_fails_alone(house: House) -> None:
    """A job that makes the engine exit is failed as crashed after three lone tries; its seven mates complete."""
    await house.queue.pause()
    good = [await house.submit(user=f"u{i}", seed=i) for i in range(7)]
    bad = await house.submit(user="eve", prompt="poison")
    await house.queue.resume()
    ending = asyncio.create_task(house.finished([*good, bad]))
    engines = 0
    while not ending.done():
        engines += 1
        engine = house.start_engine("tests.fakes.poison_engine")
        await asyncio.wait({ending, asyncio.create_task(asyncio.to_thread(engine.wait))}, return_when="FIRST_COMPLETED")
        engine.kill()
    *mates, poison = await ending
    assert [mate.state for mate in mates] == [State.COMPLETED] * 7
    assert (poison.state, poison.reason, poison.strikes) == (State.FAILED, Reason.CRASHED, 3)
    assert engines >= 4  # once in company, three times alone


async def test_a_newcomer_waits_for_at_most_one_job_of_the_flood(house: House) -> None:
    """One person queues 200 dreams, another then one: at most one of the first starts after it and before it."""
    house.start_engine()
    await house.engine_ready()
    flood = {(await house.submit(user="flood", seed=i, candidates=4)).id for i in range(200)}
    newcomer = await house.submit(user="new", candidates=4)
    queued = await house.until(lambda e: e.kind is Kind.QUEUED and e.job == newcomer.id)
    started = await house.until(lambda e: e.kind is Kind.STARTED and e.job == newcomer.id)
    between = [e for e in await house.feed.since(queued.id, 500) if e.id < started.id and e.kind is Kind.STARTED]
    assert len([e for e in between if e.job in flood]) <= 1


async def test_cancel_tells_what_it_saw(house: House) -> None:
    """Queued, running, finished, somebody else's, unknown: five outcomes, each true."""
    ada, eve = Caller(user="ada", name="ada"), Caller(user="eve", name="eve")
    queued = await house.submit()
    assert await house.queue.cancel(queued.id, eve) is Outcome.NOT_YOURS
    assert await house.queue.cancel(queued.id, ada) is Outcome.CANCELLED
    house.start_engine()
    running = await house.submit(candidates=10_000)
    await house.until(lambda e: e.kind is Kind.PROGRESSED and e.job == running.id)
    assert await house.queue.cancel(running.id, ada) is Outcome.STOPPING
    (stopped,) = await house.finished([running])
    assert stopped.state is State.CANCELLED
    assert await house.queue.cancel(running.id, ada) is Outcome.FINISHED
    assert await house.queue.cancel("nosuch", ada) is Outcome.UNKNOWN


async def test_sigterm_gives_jobs_back_uncounted(house: House) -> None:
    """A drained engine requeues what it could not end; the next one completes it as attempt one."""
    house.environ["DREAMBOT_DRAIN_S"] = "0"
    engine = house.start_engine()
    job = await house.submit(candidates=3_000)
    await house.until(lambda e: e.kind is Kind.PROGRESSED)
    engine.send_signal(signal.SIGTERM)
    back = await house.until(lambda e: e.kind is Kind.REQUEUED)
    assert back.data["why"] == "drain"
    assert await asyncio.to_thread(engine.wait) == 0
    assert (await house.job(job.id)).attempt == 0
    house.start_engine()
    (done,) = await house.finished([job])
    assert (done.state, done.attempt) == (State.COMPLETED, 1)


async def test_a_killed_engine_is_rescued_and_the_picture_is_the_same(house: House) -> None:
    """kill -9 in the middle: the next engine rescues the job, and its picture is that of an unbroken run."""
    engine = house.start_engine()
    (whole,) = await house.finished([await house.submit(candidates=1_500)])
    broken = await house.submit(candidates=1_500)
    await house.until(lambda e: e.kind is Kind.PROGRESSED and e.job == broken.id)
    engine.kill()
    engine.wait()
    house.start_engine()
    (done,) = await house.finished([broken])
    assert done.attempt == 2
    assert done.images[0].sha256 == whole.images[0].sha256


async def test_two_engines_never_share_a_device_and_store(house: House) -> None:
    """The second engine on the same device and store leaves with status 3."""
    house.start_engine()
    await house.engine_ready()
    assert await asyncio.to_thread(house.start_engine().wait) == 3


async def test_drain_empties_the_engine_and_resume_brings_it_back(house: House) -> None:
    """After `admin drain` the engine ends what runs and leaves; the next waits, unloaded, for `resume`."""
    engine = house.start_engine()
    running = await house.submit(candidates=400)
    await house.until(lambda e: e.kind is Kind.STARTED)
    await house.queue.drain()
    waiting = await house.submit()
    (ended,) = await house.finished([running])
    assert ended.state is State.COMPLETED
    assert await asyncio.to_thread(engine.wait) == 0
    house.start_engine()
    assert (await house.job(waiting.id)).state is State.QUEUED
    await house.queue.resume()
    (done,) = await house.finished([waiting])
    assert done.state is State.COMPLETED


async def test_an_engine_takes_only_jobs_of_the_packs_it_serves(house: House) -> None:
    """With DREAMBOT_SERVES=tiny a dream of another pack goes on waiting for an engine that has it."""
    house.environ["DREAMBOT_SERVES"] = "tiny"
    elsewhere = await house.submit(pack="embedded")
    house.start_engine()
    (done,) = await house.finished([await house.submit("bob")])
    assert done.state is State.COMPLETED
    assert (await house.job(elsewhere.id)).state is State.QUEUED
    (engine,) = await house.engines.alive(house.settings.silent_s)
    assert list(engine.packs) == ["tiny"]


async def test_serving_what_is_not_here_is_refused_in_one_sentence(house: House) -> None:
    """Exit status 2, and the packs that are here are named."""
    house.environ["DREAMBOT_SERVES"] = "tiny, whales"
    assert await asyncio.to_thread(house.start_engine().wait) == 2
    told = (house.settings.home / "processes.log").read_text(encoding="utf-8").strip().splitlines()[-1]
    assert told == "DREAMBOT_SERVES names packs among embedded, tiny; 'whales' is not here."


async def test_a_full_engine_has_a_seat_for_a_newcomer(house: House) -> None:
    """One person's long dream fills the room; another's ends beside it, and the first one's next has to wait."""
    house.environ["DREAMBOT_ROOM"] = "1"
    house.start_engine()
    long = await house.submit(method="fusedream", parity="fusedream", steps=2_000, candidates=1)
    await house.until(lambda e: e.kind is Kind.PROGRESSED and e.job == long.id)
    second = await house.submit()
    (ended,) = await house.finished([await house.submit(user="new")])
    assert ended.state is State.COMPLETED
    assert (await house.job(long.id)).state is State.RUNNING
    assert (await house.job(second.id)).state is State.QUEUED
