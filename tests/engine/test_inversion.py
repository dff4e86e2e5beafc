"""A picture as the place to start from: how near the climb begins to it, and what is said where it cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.batcher import Happening
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import METHODS, Found, Past, inversion
from engine.methods.fusedream import DEFAULT, begin
from engine.methods.target import encode_target
from engine.ops import EncodePicture, Near, Op, Pixels, Progress, Render, Slope
from engine.runner import ModelRunner
from storage.errors import UserError
from storage.job import Job, Method, Parity

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]
DIGEST = "0" * 64


@pytest.fixture
def drawn(runner: ModelRunner) -> Pixels:
    """A picture that the tiny pack can draw."""
    pixels: Pixels = runner.run(Launch((Render("tiny", runner.space("tiny").draw(99, [1], [5])),)))[0][0]
    return pixels


def test_nearness_has_the_gradient_that_it_says(runner: ModelRunner, drawn: Pixels) -> None:
    """A move along the slope comes nearer, one against it goes further; the picture itself is at distance zero."""
    space = runner.space("tiny")
    embedding = runner.run(Launch((EncodePicture("tiny", drawn),)))[0]
    there = space.draw(99, [1], [5])
    same: Slope = runner.run(Launch((Near("tiny", there, drawn, embedding),)))[0]
    assert same.score == pytest.approx(1.0, abs=0.02)
    other = space.draw(7, [0], [0])
    code = space.class_embeddings[other.classes]
    slope: Slope = runner.run(Launch((Near("tiny", Latents(other.z, other.classes, code), drawn, embedding),)))[0]
    assert slope.score < same.score
    step = 0.05 * slope.z / np.linalg.norm(slope.z)
    ahead, behind = (
        runner.run(Launch((Near("tiny", Latents(other.z + way * step, other.classes, code), drawn, embedding),)))[0]
        for way in (1, -1)
    )
    assert ahead.score > slope.score > behind.score


def test_the_climb_begins_near_the_picture(
    runner: ModelRunner, make_job: MakeJob, drawn: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the optimisation ends is nearer than the best candidate, and its scores are of the words again."""
    monkeypatch.setattr(inversion, "STEPS", 30)
    space = runner.space("tiny")
    job = make_job(method=Method.FUSEDREAM, start=DIGEST, steps=2)
    past, asked = Past(start=drawn), []

    def drive(ask: object) -> object:
        reply = None
        while True:
            try:
                op = ask.send(reply)  # type: ignore[attr-defined]
            except StopIteration as ended:
                return ended.value
            asked.append(op)
            reply = None if isinstance(op, Progress) else runner.run(Launch((op,)))[0]

    target = drive(encode_target(job, space, past))
    scored, mixture, said = drive(begin(job, space, past, target, DEFAULT))  # type: ignore[arg-type,misc]
    first = next(op for op in asked if isinstance(op, Near))
    embedding = first.embedding
    before, after = (
        runner.run(Launch((Near("tiny", latents, drawn, embedding),)))[0].score
        for latents in (first.latents, mixture.latents())
    )
    assert after > before + 0.02
    assert f"{after:.2f}" in said
    told = [op for op in asked if isinstance(op, Progress)]
    assert told[-1].total == 20 + 30 + 2
    seen = np.frombuffer(scored.candidates[0].embedding or b"", "<f2").astype(float)
    assert scored.candidates[0].clip_score == pytest.approx(float(seen @ target.embedding), abs=1e-5)  # type: ignore[attr-defined]


def test_another_picture_is_another_dream(
    finish: Finish, make_job: MakeJob, drawn: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a picture and from its negative, with one seed, come two dreams, and the note says how near each began."""
    monkeypatch.setattr(inversion, "STEPS", 20)
    job = make_job(method=Method.FUSEDREAM, start=DIGEST, steps=2)
    one, two = (finish(job, past=Past(start=pixels))["aaaaaa"].what for pixels in (drawn, 255 - drawn))
    assert isinstance(one, Found)
    assert isinstance(two, Found)
    assert (one.pictures[0].pixels != two.pictures[0].pixels).any()  # type: ignore[union-attr]
    assert "It began from your picture" in (one.note or "")


def test_the_recipe_holds_the_picture(runner: ModelRunner, make_job: MakeJob) -> None:
    """And what its inversion is made of; a dream without one holds neither."""
    way, space = METHODS[Method.FUSEDREAM], runner.space("tiny")
    begun = way.recipe(make_job(method=Method.FUSEDREAM, start=DIGEST), space, None)
    assert begun["start"] == DIGEST
    assert begun["inversion"] == [inversion.STEPS, *inversion.RATES]
    assert "start" not in way.recipe(make_job(method=Method.FUSEDREAM), space, None)


def test_a_picture_that_is_gone_is_said(finish: Finish, make_job: MakeJob) -> None:
    """A dream that starts from a picture that the store lost ends with a sentence for the person."""
    ended = finish(make_job(method=Method.FUSEDREAM, start=DIGEST, steps=2), past=Past())["aaaaaa"].what
    assert isinstance(ended, UserError)
    assert "no longer stored" in str(ended)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"method": Method.SEARCH, "start": DIGEST}, "this one is search"),
        ({"method": Method.FUSEDREAM, "start": DIGEST, "parity": Parity.FUSEDREAM}, "without a parity"),
        ({"method": Method.FUSEDREAM, "start": "cat.png"}, "start is the sha256 of a stored picture"),
    ],
)
def test_what_cannot_start_from_a_picture_is_refused(make_job: MakeJob, asked: dict[str, object], says: str) -> None:
    """In a sentence that names the method that can."""
    with pytest.raises(UserError, match=says):
        make_job(**asked)


def test_every_op_is_counted_and_alone(drawn: Pixels, runner: ModelRunner) -> None:
    """One row, one launch, one reply for each op of a launch."""
    embedding = runner.run(Launch((EncodePicture("tiny", drawn),)))[0]
    op: Op = Near("tiny", runner.space("tiny").draw(7, [0], [0]), drawn, embedding)
    assert (op.rows, op.rung) == (1, 1)
    assert len(runner.run(Launch((op, op)))) == 2
