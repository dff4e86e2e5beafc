"""Compose: its optimiser in closed form, the paste, and its promises on the tiny pack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.batcher import Happening
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import METHODS, Found, barrier
from engine.ops import Blend, EncodeText, Paste
from engine.pasting import paste, pyramid_distance, seam
from engine.runner import ModelRunner
from storage.errors import UserError
from storage.job import Job, Method
from storage.recipe import canonical

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]
HALF = torch.tensor([0.5, 0.5, 0.5, 0.5])


def found(happening: Happening) -> Found:
    """The end of a job that must have ended well."""
    assert isinstance(happening.what, Found), happening.what
    return happening.what


def test_the_barrier_finds_the_least_f_where_g_is_least() -> None:
    """Toy: of all points on the line x + y = 1, where g is least, the nearest to (2, 0) is (1.5, -0.5)."""
    x, lambdas = np.array([-3.0, 4.0]), []
    for _ in range(500):
        f = 2 * (x - np.array([2.0, 0.0]))
        g = np.full(2, 2 * (x.sum() - 1))
        against, weight = barrier.direction(f, g)
        x = x - 0.05 * against
        lambdas.append(weight)
    assert x == pytest.approx([1.5, -0.5], abs=1e-3)
    assert min(lambdas) >= 0


def test_the_barrier_never_lets_g_rise() -> None:
    """Whatever f wants: the step has at least beta |grad g|^2 of g's own direction, and lambda is never negative."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        f, g = rng.normal(size=(2, 6)) * rng.uniform(0.01, 10, size=(2, 1))
        against, weight = barrier.direction(f, g)
        assert weight >= 0
        assert against @ g >= barrier.BETA * (g @ g) * (1 - 1e-9)


def test_where_nothing_pulls_nothing_moves() -> None:
    """With beta 0 and no slope of f the step is nothing; with no slope of g it is f's."""
    g = np.array([1.0, -2.0])
    assert (barrier.direction(np.zeros(2), g, beta=0.0)[0] == 0).all()
    assert (barrier.direction(g, np.zeros(2))[0] == g).all()


def test_a_paste_shows_all_of_the_first_within_its_box() -> None:
    """Inside the box the foreground, half its size; outside the background; between them a soft edge."""
    fore = torch.ones(1, 3, 64, 64)
    fore[..., :32] = 0.5
    pasted, mask = paste(fore, -torch.ones(1, 3, 64, 64), HALF)
    assert (pasted[..., :16, :] == -1).all()
    assert (pasted[..., 28:36, 20:30] == 0.5).all()
    assert (pasted[..., 28:36, 36:44] == 1).all()
    assert mask.min() == 0
    assert mask.max() == 1
    assert ((mask > 0) & (mask < 1)).any()


def test_distance_and_seam_are_nothing_where_nothing_differs() -> None:
    """A picture is at no distance from itself, and a paste of the background on itself has no seam; others do."""
    one, other = torch.rand(2, 1, 3, 64, 64, generator=torch.manual_seed(0))
    assert pyramid_distance(one, one) == 0
    assert pyramid_distance(one, other) > 0.1
    mask = paste(one, other, HALF)[1]
    assert seam(other, other, mask) == 0
    assert seam(paste(one, other, HALF)[0], other, mask) > 0.01


def test_paste_distance_and_seam_have_the_gradient_that_differences_have() -> None:
    """In float64, with respect to both pictures and the box."""
    pictures = torch.rand(2, 1, 1, 16, 16, dtype=torch.float64, generator=torch.manual_seed(1)).unbind(0)
    box = torch.tensor([0.47, 0.53, 0.61, 0.57], dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (*pictures, box)]

    def apart(fore: torch.Tensor, back: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        pasted, mask = paste(fore, back, box)
        return pyramid_distance(pasted, back.flip(-1)) + seam(pasted, back, mask)

    assert torch.autograd.gradcheck(apart, leaves, atol=1e-5)


def test_the_gradient_reaches_all_codes_and_the_box(runner: ModelRunner) -> None:
    """AugCLIP moves foreground, background and box; coherence moves the whole as well."""
    space = runner.space("tiny")
    drawn = space.draw(7, [0, 1, 2], [0, 1, 2])
    text = runner.run(Launch((EncodeText("tiny", ("a lemon",)),)))[0].embeddings[0]
    latents = Latents(drawn.z, drawn.classes, space.class_embeddings[drawn.classes])
    blended = runner.run(Launch((Blend("tiny", latents, HALF.numpy(), text, 0, 0, 8),)))[0]
    for slopes, rows in ((blended.score_slopes, (0, 1)), (blended.apart_slopes, (0, 1, 2))):
        assert all(np.abs(slopes.z[row]).max() > 0 and np.abs(slopes.y[row]).max() > 0 for row in rows)
        assert np.abs(slopes.box).max() > 0
    assert (blended.score_slopes.z[2] == 0).all()


def test_it_composes_and_says_what_it_made(finish: Finish, make_job: MakeJob) -> None:
    """The composite first, then the GAN's own; numbers past all draws; every score is the whole prompt's."""
    job = make_job("c", method=Method.COMPOSE, prompt="a lemon | a barn", steps=8, keep=4)
    result = found(finish(job)["c"])
    assert [p.candidate for p in result.pictures] == [40, 41]
    assert [c.number for c in result.candidates] == list(range(42))
    assert all(None not in (p.clip_score, p.augclip_score, p.judge_score) for p in result.pictures)
    assert result.pictures[0].pixels is not None
    assert result.pictures[0].pixels.shape == (64, 64, 3)


def test_a_given_box_stays_where_it_is(runner: ModelRunner, make_job: MakeJob) -> None:
    """Nobody moves a box that somebody chose; a free one starts in the middle, and stays within the picture."""
    boxes = {}
    for name, box in (("given", (0.3, 0.55, 0.5, 0.5)), ("free", None)):
        job = make_job(method=Method.COMPOSE, prompt="a lemon | a barn", steps=6, candidates=6, box=box)
        ask, reply, seen = METHODS[Method.COMPOSE].run(job, runner.space("tiny"), None), None, []
        try:
            while True:
                op = ask.send(reply)
                reply = runner.run(Launch((op,)))[0] if hasattr(op, "rung") else None
                seen += [op.box.tolist()] if isinstance(op, Paste | Blend) else []
        except StopIteration:
            boxes[name] = seen
    assert np.allclose(boxes["given"], (0.3, 0.55, 0.5, 0.5))
    assert boxes["free"][0] == [0.5, 0.5, 0.5, 0.5] != boxes["free"][-2]
    assert all(x - w / 2 >= 0 and x + w / 2 <= 1 and 0.44 < w < 0.71 for x, _, w, _ in boxes["free"])


def test_the_recipe_names_box_and_knobs(runner: ModelRunner, make_job: MakeJob) -> None:
    """What decides the picture stands in the recipe, as the store gives it back."""
    import json

    job = make_job(method=Method.COMPOSE, prompt="a lemon in a barn", box=(0.5, 0.5, 0.5, 0.5))
    recipe = METHODS[Method.COMPOSE].recipe(job, runner.space("tiny"), None)
    assert recipe["box"] == [0.5, 0.5, 0.5, 0.5]
    assert recipe["compose"]["beta"] == 0.5
    assert json.loads(canonical(recipe)) == recipe


def test_one_thing_is_not_enough(finish: Finish, make_job: MakeJob) -> None:
    """A prompt that names one thing is refused with an example."""
    error = finish(make_job("c", method=Method.COMPOSE))["c"].what
    assert isinstance(error, UserError)
    assert "needs two things" in str(error)
