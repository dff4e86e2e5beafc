"""The life of a job on a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from storage.database import Database
from storage.errors import LostClaim, StorageError, UserError
from storage.events import Event, Kind
from storage.feed import Feed
from storage.job import FINAL, MAX_PROMPT, Job, Method, Outcome, Reason, State
from storage.outbox import Outbox
from storage.queue import ALPHABET, Queue
from storage.settings import StoreSettings
from storage.users import Users
from tests.factories import make_caller, make_candidate, make_image, make_params, make_request, make_result
from tests.storage import raw


async def claim_one(queue: Queue, owner: str = "owner", **values: Any) -> Job:
    """The one job that a free slot gets."""
    (job,) = await queue.claim(owner, 1, **values)
    return job


async def events(db: Database) -> list[Event]:
    """Everything that happened."""
    return await Feed(db).since(0)


async def service(db: Database) -> list[int]:
    """The users' counters, by arrival."""
    return [row[0] for row in raw.run(db.settings, "SELECT service FROM flow ORDER BY id")]


async def test_walk(queue: Queue, db: Database) -> None:
    """A job is queued, claimed, shown, completed, and every hop is an event."""
    job = await queue.submit(make_request(reply_to="here"))
    assert (job.state, await queue.position(job.id)) == (State.QUEUED, 1)
    claimed = await claim_one(queue)
    assert (claimed.state, claimed.token, claimed.attempt, claimed.owner) == (State.RUNNING, 1, 1, "owner")
    await queue.progress(claimed, 10, 100, "f" * 64, 0.2)
    await queue.complete(claimed, make_result(pictures=2))
    done = await queue.get(job.id)
    assert done is not None
    assert (done.state, len(done.images), done.owner) == (State.COMPLETED, 2, None)
    kinds = [event.kind for event in await events(db)]
    assert kinds == [Kind.QUEUED, Kind.STARTED, Kind.PROGRESSED, Kind.COMPLETED]
    assert await queue.position(job.id) is None


async def test_job_comes_back_whole(queue: Queue) -> None:
    """What was asked for and what came of it is read back exactly."""
    params = make_params("🐕 a blue dog, \u202e'; DROP TABLE job; --", candidates=9, keep=4, top_k=3)
    parent = await queue.submit(make_request(), now=1.0)
    request = make_request("ada", params=params, guild="G", surface="discord", parent=parent.id, cost=2.5, reply_to="m")
    job = await queue.submit(request, now=2.0)
    assert (job.params, job.caller, job.parent, job.cost) == (params, request.caller, parent.id, 2.5)
    assert (job.created_at, job.reply_to, job.finished_at) == (2.0, "m", None)
    result = make_result(pictures=3, draws=5, note="cut", identical=False, difference={"pixels": 0.5})
    for claimed in await queue.claim("owner", 2):
        await queue.complete(claimed, result)
    done = await queue.get(job.id)
    assert done is not None
    assert (done.images, done.recipe, done.trace, done.note) == (result.images, result.recipe, result.trace, "cut")
    assert (done.identical, done.difference, done.recipe_digest) == (False, {"pixels": 0.5}, result.recipe_digest)
    assert await queue.candidates(job.id) == list(result.candidates)


async def test_many_candidates(queue: Queue) -> None:
    """Ten thousand scored draws are stored with their job, by number."""
    await queue.submit(make_request())
    claimed = await claim_one(queue)
    made = tuple(make_candidate(number) for number in reversed(range(10_000)))
    await queue.complete(claimed, make_result(candidates=made))
    found = await queue.candidates(claimed.id)
    assert [candidate.number for candidate in found] == list(range(10_000))


async def test_ids_are_short_and_plain(queue: Queue) -> None:
    """A job's id is six letters or digits that are not mistaken for each other."""
    job = await queue.submit(make_request())
    assert len(job.id) == 6
    assert set(job.id) <= set(ALPHABET)


