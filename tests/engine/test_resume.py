"""A climb that goes on from what was saved of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.launches import Launch
from engine.methods import METHODS, Found, Past
from engine.ops import Climb, Progress, Saved
from engine.runner import ModelRunner
from storage.job import Job, Method

MakeJob = Callable[..., Job]


def run(runner: ModelRunner, job: Job, state: bytes | None = None) -> tuple[Found, list[Saved], int]:
    """A whole run: its end, what it offered to save, and how many steps it climbed."""
    ask, reply = METHODS[Method.FUSEDREAM].run(job, runner.space("tiny"), Past(state=state)), None
    saved, steps = [], 0
    while True:
        try:
            op = ask.send(reply)
        except StopIteration as end:
            return end.value, saved, steps
        reply = None
        if isinstance(op, Saved):
            saved.append(op)
        if not isinstance(op, Progress):
            steps += isinstance(op, Climb)
            reply = runner.run(Launch((op,)))[0]


def test_the_bits_are_those_of_an_unbroken_run(runner: ModelRunner, make_job: MakeJob) -> None:
    """From the first and from the last saved state: the same pixels and scores, and only the steps that were left."""
    job = make_job("a lemon", method=Method.FUSEDREAM, candidates=8, steps=17)
    whole, saved, steps = run(runner, job)
    assert len(saved) == 3
    assert all(len(one.state) < 100_000 for one in saved)
    for one, left in ((saved[0], steps - 5), (saved[-1], steps - 15)):
        again, _, climbed = run(runner, job, one.state)
        assert climbed == left
        assert whole.pictures[0].pixels is not None
        assert again.pictures[0].pixels is not None
        assert np.array_equal(again.pictures[0].pixels, whole.pictures[0].pixels)
        assert again.pictures[0].augclip_score == whole.pictures[0].augclip_score
        assert again.candidates == whole.candidates
