"""What becomes of jobs whose engine died, and who is held to be dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from storage.database import Database
from storage.errors import LostClaim
from storage.events import Kind
from storage.feed import Feed
from storage.job import Job, Outcome, Reason, State
from storage.outbox import Outbox
from storage.queue import Queue
from storage.rescue import Watch, boot, host, is_gone, new_owner, pid_alive
from tests.factories import make_caller, make_request, make_result
from tests.storage import raw


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The rescuer's clock."""
    return Clock()


class Finds(Watch):
    """A watch that holds these owners to be dead, at once."""

    def __init__(self, *owners: str) -> None:
        super().__init__(gone=set(owners).__contains__)


def test_silent_owner_dies(clock: Clock) -> None:
    """An owner is dead when its beat has stood still for the full time, as this process has seen it."""
    watch = Watch(10.0, clock=clock, gone=lambda _: False)
    assert watch.dead({"a": 5, "b": 1}) == set()
    clock.now += 9.9
    assert watch.dead({"a": 5, "b": 2}) == set()
    clock.now += 0.1
    assert watch.dead({"a": 5, "b": 2}) == {"a"}
    clock.now += 9.8
    assert watch.dead({"b": 2}) == set()
    clock.now += 0.1
    assert watch.dead({"b": 2}) == {"b"}


def test_first_sight_has_the_full_time(clock: Clock) -> None:
    """A rescuer that has just started gives everybody the full time, even who never beat."""
    watch = Watch(10.0, clock=clock, gone=lambda _: False)
    clock.now += 1_000
    assert watch.dead({"a": None}) == set()
    clock.now += 10
    assert watch.dead({"a": None}) == {"a"}


def test_who_is_well_needs_no_beat(clock: Clock) -> None:
    """A rescuer that knows an owner to live, itself on a full disk, does not hold it to be dead for its silence."""
    well = {"a"}
    watch = Watch(10.0, clock=clock, gone=lambda _: False, well=well.__contains__)
    watch.dead({"a": 5, "b": 1})
    clock.now += 60.0
    assert watch.dead({"a": 5, "b": 1}) == {"b"}
    well.clear()
    clock.now += 9.0
    assert watch.dead({"a": 5}) == set()
    clock.now += 1.0
    assert watch.dead({"a": 5}) == {"a"}


def test_owners_differ() -> None:
    """Two engines in the same process, on the same host, are two owners."""
    assert new_owner() != new_owner()
    assert new_owner().split(":")[:3] == [host(), boot(), str(os.getpid())]


def test_gone() -> None:
    """An owner is gone when its process is, if it was on this boot of this host; of others nothing is known."""
    assert not is_gone(new_owner())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_gone(f"{host()}:{boot()}:{child.pid}:0")
    assert not is_gone(f"another:{boot()}:{child.pid}:0")
    assert not is_gone(f"{host()}:another:{child.pid}:0")
    assert not is_gone("a name that is no owner")


def test_unwaited_child_is_dead() -> None:
    """A process that has ended but was not waited for does not count as alive."""
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # returns when the child has closed it, in ending
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert not pid_alive(child.pid)
    finally:
        child.communicate()


async def running(queue: Queue, owner: str, *users: str) -> list[Job]:
    """One running job of each of these people."""
    for user in users:
        await queue.submit(make_request(user, reply_to="here", cost=2.0))
    return await queue.claim(owner, len(users))


async def seen(queue: Queue, job: Job) -> Job:
    """The job as it is now."""
    found = await queue.get(job.id)
    assert found is not None
    return found


async def test_rescue(queue: Queue, db: Database) -> None:
    """A dead engine's only job waits again, in its old place, refunded, with a strike, and says so."""
    (job,) = await running(queue, "dead", "ada")
    (moved,) = await queue.rescue(Finds("dead"))
    assert (moved.id, moved.state, moved.strikes, moved.attempt) == (job.id, State.QUEUED, 1, 1)
    last = (await Feed(db).since(0))[-1]
    assert (last.kind, last.data) == (Kind.REQUEUED, {"why": "rescue"})
    assert raw.run(db.settings, "SELECT service FROM flow") == [(0,)]
    assert await queue.rescue(Finds("dead")) == []


async def test_living_are_left_alone(queue: Queue) -> None:
    """Only the dead engine's jobs are moved."""
    (job,) = await running(queue, "alive", "ada")
    await running(queue, "dead", "bob")
    assert [moved.caller.user for moved in await queue.rescue(Finds("dead"))] == ["bob"]
    await queue.complete(job, make_result())


async def test_compare_and_swap(queue: Queue, db: Database) -> None:
    """A job that was completed between being seen and being rescued stays completed (lesson 1)."""
    (job,) = await running(queue, "dead", "ada")

    class Slow(Finds):
        def dead(self, beats: Mapping[str, int | None]) -> set[str]:
            found = super().dead(beats)
            raw.run(
                db.settings,
                "UPDATE job SET state = 'completed', finished_at = 1, owner = NULL, charged_user = 0,"
                f" charged_guild = 0 WHERE id = '{job.id}' AND state = 'running' AND token = {job.token}",
            )
            return found

    assert await queue.rescue(Slow("dead")) == []
    assert (await seen(queue, job)).state is State.COMPLETED


