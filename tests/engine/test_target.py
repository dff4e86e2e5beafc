"""What pictures are scored against: weighted words, and a picture that was handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine.batcher import Happening
from engine.launches import Launch
from engine.methods import METHODS, Found, Past
from engine.methods.target import Target, encode_target
from engine.ops import EncodePicture, EncodeText, Floats, Render
from engine.runner import ModelRunner
from storage.errors import UserError
from storage.job import Job, Method

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]
DIGEST = "0" * 64


@pytest.fixture
def target(runner: ModelRunner, make_job: MakeJob) -> Callable[..., Target]:
    """The target of a prompt, with or without a picture."""

    def encode(prompt: str, past: Past | None = None, **params: Any) -> Target:
        ask = encode_target(make_job(prompt=prompt, **params), runner.space("tiny"), past)
        reply = None
        while True:
            try:
                reply = runner.run(Launch((ask.send(reply),)))[0]
            except StopIteration as end:
                found: Target = end.value
                return found

    return encode


def text(runner: ModelRunner, words: str) -> Floats:
    """The scorer's embedding of words."""
    embedding: Floats = runner.run(Launch((EncodeText("tiny", (words,)),)))[0].embeddings[0]
    return embedding


def test_one_part_is_its_own_embedding(runner: ModelRunner, target: Callable[..., Target]) -> None:
    """A plain prompt's target is the text's embedding to the last bit; a lone weight changes nothing."""
    assert (target("a lemon").embedding == text(runner, "a lemon")).all()
    assert (target("a lemon::3").embedding == text(runner, "a lemon")).all()


def test_parts_are_summed_by_weight(runner: ModelRunner, target: Callable[..., Target]) -> None:
    """The target is the unit vector along the weighted sum; what is negative leads away."""
    found = target("a lemon::2 | a barn::-0.5")
    lemon, barn = text(runner, "a lemon").astype(float), text(runner, "a barn").astype(float)
    along = 2 * lemon - 0.5 * barn
    assert found.embedding == pytest.approx(along / np.linalg.norm(along), abs=1e-6)
    assert found.embedding @ barn < text(runner, "a lemon") @ barn
    assert (found.said, found.unsaid) == ("a lemon", "a barn")


def test_parts_that_cancel_are_refused(target: Callable[..., Target]) -> None:
    """A sum of nothing points nowhere."""
    with pytest.raises(UserError, match="cancel each other out"):
        target("a lemon | a lemon::-1")


def test_a_picture_counts_as_a_part_of_weight_one(runner: ModelRunner, target: Callable[..., Target]) -> None:
    """Its embedding is added to the words'; a wide picture counts with its middle square."""
    pixels = runner.run(Launch((Render("tiny", runner.space("tiny").draw(7, [0], [0])),)))[0][0]
    seen = runner.run(Launch((EncodePicture("tiny", pixels),)))[0]
    wide = np.pad(pixels, ((0, 0), (30, 30), (0, 0)))
    assert runner.run(Launch((EncodePicture("tiny", wide),)))[0] == pytest.approx(seen, abs=1e-6)
    along = 2 * text(runner, "a lemon").astype(float) + seen
    found = target("a lemon::2", Past(picture=pixels), image=DIGEST)
    assert found.embedding == pytest.approx(along / np.linalg.norm(along), abs=1e-6)


def test_a_picture_that_is_gone_is_said(target: Callable[..., Target]) -> None:
    """A dream of a picture that the store lost ends with a sentence for the person."""
    with pytest.raises(UserError, match="no longer stored"):
        target("a lemon", Past(), image=DIGEST)


def test_what_is_not_wanted_is_drawn_less(runner: ModelRunner) -> None:
    """A label that a negative part names is further away by as much as one that is named is nearer."""
    space, nothing = runner.space("tiny"), np.zeros(32, np.float32)
    near = dict(zip(space.labels, space.similarities("a barn", nothing, "a lemon"), strict=True))
    assert near["barn"] > near["lion"] >= 0
    without = [space.labels[i] for i in np.argsort(space.similarities("", nothing, "a lemon lemon thing"))]
    assert without[0] == "lemon"


@pytest.mark.parametrize("method", [Method.SEARCH, Method.FUSEDREAM])
def test_the_recipe_holds_the_parts(runner: ModelRunner, make_job: MakeJob, method: Method) -> None:
    """Parsed parts and the picture's digest decide the pixels, so they stand in the recipe."""
    job = make_job(method=method, prompt="a lemon::2 | a barn::-0.5", image=DIGEST)
    recipe = METHODS[method].recipe(job, runner.space("tiny"), None)
    assert recipe["parts"] == [["a lemon", 2.0], ["a barn", -0.5]]
    assert recipe["image"] == DIGEST


def test_a_picture_steers_the_search(runner: ModelRunner, finish: Finish, make_job: MakeJob) -> None:
    """Whoever hands in a picture that the pack drew finds that very candidate first."""
    pixels = runner.run(Launch((Render("tiny", runner.space("tiny").draw(7, [0], [11])),)))[0][0]
    job = make_job(prompt="a lemon::0.01", top_k=1, image=DIGEST)
    steered = finish(job, past=Past(picture=pixels))["aaaaaa"].what
    assert isinstance(steered, Found)
    assert steered.pictures[0].candidate == 11
