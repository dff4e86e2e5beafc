"""Continuous batching, on a device that only counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.batcher import Batcher, Happening
from engine.latents import Latents
from engine.launches import Launch, launches
from engine.methods import Found, Past
from engine.ops import Ask, EncodeImages, Progress, Render
from storage.job import Job


def latents(rows: int, value: float = 0.0) -> Latents:
    """Rows that carry a value through the fake device."""
    return Latents(np.full((rows, 1), value, np.float32), np.zeros(rows, np.int64))


class Device:
    """Echoes each op's z; remembers launches; fails for the value 13."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def run(self, launch: Launch) -> list[Any]:
        """One reply an op."""
        self.launches.append(launch)
        if any((op.latents.z == 13).any() for op in launch.ops):  # type: ignore[union-attr]
            raise RuntimeError("unlucky")
        return [op.latents.z for op in launch.ops]  # type: ignore[union-attr]


def counting(steps: int, rows: int = 2, rung: int = 8, value: float = 1.0) -> Callable[[Job, Past | None], Ask[Found]]:
    """A method that asks `steps` times and checks that its own rows come back."""

    def run(job: Job, past: Past | None) -> Ask[Found]:
        for step in range(steps):
            mine = value + step
            reply = yield EncodeImages("tiny", latents(rows, mine), rung)
            assert (reply == mine).all()
            yield Progress(step + 1, steps)
        return Found((), ())

    return run


def batcher(device: Device, start: Callable[[Job, Past | None], Ask[Found]], **more: Any) -> Batcher:
    """A batcher whose steps are never too long."""
    return Batcher(run=device.run, start=start, **({"room": 8, "step_s": 1e9} | more))


def ends(happened: list[Happening]) -> dict[str, Any]:
    """What each job that left came to."""
    return {h.job.id: h.what for h in happened if not isinstance(h.what, Progress)}


def test_ops_of_many_jobs_run_as_one_launch(make_job: Callable[..., Job]) -> None:
    """Four jobs with two rows each at rung 8 are one device call a step, and each gets its own rows back."""
    device = Device()
    busy = batcher(device, counting(3))
    for i in range(4):
        busy.add(make_job(f"job{i}"))
    happened = [h for _ in range(4) for h in busy.step()]
    assert [launch.rows for launch in device.launches] == [8, 8, 8]
    assert {type(what) for what in ends(happened).values()} == {Found}
    assert not busy.has_work


def test_a_launch_never_outgrows_its_room() -> None:
    """Rows share a launch only at the rung each would use alone; where bits depend on it, it comes apart into rungs."""
    ops = [
        EncodeImages("tiny", latents(5), 8),
        EncodeImages("tiny", latents(4), 8),
        EncodeImages("tiny", latents(4), 4),
    ]
    first, second = launches(list(ops))
    assert [[op.rows for op in launch.ops] for launch in (first, second)] == [[5, 4], [4]]
    assert [[op.rows for op in part.ops] for part in first.parts()] == [[5], [4]]
    many = launches([EncodeImages("tiny", latents(50), 32) for _ in range(3)])
    assert [launch.rows for launch in many] == [100, 50]


def test_a_failure_stays_with_its_job(make_job: Callable[..., Job]) -> None:
    """The launch that dies is taken apart; the job at fault ends with the exception, its mate goes on."""
    device = Device()
    methods = {"good": counting(2), "bad": counting(2, value=13.0)}
    busy = batcher(device, lambda job, past: methods[job.id](job, past))
    busy.add(make_job("good"))
    busy.add(make_job("bad"))
    left = ends([h for _ in range(4) for h in busy.step()])
    assert isinstance(left["bad"], RuntimeError)
    assert isinstance(left["good"], Found)


def test_a_job_that_cannot_start_fails_alone(make_job: Callable[..., Job]) -> None:
    """An exception before the first op ends that job only."""

    def start(job: Job, past: Past | None) -> Ask[Found]:
        if job.id == "bad":
            raise KeyError("no such pack")
        return counting(1)(job, past)

    busy = batcher(Device(), start)
    busy.add(make_job("bad"))
    busy.add(make_job("good"))
    left = ends(busy.step() + busy.step())
    assert isinstance(left["bad"], KeyError)
    assert isinstance(left["good"], Found)


def test_a_newcomer_is_served_before_those_who_had_a_turn(make_job: Callable[..., Job]) -> None:
    """With steps of one launch, whoever joins goes first in the next step."""
    device = Device()
    busy = batcher(device, counting(3, rows=8), step_s=0.0)
    busy.add(make_job("old1"))
    busy.add(make_job("old2"))
    busy.step()
    busy.step()
    busy.add(make_job("new"))
    assert [h.job.id for h in busy.step() if isinstance(h.what, Progress)] == ["new"]


def test_a_first_picture_waits_for_nobody(make_job: Callable[..., Job]) -> None:
    """Until a newcomer has shown something, launches are its own; then, or after four of them, everybody's again."""

    def slow(job: Job, past: Past | None) -> Ask[Found]:
        for _ in range(9):
            yield EncodeImages("tiny", latents(2), 8)
        return Found((), ())

    def quick(job: Job, past: Past | None) -> Ask[Found]:
        for done in range(9):
            yield EncodeImages("tiny", latents(1), 8)
            if done == 1:
                yield Progress(1, 9, np.zeros((1, 1, 3), np.uint8))
        return Found((), ())

    device = Device()
    busy = batcher(device, lambda job, past: (quick if job.id == "quick" else slow)(job, past))
    busy.add(make_job("old"))
    for _ in range(4):
        busy.step()
    busy.add(make_job("quick"))
    assert not [h for h in busy.step() if h.job.id == "quick"]
    assert [h.what.preview is not None for h in busy.step() if isinstance(h.what, Progress)] == [True]
    busy.step()
    busy.add(make_job("mute"))
    for _ in range(5):
        busy.step()
    alone, old, mute, together = [2] * 4, [1] * 2, [2] * 4, [5]
    assert [launch.rows for launch in device.launches] == alone + old + [3] + mute + together


def test_dropping_closes_the_coroutine(make_job: Callable[..., Job]) -> None:
    """A cancelled job's method is closed, so that its clean-up runs; the seat is free."""
    closed: list[str] = []

    def start(job: Job, past: Past | None) -> Ask[Found]:
        try:
            yield from counting(5)(job, past)
        finally:
            closed.append(job.id)
        return Found((), ())

    busy = batcher(Device(), start)
    busy.add(make_job("job"))
    busy.step()
    busy.drop("job")
    assert closed == ["job"]
    assert busy.room == 8


def test_time_is_charged_by_rows(make_job: Callable[..., Job]) -> None:
    """A job with three quarters of the rows pays three quarters of the launch."""
    ticks = iter(range(1_000))
    methods = {"big": counting(1, rows=6), "small": counting(1, rows=2)}
    busy = batcher(Device(), lambda job, past: methods[job.id](job, past), clock=lambda: float(next(ticks)))
    busy.add(make_job("big"))
    busy.add(make_job("small"))
    used = {h.job.id: h.used for h in busy.step() + busy.step()}
    assert used == pytest.approx({"big": 0.75, "small": 0.25})


def test_renders_run_as_if_one_by_one() -> None:
    """They share a launch, which comes apart into kept pictures that are rendered alone."""
    (launch,) = launches([Render("tiny", latents(1)) for _ in range(3)])
    assert [part.rows for part in launch.parts()] == [1, 1, 1]