async def test_id_collision(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is taken is drawn again."""
    drawn = iter("aaaaaaaaaaaabbbbbb")
    monkeypatch.setattr("secrets.choice", lambda _: next(drawn))
    first, second = await queue.submit(make_request()), await queue.submit(make_request())
    assert (first.id, second.id) == ("aaaaaa", "bbbbbb")


async def test_hundred_duplicates(queue: Queue, db: Database) -> None:
    """The same event submitted a hundred times at once is one job."""
    request = make_request(event_key="discord:1")
    jobs = await asyncio.gather(*(queue.submit(request) for _ in range(100)))
    assert len({job.id for job in jobs}) == 1
    assert len(await events(db)) == 1


async def test_duplicate_of_a_finished_job(queue: Queue, db: Database) -> None:
    """A duplicate is answered with the job even when it is over, or its person is over the limit or banned by now."""
    request = make_request(event_key="discord:1")
    job = await queue.submit(request)
    await queue.cancel(job.id, request.caller)
    await Users(db).ban("local", "ada")
    assert (await queue.submit(request)).id == job.id


async def test_unknown_is_not_done(queue: Queue) -> None:
    """A job that nobody knows is neither over nor running nor cancelled."""
    assert await queue.get("nojob2") is None
    assert await queue.position("nojob2") is None
    assert await queue.candidates("nojob2") == []
    assert await queue.cancel("nojob2", make_caller(admin=True)) is Outcome.UNKNOWN


@pytest.mark.parametrize("field", ["parent", "again_of"])
async def test_unknown_parent(queue: Queue, field: str) -> None:
    """A job that refers to none is refused in a sentence."""
    with pytest.raises(UserError, match="No job 'xyz'"):
        await queue.submit(make_request(**{field: "xyz"}))


async def test_limits(queue: Queue, db: Database) -> None:
    """Who is banned, or has too much waiting in all their guilds, is told so; a limit can be lifted."""
    users = Users(db)
    await users.limit("local", "ada", 2)
    await queue.submit(make_request(guild="one"))
    await queue.submit(make_request(guild="two"))
    with pytest.raises(UserError, match="2 dreams waiting"):
        await queue.submit(make_request())
    await queue.submit(make_request("bob"))
    await users.limit("local", "ada", None)
    await queue.submit(make_request())
    await users.ban("local", "ada")
    with pytest.raises(UserError, match="banned"):
        await queue.submit(make_request())
    await queue.submit(make_request(surface="discord"))  # another person, who happens to be called the same
    await users.unban("local", "ada")
    await queue.submit(make_request())


async def test_cost_is_bounded(queue: Queue) -> None:
    """No estimate can break a counter."""
    for cost in (0.0, -1.0, float("nan"), float("inf"), 1e300):
        job = await queue.submit(make_request(cost=cost))
        assert 0 < job.cost <= 1e6
    assert len(await queue.claim("owner", 8)) == 5


async def test_longest_prompt(queue: Queue) -> None:
    """The longest prompt, of the widest characters, is stored."""
    params = make_params("🐕" * MAX_PROMPT)
    job = await queue.submit(make_request(params=params))
    assert (await queue.submit(make_request(params=params))).params == job.params == params


async def test_spammer_does_not_hold_up_a_newcomer(queue: Queue) -> None:
    """One person queues 200, another then one: at most one more of the first starts before it."""
    for _ in range(200):
        await queue.submit(make_request("spammer"))
    for _ in range(3):
        claimed = await claim_one(queue)
        await queue.complete(claimed, make_result(draws=0))
    newcomer = await queue.submit(make_request("newcomer"))
    place = await queue.position(newcomer.id)
    assert place in (1, 2)
    started = [(await claim_one(queue)).id for _ in range(2)]
    assert newcomer.id in started
    assert started.index(newcomer.id) + 1 == place


async def test_absence_banks_no_credit(queue: Queue) -> None:
    """Who comes, or comes back, while another has long been served, shares from now on; guilds likewise."""
    for guild in ("same", "another"):
        for _ in range(10):
            await queue.submit(make_request("ada", guild="same"))
        for _ in range(5):
            await queue.complete(await claim_one(queue), make_result())
        for _ in range(4):
            await queue.submit(make_request("bob", guild=guild))
        started = []
        for _ in range(6):
            claimed = await claim_one(queue)
            started.append(claimed.caller.user)
            await queue.complete(claimed, make_result())
        assert started.count("bob") == 3
        while claimed_jobs := await queue.claim("owner", 1):
            await queue.complete(claimed_jobs[0], make_result())


async def test_the_work_before_a_job_is_what_runs_and_what_goes_first(queue: Queue) -> None:
    """The costs of running jobs and of those that are served earlier, not of those behind."""
    for cost in (1.0, 2.0, 4.0, 8.0):
        await queue.submit(make_request(cost=cost))
    (running,) = await queue.claim("engine", 1)
    second, third, last = await queue.waiting()
    assert (await queue.place(running.id)).position == 0
    assert [(await queue.place(job.id)).before for job in (second, third, last)] == [1.0, 3.0, 7.0]


async def test_positions_are_kept(queue: Queue) -> None:
    """The place that is told is the place in which jobs start."""
    submitted = [await queue.submit(make_request(f"u{n % 3}", guild=f"g{n % 2}", cost=n + 1.0)) for n in range(8)]
    told = {job.id: await queue.position(job.id) for job in submitted}
    listed = [job.id for job in await queue.waiting()]
    started = [(await claim_one(queue)).id for _ in range(8)]
    assert [told[job_id] for job_id in started] == list(range(1, 9))
    assert listed == started
    assert [job.id for job in await queue.running()] == started
    assert {await queue.position(job_id) for job_id in started} == {0}


async def test_cap(queue: Queue) -> None:
    """One person gets six of eight slots, and the next person finds one at once."""
    for _ in range(10):
        await queue.submit(make_request("ada"))
    assert len(await queue.claim("owner", 8)) == 6
    await queue.submit(make_request("bob"))
    assert [job.caller.user for job in await queue.claim("owner", 2)] == ["bob"]


async def test_a_claim_may_be_for_people_of_whom_nothing_runs(queue: Queue) -> None:
    """With a cap of one, whoever has a job running waits, and everybody else gets one seat."""
    for _ in range(3):
        await queue.submit(make_request("ada"))
    await queue.claim("owner", 1)
    for _ in range(2):
        await queue.submit(make_request("bob"))
    assert [job.caller.user for job in await queue.claim("owner", 4, cap=1)] == ["bob"]


async def test_two_engines_share(queue: Queue, db: Database, settings: StoreSettings) -> None:
    """Two engines that claim at once never get the same job."""
    for n in range(8):
        await queue.submit(make_request(f"u{n}"))
    async with Database.open(settings) as other:
        rival = Queue(other, settings)
        got = await asyncio.gather(*(q.claim(o, 2) for _ in range(3) for q, o in ((queue, "a"), (rival, "b"))))
    ids = [job.id for jobs in got for job in jobs]
    assert len(ids) == len(set(ids)) == 8


async def test_claim_by_pack(queue: Queue) -> None:
    """An engine gets only what its packs can do, and a job that waits for another pack holds up nobody."""
    await queue.submit(make_request(params=make_params(pack="other")))
    job = await queue.submit(make_request())
    assert [claimed.id for claimed in await queue.claim("owner", 8, packs=["embedded"])] == [job.id]
    assert await queue.claim("owner", 8, packs=[]) == []


async def test_pause_and_drain(queue: Queue) -> None:
    """Nothing is handed out while the queue is paused or drains; what runs goes on."""
    await queue.submit(make_request("ada"))
    running = await claim_one(queue)
    await queue.submit(make_request("bob"))
    for stop, flag in ((queue.pause, "paused"), (queue.drain, "draining")):
        await stop()
        assert (await queue.flags())[flag] is True
        assert await queue.claim("owner", 8) == []
        await queue.resume()
        assert (await queue.flags())[flag] is False
    await queue.complete(running, make_result())
    assert len(await queue.claim("owner", 8)) == 1


async def test_banned_do_not_start(queue: Queue, db: Database) -> None:
    """What a banned person has waiting neither starts nor holds up others, and goes on when they may again."""
    job = await queue.submit(make_request("ada"))
    await queue.submit(make_request("bob"))
    await Users(db).ban("local", "ada")
    assert [claimed.caller.user for claimed in await queue.claim("owner", 8)] == ["bob"]
    assert await queue.position(job.id) is None
    await Users(db).unban("local", "ada")
    assert (await claim_one(queue)).id == job.id


async def test_cancel_outcomes(queue: Queue, db: Database) -> None:
    """Each of the answers of a cancel is what happened."""
    ada, bob, admin = make_caller("ada"), make_caller("bob"), make_caller("root", admin=True)
    waiting = await queue.submit(make_request(reply_to="here"))
    assert await queue.cancel(waiting.id, bob) is Outcome.NOT_YOURS
    assert await queue.cancel(waiting.id, make_caller("ada", surface="discord")) is Outcome.NOT_YOURS
    assert await queue.cancel(waiting.id, ada) is Outcome.CANCELLED
    assert await queue.cancel(waiting.id, ada) is Outcome.FINISHED
    await queue.submit(make_request())
    running = await claim_one(queue)
    assert await queue.cancel_requests("owner") == set()
    assert await queue.cancel(running.id, admin) is Outcome.STOPPING
    assert await queue.cancel(running.id, ada) is Outcome.STOPPING
    assert await queue.cancel_requests("owner") == {running.id}
    assert await queue.cancel_requests("another") == set()
    await queue.cancelled(running)
    stopped = await queue.get(running.id)
    assert stopped is not None
    assert stopped.state is State.CANCELLED
    assert await queue.cancel_requests("owner") == set()
    said = [(event.kind, event.data.get("by")) for event in await events(db) if "cancel" in event.kind]
    assert said == [(Kind.CANCELLED, "Ada"), (Kind.CANCEL_REQUESTED, "Root"), (Kind.CANCELLED, "Root")]
    assert [letter.kind for letter in await Outbox(db).unsent(["local"])] == [Kind.CANCELLED]


async def test_completes_although_asked_to_stop(queue: Queue) -> None:
    """A job that was done before its engine heard of the cancel is completed."""
    await queue.submit(make_request())
    running = await claim_one(queue)
    await queue.cancel(running.id, make_caller())
    await queue.complete(running, make_result())
    assert await queue.cancel(running.id, make_caller()) is Outcome.FINISHED


async def test_lost_claims(queue: Queue) -> None:
    """Whoever lost a job can neither show, complete, fail nor stop it, whatever became of it."""
    await queue.submit(make_request())
    old = await claim_one(queue)
    await queue.requeue([old])
    for _ in range(2):  # while it waits, and while another has it
        for attempt in (
            queue.progress(old, 1, 2, None, None),
            queue.complete(old, make_result()),
            queue.fail(old, Reason.ERROR, "no"),
            queue.cancelled(old),
        ):
            with pytest.raises(LostClaim):
                await attempt
        await queue.requeue([old])
        new = (await queue.claim("owner", 1) or [new])[0]  # noqa: F821 - the first turn sets it
    await queue.complete(new, make_result())
    with pytest.raises(LostClaim):
        await queue.complete(new, make_result())


async def test_requeue_is_free(queue: Queue, db: Database) -> None:
    """A job that is given back waits in its old place, is not charged, and its attempt does not count."""
    first = await queue.submit(make_request(cost=3.0))
    await queue.submit(make_request(cost=3.0))
    claimed = await claim_one(queue)
    await queue.requeue([claimed], why="drain")
    assert await service(db) == [0]
    again = await claim_one(queue, "another")
    assert (again.id, again.attempt, again.token) == (first.id, 1, 2)
    assert [event.data for event in await events(db) if event.kind is Kind.REQUEUED] == [{"why": "drain"}]


async def test_requeue_of_a_cancelled_job(queue: Queue) -> None:
    """A job that was to stop is cancelled, not queued, when its engine drains."""
    await queue.submit(make_request())
    claimed = await claim_one(queue)
    await queue.cancel(claimed.id, make_caller())
    await queue.requeue([claimed])
    found = await queue.get(claimed.id)
    assert found is not None
    assert found.state is State.CANCELLED


async def test_charge_settle_refund(queue: Queue, db: Database) -> None:
    """The estimate is charged at the claim; what is left in the end is what was used, and nothing for a failure."""
    for _ in range(4):
        await queue.submit(make_request(cost=2.0))
    await queue.complete(await claim_one(queue), make_result(used=0.5))
    assert await service(db) == [500_000]
    await queue.fail(await claim_one(queue), Reason.ERROR, "it broke")
    assert await service(db) == [500_000]
    claimed = await claim_one(queue)
    assert await service(db) == [2_500_000]
    await queue.cancelled(claimed, 0.25)
    assert await service(db) == [750_000]
    await queue.cancel((await queue.waiting())[0].id, make_caller())
    assert await service(db) == [750_000]


async def test_failed(queue: Queue, db: Database) -> None:
    """A failed job says why, to the person and in the outbox."""
    await queue.submit(make_request(reply_to="here"))
    claimed = await claim_one(queue)
    await queue.fail(claimed, Reason.UNSUPPORTED, "No engine here has the pack.")
    found = await queue.get(claimed.id)
    assert found is not None
    assert (found.state, found.reason, found.message) == (
        State.FAILED,
        Reason.UNSUPPORTED,
        "No engine here has the pack.",
    )
    assert [letter.kind for letter in await Outbox(db).unsent(["local"])] == [Kind.FAILED]


async def test_complete_is_all_or_nothing(queue: Queue, db: Database) -> None:
    """If one row of a result cannot be stored, none is, and the job still runs."""
    await queue.submit(make_request(reply_to="here"))
    claimed = await claim_one(queue)
    twice = (make_candidate(1), make_candidate(1))
    with pytest.raises(StorageError):
        await queue.complete(claimed, make_result(candidates=twice))
    found = await queue.get(claimed.id)
    assert found is not None
    assert (found.state, found.images) == (State.RUNNING, ())
    assert await Outbox(db).unsent(["local"]) == []
    await queue.complete(claimed, make_result())


async def test_first_image_time(settings: StoreSettings, db: Database) -> None:
    """The time of the first preview is kept; without one, the first picture comes with the end."""
    times = iter(range(1, 100))
    queue = Queue(db, settings, clock=lambda: float(next(times)))
    for shown in (True, False):
        await queue.submit(make_request())
        claimed = await claim_one(queue)
        await queue.progress(claimed, 1, 4, None, None)
        if shown:
            await queue.progress(claimed, 2, 4, "f" * 64, 0.1)
        await queue.progress(claimed, 3, 4, None, None)
        await queue.complete(claimed, make_result())
        found = await queue.get(claimed.id)
        assert found is not None
        assert found.started_at is not None
        assert found.first_image_at is not None
        assert found.finished_at is not None
        assert found.started_at < found.first_image_at
        assert (found.first_image_at == found.finished_at) is not shown


async def test_history(queue: Queue) -> None:
    """A person's jobs in all guilds, newest first, and nobody else's."""
    jobs = [await queue.submit(make_request(guild=f"g{n}", params=make_params(f"dream {n}"))) for n in range(3)]
    await queue.submit(make_request("bob"))
    await queue.submit(make_request(surface="discord"))
    found = await queue.history(make_caller(), 2)
    assert [job.id for job in found] == [jobs[2].id, jobs[1].id]


async def test_waiting_of_a_guild(queue: Queue) -> None:
    """A guild's queue is its own, in the order that holds among all."""
    jobs = [await queue.submit(make_request(f"u{n}", guild=f"g{n % 2}")) for n in range(6)]
    assert [job.id for job in await queue.waiting(2, guild="g1")] == [jobs[1].id, jobs[3].id]


async def test_rerank_is_a_job(queue: Queue) -> None:
    """A rerank names its parent, whose candidates are there to be re-ordered."""
    await queue.submit(make_request())
    parent = await claim_one(queue)
    await queue.complete(parent, make_result(draws=3))
    rerank = await queue.submit(make_request(params=make_params(method=Method.RERANK), parent=parent.id))
    assert rerank.parent == parent.id
    assert len(await queue.candidates(parent.id)) == 3


async def test_purge(db: Database, settings: StoreSettings) -> None:
    """Events of jobs that are over for long go; those of others stay, and a cursor never sees an id again."""
    now = [0.0]
    queue = Queue(db, settings, clock=lambda: now[0])
    old = await queue.submit(make_request("ada"))
    await queue.cancel(old.id, make_caller())
    now[0] = 100.0
    young = await queue.submit(make_request("bob"))
    await queue.cancel(young.id, make_caller("bob"))
    before = await Feed(db).head()
    assert await queue.purge(50.0) == 2
    assert {event.job for event in await events(db)} == {young.id}
    assert await queue.purge(-1.0) == 2
    await queue.submit(make_request())
    assert await Feed(db).head() == before + 1


@pytest.mark.parametrize(
    "change",
    [
        "state = 'done'",
        "state = 'completed'",
        "finished_at = 1",
        "state = 'running'",
        "owner = 'somebody'",
        "reason = 'error'",
        "charged_user = 5",
        "cost = 0",
    ],
)
async def test_database_refuses(queue: Queue, settings: StoreSettings, change: str) -> None:
    """No statement, from wherever, can make an impossible job."""
    await queue.submit(make_request())
    with pytest.raises(Exception, match=r"CHECK constraint failed|violates check constraint"):
        raw.run(settings, f"UPDATE job SET {change}")


async def test_final_is_final(queue: Queue, tmp_path: Path) -> None:
    """A job that is over is never changed again."""
    await queue.submit(make_request())
    claimed = await claim_one(queue)
    await queue.complete(claimed, make_result(images=(make_image(3),)))
    before = await queue.get(claimed.id)
    assert before is not None
    assert before.state in FINAL
    await queue.cancel(claimed.id, make_caller())
    await queue.requeue([claimed])
    assert await queue.get(claimed.id) == before