async def test_new_claim_is_not_torn(queue: Queue, db: Database) -> None:
    """A job that was claimed anew between being seen and being rescued stays with its new engine (lesson 1)."""
    (job,) = await running(queue, "dead", "ada")

    class Slow(Finds):
        def dead(self, beats: Mapping[str, int | None]) -> set[str]:
            raw.run(db.settings, f"UPDATE job SET owner = 'new', token = token + 1 WHERE id = '{job.id}'")
            return super().dead(beats)

    assert await queue.rescue(Slow("dead")) == []
    assert (await seen(queue, job)).owner == "new"
    with pytest.raises(LostClaim):
        await queue.complete(job, make_result())


async def test_restart_under_the_same_name(queue: Queue) -> None:
    """An engine that is started again on the same host does not keep its predecessor's jobs alive (lesson 2)."""
    before, after = (f"{host()}:{boot()}:{pid}:{n:08x}" for n, pid in enumerate((2**22 + 1, os.getpid())))
    (job,) = await running(queue, before, "ada")
    assert [moved.id for moved in await queue.rescue(Watch(10.0))] == [job.id]
    assert [again.id for again in await queue.claim(after, 1)] == [job.id]
    assert await queue.rescue(Watch(10.0)) == []


async def test_rescue_needs_no_slot(queue: Queue) -> None:
    """With every slot taken and the queue paused, a dead engine's jobs are rescued all the same (lesson 3)."""
    await running(queue, "alive", "u1", "u2")
    (job,) = await running(queue, "dead", "u3")
    await queue.pause()
    assert [moved.id for moved in await queue.rescue(Finds("dead"))] == [job.id]


async def test_three_strikes(queue: Queue, db: Database) -> None:
    """A job that kills its engine three times alone is given up, visibly, and can be asked for again (lesson 4)."""
    await queue.submit(make_request(reply_to="here", event_key="local:1"))
    for strikes in (1, 2, 3):
        (job,) = await queue.claim(f"engine {strikes}", 8)
        (moved,) = await queue.rescue(Finds(f"engine {strikes}"))
        assert moved.strikes == strikes
    found = await seen(queue, job)
    assert (found.state, found.reason, found.attempt) == (State.FAILED, Reason.CRASHED, 3)
    assert [letter.kind for letter in await Outbox(db).unsent(["local"])] == [Kind.FAILED]
    again = await queue.submit(make_request(again_of=found.id))
    assert again.state is State.QUEUED


async def test_poison_in_company(queue: Queue) -> None:
    """A poisonous job among seven good ones: the good ones are completed, the poison alone is given up (lesson 5)."""
    names = [f"u{n}" for n in range(8)]
    poison, *_ = await running(queue, "engine", *names)
    moved = await queue.rescue(Finds("engine"))
    assert len(moved) == 8
    assert all(job.solo and job.strikes == 0 for job in moved)
    for engine in range(20):
        jobs = await queue.claim(f"engine {engine}", 8)
        if not jobs:
            break
        (job,) = jobs  # suspects run alone
        if job.id == poison.id:
            await queue.rescue(Finds(f"engine {engine}"))
        else:
            await queue.complete(job, make_result())
    states = {job.id: (await seen(queue, job)).state for job in moved}
    assert states.pop(poison.id) is State.FAILED
    assert set(states.values()) == {State.COMPLETED}
    assert await queue.waiting() == []


async def test_suspect_runs_alone(queue: Queue) -> None:
    """While a suspect runs nothing joins it, and while others run it does not start, nor is it passed for ever."""
    await running(queue, "dead", "ada", "bob")
    await queue.rescue(Finds("dead"))
    for _ in range(2):
        await queue.submit(make_request("eve"))
    (other,) = await queue.claim("engine", 8)
    assert other.caller.user == "eve"
    assert await queue.claim("engine", 7, running=[other.id]) == []
    await queue.complete(other, make_result())
    (first,) = await queue.claim("engine", 8)
    assert first.solo
    await queue.submit(make_request("newcomer"))
    assert await queue.claim("engine", 7, running=[first.id]) == []
    await queue.complete(first, make_result())
    assert [job.caller.user for job in await queue.claim("engine", 1)] == ["newcomer"]


async def test_cancelled_before_the_crash(queue: Queue, db: Database) -> None:
    """A job that was to stop is cancelled by its rescue; nobody runs it again."""
    (job,) = await running(queue, "dead", "ada")
    assert await queue.cancel(job.id, make_caller()) is Outcome.STOPPING
    (moved,) = await queue.rescue(Finds("dead"))
    assert moved.state is State.CANCELLED
    assert [letter.kind for letter in await Outbox(db).unsent(["local"])] == [Kind.CANCELLED]
    assert await queue.claim("engine", 8) == []


async def test_wall_clock_tears_nothing(queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps by an hour makes no engine dead."""
    await running(queue, "alive", "ada")
    watch = Watch(10.0, clock=clock)
    assert await queue.rescue(watch) == []
    monkeypatch.setattr("time.time", lambda: 1e10)
    assert await queue.rescue(watch) == []
