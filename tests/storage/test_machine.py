"""Any order of calls on the real store, against a model of what must be true."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from storage.database import Database
from storage.engines import EngineRow, Engines
from storage.errors import LostClaim
from storage.heart import Heart
from storage.job import FINAL, Job, Outcome, Reason, State
from storage.queue import Queue
from storage.rescue import Watch
from storage.settings import StoreSettings
from tests.factories import make_caller, make_request, make_result
from tests.storage.conftest import POSTGRESQL, SQLITE

T = TypeVar("T")
ROOM, CAP, STRIKES, SILENT_S = 4, 3, 2, 10.0


@dataclass
class Known:
    """What the model knows of a job."""

    user: str
    state: State = State.QUEUED
    token: int = 0
    attempt: int = 0
    strikes: int = 0
    owner: str | None = None
    solo: bool = False
    stopping: bool = False


class Life(RuleBasedStateMachine):
    """People, engines, crashes and restarts."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Job] = Bundle("claims")
    make: Callable[[Path], StoreSettings]

    @initialize()
    def open(self) -> None:
        """An empty store and two engines."""
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.settings = type(self).make(Path(self.folder.name))
        self.model: dict[str, Known] = {}
        self.keys: dict[str, str] = {}
        self.now = 0.0
        self.born = 0
        self.watch = Watch(SILENT_S, clock=lambda: self.now, gone=lambda _: False)
        self.run(self._open())
        self.alive = [self.start_engine(), self.start_engine()]

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """From this plain function into the store's loop."""
        return self.runner.run(call)

    async def _open(self) -> None:
        self.stack = AsyncExitStack()
        self.db = await self.stack.enter_async_context(Database.open(self.settings))
        self.queue = Queue(self.db, self.settings)

    def start_engine(self) -> str:
        """A new engine process, as far as the store can tell."""
        self.born += 1
        owner = f"engine {self.born}"
        row = EngineRow(owner=owner, pid=self.born, host="h", boot="b", device="cpu", dtype="fp32", started_at=0.0)
        self.run(Engines(self.db).register(row))
        return owner

    @rule(target=jobs, user=st.sampled_from("abc"), key=st.sampled_from("123456"), again=st.booleans())
    def submit(self, user: str, key: str, again: bool) -> str:
        """A person asks; the same event twice is one job."""
        known = self.keys.get(f"{user}{key}") if again else None
        event_key = f"{user}{key}" if again else None
        job = self.run(self.queue.submit(make_request(user, event_key=event_key, reply_to="here")))
        assert known in (None, job.id)
        if event_key:
            self.keys[event_key] = job.id
        self.model.setdefault(job.id, Known(user))
        return job.id

    @rule(target=claims, which=st.integers(0, 1), room=st.integers(1, ROOM))
    def claim(self, which: int, room: int) -> Any:
        """An engine fills its slots."""
        owner = self.alive[which]
        mine = [known for known in self.model.values() if known.owner == owner]
        got = self.run(self.queue.claim(owner, min(room, ROOM - len(mine))))
        for job in got:
            known = self.model[job.id]
            assert known.state is State.QUEUED
            known.state, known.owner = State.RUNNING, owner
            known.token, known.attempt = known.token + 1, known.attempt + 1
            assert (job.token, job.attempt, job.solo) == (known.token, known.attempt, known.solo)
        held = [known for known in self.model.values() if known.owner == owner]
        assert all(sum(known.user == user for known in held) <= CAP for user in "abc")
        assert len(held) <= 1 or not any(known.solo for known in held)
        if not held:
            assert not any(known.state is State.QUEUED for known in self.model.values())
        return multiple(*got)

    @rule(job=consumes(claims), end=st.sampled_from(["complete", "fail", "cancelled", "requeue"]))
    def leave(self, job: Job, end: str) -> None:
        """Whoever holds a claim ends it; it works exactly if the claim is still theirs."""
        known = self.model[job.id]
        valid = known.state is State.RUNNING and known.token == job.token
        if end == "requeue":
            self.run(self.queue.requeue([job]))
            if valid:
                known.attempt -= not known.stopping
                self.back(known, State.CANCELLED if known.stopping else State.QUEUED)
            return
        calls = {
            "complete": (self.queue.complete(job, make_result(used=0.5)), State.COMPLETED),
            "fail": (self.queue.fail(job, Reason.ERROR, "broke"), State.FAILED),
            "cancelled": (self.queue.cancelled(job, 0.1), State.CANCELLED),
        }
        for name, (call, _) in calls.items():
            if name != end:
                call.close()
        self.ours(valid, calls[end][0])
        if valid:
            self.back(known, calls[end][1])

    def back(self, known: Known, state: State) -> None:
        """A job leaves its engine."""
        known.state, known.owner = state, None

    def ours(self, valid: bool, call: Coroutine[Any, Any, None]) -> None:
        """The call works, or the claim is lost."""
        if valid:
            self.run(call)
        else:
            with pytest.raises(LostClaim):
                self.run(call)

    @rule(job=claims)
    def progress(self, job: Job) -> None:
        """Whoever holds a claim shows how far it is."""
        known = self.model[job.id]
        valid = known.state is State.RUNNING and known.token == job.token
        self.ours(valid, self.queue.progress(job, 1, 2, "f" * 64, 0.5))

    @rule(job_id=jobs, user=st.sampled_from("abc"))
    def cancel(self, job_id: str, user: str) -> None:
        """Somebody cancels; the answer is what happened."""
        known = self.model[job_id]
        outcome = self.run(self.queue.cancel(job_id, make_caller(user)))
        if known.user != user:
            assert outcome is Outcome.NOT_YOURS
        elif known.state in FINAL:
            assert outcome is Outcome.FINISHED
        elif known.state is State.RUNNING:
            assert outcome is Outcome.STOPPING
            known.stopping = True
        else:
            assert outcome is Outcome.CANCELLED
            known.state = State.CANCELLED

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        """An engine dies and another starts; the others notice its silence, and nobody else's."""
        dead = self.alive[which]
        self.alive[which] = self.start_engine()
        self.run(self.queue.rescue(self.watch))
        self.now += SILENT_S
        for owner in self.alive:
            heart = Heart(self.settings, owner)
            heart.beat()
            heart.stop()
        moved = {job.id: job for job in self.run(self.queue.rescue(self.watch))}
        lost = {job_id: known for job_id, known in self.model.items() if known.owner == dead}
        assert moved.keys() == lost.keys()
        for known in lost.values():
            if known.stopping:
                self.back(known, State.CANCELLED)
                continue
            known.strikes, known.solo = known.strikes + (len(lost) == 1), True
            self.back(known, State.FAILED if known.strikes >= STRIKES else State.QUEUED)
        assert all(job.state is self.model[job_id].state for job_id, job in moved.items())

    @rule()
    def reload(self) -> None:
        """Everything is closed and opened again."""
        self.run(self.stack.aclose())
        self.run(self._open())

    @invariant()
    def agrees(self) -> None:
        """The store and the model say the same of every job; each final job has one final event and one letter."""
        if not hasattr(self, "model"):
            return
        rows, told, letters, charged, service = self.run(self._seen())
        assert {row[0]: row[1:] for row in rows} == {
            job_id: (known.state, known.token, known.attempt, known.strikes, known.owner)
            for job_id, known in self.model.items()
        }
        assert told == letters == sorted(job_id for job_id, known in self.model.items() if known.state in FINAL)
        assert all(service[flow] >= amount for flow, amount in charged.items())

    async def _seen(self) -> tuple[Any, ...]:
        final = "SELECT job FROM event WHERE kind IN ('completed', 'failed', 'cancelled') ORDER BY job"
        async with self.db.read() as connection:

            async def ask(statement: str) -> list[Any]:
                return [tuple(row) for row in await connection.exec_driver_sql(statement)]

            return (
                await ask("SELECT id, state, token, attempt, strikes, owner FROM job"),
                [job for (job,) in await ask(final)],
                [job for (job,) in await ask("SELECT job FROM outbox ORDER BY job")],
                dict(await ask("SELECT flow_id, sum(charged_user) FROM job GROUP BY flow_id")),
                dict(await ask("SELECT id, service FROM flow")),
            )

    def teardown(self) -> None:
        """Close what was opened."""
        if hasattr(self, "runner"):
            self.run(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


def test_any_order_of_calls(store: str, request: pytest.FixtureRequest) -> None:
    """Whatever order people, engines, crashes and restarts come in, no job is lost, doubled or torn from its engine."""

    def make(home: Path) -> StoreSettings:
        url = None if store == SQLITE else request.getfixturevalue("server").store()
        made = StoreSettings(home=home, room=ROOM, cap=CAP, max_strikes=STRIKES, store=url)
        if url is None:
            shutil.copy(request.getfixturevalue("empty_store"), made.path)
        return made

    Life.make = staticmethod(make)
    few = {SQLITE: 20, POSTGRESQL: 8}[store]
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Life, settings=settings(max_examples=few, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )
