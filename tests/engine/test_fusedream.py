"""FuseDream: its mixture and gradient in closed form, and its promises on the tiny pack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.batcher import Happening
from engine.codec import pixels_sha256
from engine.latents import Latents
from engine.methods import METHODS, Found
from engine.methods.fusedream import Adam, Mixture, rate_at
from engine.ops import Climb, EncodeText, Launch, Slope
from engine.rng import rng_for
from engine.runner import ModelRunner
from storage.job import Job, Method

Finish = Callable[..., dict[str, Happening]]
MakeJob = Callable[..., Job]


def mixture(k: int = 3, size: int = 4) -> Mixture:
    """A small mixture with random everything."""
    arrays = [rng_for(i, "test", 0).normals(k * size).reshape(k, size) for i in range(4)]
    return Mixture(*arrays, classes=np.array([0]), bound=None)


def found(happening: Happening) -> Found:
    """The end of a job that must have ended well."""
    assert isinstance(happening.what, Found), happening.what
    return happening.what


def test_mixing_is_a_softmax_per_coordinate() -> None:
    """Every coordinate has weights of its own, which sum to one; torch says the same."""
    mix = mixture()
    weights = torch.softmax(torch.from_numpy(mix.z_logits), dim=0)
    assert mix.latents().z[0] == pytest.approx((weights * torch.from_numpy(mix.z)).sum(0).numpy(), abs=1e-6)


def test_the_gradient_through_the_mixture_is_autograd_s() -> None:
    """The closed form equals what torch derives."""
    mix = mixture()
    outer = rng_for(9, "test", 0).normals(8)
    leaves = {name: torch.tensor(getattr(mix, name), requires_grad=True) for name in ("z", "y", "z_logits", "y_logits")}
    z, y = ((torch.softmax(leaves[f"{n}_logits"], 0) * leaves[n]).sum(0) for n in "zy")
    (torch.cat([z, y]) * torch.from_numpy(outer)).sum().backward()
    found = mix.gradient(Slope(0.0, outer[:4], outer[4:]))
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert found[name] == pytest.approx(leaf.grad.numpy(), abs=1e-12)


def test_adam_is_adam() -> None:
    """Three steps upwards equal torch's Adam downwards on the negated gradient."""
    mix, gradients = (
        mixture(),
        [mixture(size=4).gradient(Slope(0.0, np.full(4, s), np.full(4, -s))) for s in (1.0, 2.0, -1.0)],
    )
    leaf = torch.tensor(mix.z.copy(), requires_grad=True)
    theirs = torch.optim.Adam([leaf], lr=0.02)
    ours = Adam()
    for gradient in gradients:
        ours.ascend(mix, gradient, 1.0)
        leaf.grad = -torch.from_numpy(gradient["z"])
        theirs.step()
    assert mix.z == pytest.approx(leaf.detach().numpy(), abs=1e-9)


def test_the_rate_falls_from_full_to_a_quarter() -> None:
    """A cosine from 0.02 to 0.005."""
    assert rate_at(0, 100) == 1.0
    assert rate_at(100, 100) == pytest.approx(0.25)


def test_the_slope_is_the_gradient_of_the_score(runner: ModelRunner) -> None:
    """A small move along the gradient raises the score by its square, to first order (fp32)."""
    space = runner.space("tiny")
    text = runner.run(Launch((EncodeText("tiny", ("a lemon",)),)))[0].embeddings[0]
    drawn = space.draw(7, [0], [0])
    here = Latents(drawn.z, drawn.classes, space.class_embeddings[drawn.classes])
    slope: Slope = runner.run(Launch((Climb("tiny", here, text, 0, 0, 8),)))[0]
    assert np.linalg.norm(slope.z) > 0
    assert np.linalg.norm(slope.y) > 0
    direction = slope.y / np.linalg.norm(slope.y)
    assert here.y is not None
    ahead, behind = (
        runner.run(
            Launch((Climb("tiny", Latents(here.z, here.classes, here.y + sign * 0.3 * direction), text, 0, 0, 8),))
        )[0]
        for sign in (1, -1)
    )
    assert ahead.score > behind.score


def test_it_climbs_and_says_so_honestly(finish: Finish, make_job: MakeJob) -> None:
    """One picture, better on unclimbed views than the best of its search; its own number is one past the draws."""
    searched = found(finish(make_job("search"))["search"])
    dreamt = found(finish(make_job("dream", method=Method.FUSEDREAM, steps=40))["dream"])
    (picture,) = dreamt.pictures
    assert picture.candidate == 20
    assert [c.number for c in dreamt.candidates] == list(range(21))
    assert picture.augclip_score is not None
    assert picture.augclip_score > (searched.pictures[0].augclip_score or 1.0)
    assert picture.judge_score is not None


def test_bits_are_the_same_alone_and_in_company(finish: Finish, make_job: MakeJob) -> None:
    """Forty steps of gradients end in the same pixels, whoever else is dreaming."""

    def mine() -> Job:
        return make_job("mine", method=Method.FUSEDREAM, steps=12)

    alone = found(finish(mine())["mine"])
    others = [make_job(f"o{i}", method=Method.FUSEDREAM, steps=8 + i, seed=i, prompt=f"{i} barns") for i in range(3)]
    together = found(finish(*others, mine(), make_job("s", candidates=50))["mine"])
    assert alone.pictures[0].pixels is not None
    assert together.pictures[0].pixels is not None
    assert pixels_sha256(alone.pictures[0].pixels) == pixels_sha256(together.pictures[0].pixels)


def test_a_plateau_ends_the_climb(finish: Finish, make_job: MakeJob) -> None:
    """Two thousand steps are a bound, not a sentence: without gain it stops."""
    happening = finish(make_job("long", method=Method.FUSEDREAM, steps=2_000, candidates=4))["long"]
    assert isinstance(happening.what, Found)
    assert happening.used < 60


def test_the_recipe_names_every_knob(runner: ModelRunner, make_job: MakeJob) -> None:
    """Whoever changes a knob changes the digest."""
    recipe = METHODS[Method.FUSEDREAM].recipe(make_job(method=Method.FUSEDREAM), runner.space("tiny"), None)
    assert recipe["steps"] == 150
    assert set(recipe["fusedream"]) == {"bases", "head_start", "views", "check", "stop", "rates", "noise"}
