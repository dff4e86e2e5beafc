"""Several packs and several engines on one store: who takes what, and that nobody waits longer for it."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings, strategies
from sqlalchemy import delete

from storage import schema
from storage.database import Database
from storage.queue import Queue
from tests.factories import make_params, make_request, make_result

PACKS = ("embedded", "birds", "cars")


async def test_engines_of_other_packs_keep_one_order(queue: Queue) -> None:
    """What a person received from one engine counts at every other: whoever had less goes first, on each pack."""
    for pack in ("birds", "cars"):
        for who in ("ada", "bob"):
            for _ in range(2):
                await queue.submit(make_request(who, params=make_params(pack=pack), cost=1.0))
    order = []
    for owner, pack in (("first", "birds"), ("second", "cars"), ("first", "birds"), ("second", "cars")):
        (job,) = await queue.claim(owner, 1, packs=[pack])
        await queue.complete(job, make_result(used=1.0))
        assert job.params.pack == pack
        order.append(job.caller.user)
    assert order == ["ada", "bob", "ada", "bob"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=strategies.lists(
        strategies.tuples(strategies.sampled_from("abc"), strategies.sampled_from(PACKS)), max_size=8
    ),
    engines=strategies.lists(strategies.sets(strategies.sampled_from(PACKS), min_size=1), min_size=1, max_size=3),
)
async def test_every_job_that_somebody_serves_is_taken_by_one_who_does(
    db: Database, queue: Queue, asked: list[tuple[str, str]], engines: list[set[str]]
) -> None:
    """Each job goes once, to an engine that offers its pack; only what nobody offers goes on waiting."""
    async with db.write() as connection:
        for table in (schema.outbox, schema.event, schema.job):
            await connection.execute(delete(table))
    jobs = {(await queue.submit(make_request(user, params=make_params(pack=pack)))).id: pack for user, pack in asked}
    taken: dict[str, int] = {}
    for _ in range(len(asked) + 1):
        for number, packs in enumerate(engines):
            for job in await queue.claim(f"engine{number}", 1, packs=sorted(packs)):
                assert job.params.pack in packs
                assert job.id not in taken
                taken[job.id] = number
                await queue.complete(job, make_result(pictures=0, draws=0))
    served = {job_id for job_id, pack in jobs.items() if any(pack in packs for packs in engines)}
    assert taken.keys() == served
