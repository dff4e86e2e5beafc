"""FuseDream: its mixture and gradient in closed form, and its promises on the tiny pack."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from engine.batcher import Happening
from engine.codec import pixels_sha256
from engine.latents import Latents
from engine.launches import Launch
from engine.methods import METHODS, Found
from engine.methods.found import published_space
from engine.methods.fusedream import DEFAULT, PUBLISHED, rate_at, start
from engine.methods.mixture import Adam, Mixture
from engine.ops import Climb, EncodeImages, EncodeText, EncodeViews, Op, Preprocess, Progress, Render, Slope
from engine.rng import rng_for
from engine.runner import ModelRunner
from storage.job import Job, Method, Parity
from storage.recipe import canonical

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
    found = mix.gradient(outer[:4], outer[4:])
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert found[name] == pytest.approx(leaf.grad.numpy(), abs=1e-12)


def test_adam_is_adam() -> None:
    """Three steps upwards equal torch's Adam downwards on the negated gradient."""
    mix, gradients = (
        mixture(),
        [mixture(size=4).gradient(np.full(4, s), np.full(4, -s)) for s in (1.0, 2.0, -1.0)],
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


def test_a_plain_slope_is_of_the_picture_as_it_is(runner: ModelRunner) -> None:
    """Without views the score is CLIP's own cosine, whatever view comes next."""
    space = runner.space("tiny")
    text = runner.run(Launch((EncodeText("tiny", ("a lemon",)),)))[0].embeddings[0]
    drawn = space.draw(7, [0], [0])
    seen = runner.run(Launch((EncodeImages("tiny", drawn, 4),)))[0]
    here = Latents(drawn.z, drawn.classes, space.class_embeddings[drawn.classes])
    slopes = [runner.run(Launch((Climb("tiny", here, text, 0, first, 1, plain=True),)))[0] for first in (0, 9)]
    assert [slope.score for slope in slopes] == [pytest.approx(float((seen[0] * text).sum()), abs=1e-3)] * 2


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


def test_a_plateau_ends_the_climb(
    finish: Finish, make_job: MakeJob, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand steps are a bound, not a sentence: without gain it stops."""
    climbed, run = [], runner.run

    def counting(launch: Launch) -> list[object]:
        climbed.extend(op for op in launch.ops if isinstance(op, Climb))
        return run(launch)

    monkeypatch.setattr(runner, "run", counting)
    happening = finish(make_job("long", method=Method.FUSEDREAM, steps=2_000, candidates=4))["long"]
    assert isinstance(happening.what, Found)
    assert 0 < len(climbed) < 1_000


def test_the_recipe_names_every_knob(runner: ModelRunner, make_job: MakeJob) -> None:
    """Whoever changes a knob changes the digest."""
    recipe = METHODS[Method.FUSEDREAM].recipe(make_job(method=Method.FUSEDREAM), runner.space("tiny"), None)
    assert recipe["steps"] == 150
    assert recipe["fusedream"].keys() == asdict(DEFAULT).keys()
    assert json.loads(canonical(recipe)) == recipe  # what the store gives back compares equal


class Parities:
    """`--parity fusedream` on the tiny pack, where ten thousand candidates are twelve."""

    def __init__(self, runner: ModelRunner, make_job: MakeJob) -> None:
        self.runner, self.space = runner, runner.space("tiny")
        self.job = make_job("p", method=Method.FUSEDREAM, parity=Parity.FUSEDREAM, candidates=12, steps=3)

    def ops(self) -> list[Op]:
        """Every op of a whole run, in order; and the end."""
        asked: list[Op] = []
        ask, reply = METHODS[Method.FUSEDREAM].run(self.job, self.space, None), None
        while True:
            try:
                op = ask.send(reply)
            except StopIteration as end:
                self.end: Found = end.value
                return asked
            reply = None
            if not isinstance(op, Progress):
                asked.append(op)
                reply = self.runner.run(Launch((op,)))[0]


@pytest.fixture
def parity(runner: ModelRunner, make_job: MakeJob) -> Parities:
    """A short published run."""
    return Parities(runner, make_job)


def test_published_candidates_are_clamped_not_resampled(runner: ModelRunner, parity: Parities) -> None:
    """Of the coordinates, 4.6 % lie exactly on +-2, and the spread is 0.960: a clamp (2.2), no truncated normal."""
    space = published_space(parity.job.params, replace(parity.space, truncation=2.0))
    z = space.draw(1, [0, 1], range(2_000)).z
    assert (np.abs(z) == 2.0).mean() == pytest.approx(0.0455, abs=0.003)
    assert z.std() == pytest.approx(0.960, abs=0.01)
    assert np.abs(replace(parity.space, truncation=2.0).draw(1, [0], range(500)).z).max() < 2.0


def test_published_labels_are_all_and_alike(parity: Parities) -> None:
    """Classes are uniform over every label, whatever the prompt says (2.2)."""
    recipe = METHODS[Method.FUSEDREAM].recipe(parity.job, parity.space, None)
    assert recipe["top_k"] == len(parity.space.labels)
    assert recipe["prior"] == {"clamp": 2.0}
    many = [parity.space.label_of(int(c)) for c in parity.space.draw(7, range(5), range(600)).classes]
    assert min(many.count(label) for label in parity.space.labels) > 80


def test_published_mixtures_start_as_a_scramble(parity: Parities) -> None:
    """Random logits leave 0.577 of a basis's spread at k = 5 (2.3), and resemble none of the five."""
    space = replace(parity.space, dim_z=4_000)
    bases = Latents(rng_for(0, "test", 0).normals(20_000).reshape(5, -1).astype(np.float32), np.arange(5))
    mixed = start(parity.job, space, bases, PUBLISHED).latents().z[0]
    assert mixed.std() == pytest.approx(0.577, abs=0.02)
    assert max(abs(np.corrcoef(mixed, basis)[0, 1]) for basis in bases.z) < 0.7


def test_the_published_climb_is_the_official_code_s(parity: Parities) -> None:
    """Fifty views that share their scale a step, noise in every step, lr 5e-3 for all, and no checks (2.3, 2.4)."""
    ops = parity.ops()
    climbs = [op for op in ops if isinstance(op, Climb)]
    assert [(op.first, op.rows, op.preprocess) for op in climbs] == [
        (50 * step, 50, Preprocess.FUSEDREAM) for step in (1, 2, 3)
    ]
    assert (PUBLISHED.rates, PUBLISHED.noisy, PUBLISHED.noise, PUBLISHED.bound) == ((5e-3, 5e-3, 5e-3), 1.0, 0.01, 2.0)
    assert {rate_at(step, 1_000, PUBLISHED) for step in (0, 400, 1_000)} == {1.0}
    report = [op for op in ops if isinstance(op, EncodeViews) and op.preprocess is Preprocess.FUSEDREAM]
    assert [(op.first, op.rows) for op in report] == [(50 * call, 50) for call in range(20)]
    assert parity.end.note is not None
    assert parity.end.note.startswith("AugCLIP as FuseDream reports it (20 x 50 views): ")


def test_the_published_result_is_the_last_iterate_before_its_step(parity: Parities) -> None:
    """Not the best, and not after the last step: the point that the last gradient was taken at, without its noise."""
    ops = parity.ops()
    last = [op for op in ops if isinstance(op, Climb)][-1]
    kept = [op for op in ops if isinstance(op, Render)][-1]
    noise = (last.latents.z - kept.latents.z)[0]
    expected = rng_for(parity.job.params.seed, "noise", 2).normals(16 + 8)[:16] * 0.01
    assert noise == pytest.approx(expected, abs=1e-5)


def test_published_z_stays_in_its_box_and_y_is_free(parity: Parities) -> None:
    """After a step Z is clamped to +-2; Y and the logits are not."""
    mix = start(parity.job, parity.space, parity.space.draw(7, range(5), range(5)), PUBLISHED)
    pull = {name: np.full_like(getattr(mix, name), 1e3) for name in ("z", "y", "z_logits", "y_logits")}
    adam = Adam(5.0, 5.0)
    adam.ascend(mix, pull, 1.0)
    assert mix.z.max() == 2.0
    assert mix.y.max() > 3.0
    assert mix.z_logits.max() > 3.0


def test_a_preprocess_is_what_its_program_does(runner: ModelRunner) -> None:
    """Ours smooths when it shrinks, FuseDream's does not; the search's shows CLIP the raw [-1, 1]."""
    clip = runner._loaded["tiny"].scorer
    large = torch.rand(1, 3, 128, 128, generator=torch.manual_seed(0)) * 2 - 1
    ours, fusedream, raw = (clip.preprocess(large, how) for how in list(Preprocess)[:3])
    assert not torch.allclose(ours, fusedream, atol=0.1)
    plain = torch.nn.functional.interpolate(large, size=clip.image_size, mode="bilinear", align_corners=False)
    assert torch.equal(raw, plain)
    assert torch.allclose(fusedream, ((plain + 1) / 2 - clip._mean) / clip._std, atol=1e-5)
    small = large[..., :16, :16]
    assert torch.equal(clip.preprocess(small, Preprocess.OURS), clip.preprocess(small, Preprocess.FUSEDREAM))
