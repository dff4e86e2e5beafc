"""Continuous batching: every running job is a coroutine of ops; a step resumes them all and fuses what they ask for.

Jobs join and leave at every step. A failure or a cancel stays with its job. Knows ops and turns; knows no device (it is
handed `run`), no database and no fairness: who comes in is the queue's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from engine.launches import Launch, launches, room_of
from engine.methods import Found, Past
from engine.ops import Ask, Op, Progress
from storage.job import Job

GREETED = 4  # launches before anybody else's that a job has, until it has shown a picture


@dataclass(frozen=True, slots=True, eq=False)
class Happening:
    """What a step did to a job: its progress, its end, or the exception that ended it. `used`: GPU-seconds so far."""

    job: Job
    what: Progress | Found | Exception
    used: float
    rungs: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Seat:
    """One running job."""

    job: Job
    past: Past | None
    ask: Ask[Found] | None = None  # its coroutine, once started
    op: Op | None = None  # what it waits for
    reply: Any = None
    error: Exception | None = None  # what the op died of, to be thrown into the coroutine
    turn: int = -1  # the last step that served it
    served: int = 0  # its launches so far
    shown: bool = False  # has it shown a picture?
    used: float = 0.0
    rungs: dict[str, None] | None = None

    @property
    def new(self) -> bool:
        """Has it yet to show something? Then a step is its own, so that a first picture waits for nobody."""
        return not self.shown and self.served < GREETED


class Batcher:
    """The running jobs and their next step. `step` may run in another thread than the rest, one call at a time."""

    def __init__(
        self,
        *,
        run: Callable[[Launch], list[Any]],
        start: Callable[[Job, Past | None], Ask[Found]],
        room: int,
        step_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._start, self._step_s, self._clock = run, start, step_s, clock
        self._room = room
        self._seats: dict[str, Seat] = {}
        self._pace: dict[Hashable, float] = {}  # seconds a row, by an op's key
        self._turn = 0
        self._happened: list[Happening] = []

    @property
    def room(self) -> int:
        """How many more jobs fit; below 0 where more were added."""
        return self._room - len(self._seats)

    @property
    def jobs(self) -> list[Job]:
        """The running jobs, oldest first."""
        return [seat.job for seat in self._seats.values()]

    def add(self, job: Job, past: Past | None = None) -> None:
        """A job joins at the next step."""
        self._seats[job.id] = Seat(job, past, rungs={})

    def drop(self, job_id: str) -> Seat | None:
        """A job leaves; its coroutine is closed. Between steps only."""
        seat = self._seats.pop(job_id, None)
        if seat and seat.ask:
            seat.ask.close()
        return seat

    def step(self) -> list[Happening]:
        """One turn over all running jobs: launch what they ask for, resume those it served, tell what happened."""
        self._resume()  # newcomers ask for the first time
        self._launch()
        self._resume()  # so that what a launch brought is told now, not after the next one
        happened, self._happened = self._happened, []
        return happened

    def _resume(self) -> None:
        """Every coroutine whose reply is there goes on to its next op, or its end."""
        for seat in list(self._seats.values()):
            if seat.op is not None:
                continue
            try:
                self._advance(seat)
            except StopIteration as end:
                self._leave(seat, end.value)
            except Exception as error:  # whatever a method dies of is its own job's end, nobody else's
                self._leave(seat, error)

    def _advance(self, seat: Seat) -> None:
        if seat.ask is None:
            seat.ask = self._start(seat.job, seat.past)
        asked: Op | Progress
        if seat.error is not None:
            error, seat.error = seat.error, None
            asked = seat.ask.throw(error)
        else:
            reply, seat.reply = seat.reply, None
            asked = seat.ask.send(reply)
        while isinstance(asked, Progress):
            self._tell(seat, asked)
            asked = seat.ask.send(None)
        seat.op = asked

    def _launch(self) -> None:
        """Device calls, those who waited longest first, until the step is long enough; the rest wait for the next.

        Newcomers, if there are any, have the step to themselves.
        """
        waiting = sorted((s for s in self._seats.values() if s.op is not None), key=lambda seat: seat.turn)
        waiting = [seat for seat in waiting if seat.new] or waiting
        by_op = {id(seat.op): seat for seat in waiting}
        deadline = self._clock() + self._step_s
        for launch in launches([seat.op for seat in waiting if seat.op is not None], self._room_for):
            self._serve(launch, [by_op[id(op)] for op in launch.ops])
            if self._clock() >= deadline:
                break
        self._turn += 1

    def _room_for(self, op: Op) -> int:
        """Rows of a launch: what fits, and is done by the end of a step as far as is known."""
        return min(room_of(op), max(op.rows, int(self._step_s / self._pace.get(op.key, 1e-9))))

    def _serve(self, launch: Launch, seats: list[Seat]) -> None:
        began = self._clock()
        try:
            replies = self._run(launch)
        except Exception as error:  # somebody's op is at fault: find out whose, each alone
            if len(seats) > 1:
                for seat, op in zip(seats, launch.ops, strict=True):
                    self._serve(Launch((op,)), [seat])
                return
            seats[0].error, replies = error, [None]
        spent = self._clock() - began
        self._pace[launch.ops[0].key] = spent / launch.rows
        for seat, op, reply in zip(seats, launch.ops, replies, strict=True):
            seat.reply, seat.op, seat.turn = reply, None, self._turn
            seat.used += spent * op.rows / launch.rows
            seat.served += 1
            if seat.rungs is not None:
                seat.rungs[f"{type(op).__name__}/{op.rung}"] = None

    def _leave(self, seat: Seat, end: Found | Exception) -> None:
        del self._seats[seat.job.id]
        self._tell(seat, end)

    def _tell(self, seat: Seat, what: Progress | Found | Exception) -> None:
        seat.shown = seat.shown or (isinstance(what, Progress) and what.preview is not None)
        self._happened.append(Happening(seat.job, what, seat.used, tuple(seat.rungs or ())))

    @property
    def has_work(self) -> bool:
        """Is anything running?"""
        return bool(self._seats)
