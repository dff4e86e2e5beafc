"""Promises of the generator's training: its mathematics, its parting into looks, and that a killed run goes on."""

import copy
import json
import os
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from engine.generators.embedded import SLOPE, Shape
from engine.training import begin, export, gan, recipe, variants
from engine.training.augment import Strength, augment, draw
from engine.training.centres import Centres
from engine.training.data import data_folder, open_archive
from engine.training.features import MobileNet
from engine.training.gan import BatchModulate
from engine.training.photographs import Photographs
from engine.training.trainer import Trainer

TINY = Shape(("lemon", "barn"), variants=2, dim_z=4, dim_y=4, widths=(8, 8, 8, 8, 8))


def test_batch_modulation_has_the_gradient_of_batch_normalisation() -> None:
    """The hand-written backward agrees with torch's own."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    gain, shift = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    weight = torch.randn(4, 3, 5, 5)
    normal = functional.batch_norm(x, None, None, training=True)
    plain = functional.leaky_relu(normal * gain[:, :, None, None] + shift[:, :, None, None], SLOPE)
    wanted = torch.autograd.grad((plain * weight).sum(), (x, gain, shift))
    ours = torch.autograd.grad((BatchModulate(3)(x, gain, shift) * weight).sum(), (x, gain, shift))
    for one, other in zip(ours, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_pair_shares_its_augmentation() -> None:
    """Equal pictures stay equal across the halves of a batch."""
    strength = Strength(0.125, 0.4, 0.5, 0.6, 0.5)
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    draws = draw(strength, 6, torch.Generator().manual_seed(1), torch.device("cpu"))
    seen = augment(torch.cat([x, x]), draws, 32)
    assert seen.shape == (6, 3, 32, 32)
    assert torch.equal(seen[:3], seen[3:])
    assert not torch.allclose(seen[:3], functional.interpolate(x, size=32, mode="bilinear"))


def test_augmentation_of_no_strength_only_enlarges() -> None:
    """The resampling is the plain bilinear enlargement but for the border."""
    x = torch.rand(2, 3, 16, 16)
    draws = draw(Strength(0, 0, 0, 0, 0), 2, torch.Generator().manual_seed(1), torch.device("cpu"))
    large = functional.interpolate(x, size=32, mode="bilinear", align_corners=False)
    assert torch.allclose(augment(x, draws, 32)[..., 1:-1, 1:-1], large[..., 1:-1, 1:-1], atol=1e-5)


def test_identical_fakes_cost_the_whole_hinge() -> None:
    """A pair of one picture costs one; a pair as far apart as photographs costs nothing."""
    real = [torch.randn(8, 4, 2, 2)]
    same = [torch.cat([real[0][:4], real[0][:4]])]
    assert float(gan.diversity(same * 2, real * 2).loss) == 1
    assert float(gan.diversity([3 * real[0]] * 2, real * 2).loss) == 0


def test_looks_are_equal_groups_of_neighbours() -> None:
    """Two clouds in a class become its two looks."""
    cloud = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)) * 0.1
    features = torch.cat([cloud[:10] + 5, cloud[10:] - 5])
    looks = variants.part(features, torch.zeros(20, dtype=torch.long), 2, dims=3, rounds=3, seed=0)
    assert looks.bincount().tolist() == [10, 10]
    assert len(set(looks[:10].tolist())) == 1


def test_colours_part_what_features_do_not() -> None:
    """Pictures that the features cannot tell apart become looks by their colours."""
    features = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    classes = torch.zeros(20, dtype=torch.long)
    shares = torch.zeros(20, 11)
    shares[::2, 3] = shares[1::2, 7] = 1.0
    beside = variants.tinted(shares, classes, 50.0)
    looks = variants.part(features, classes, 2, dims=3, rounds=3, seed=0, beside=beside)
    assert len(set(looks[::2].tolist())) == 1
    assert looks[0] != looks[1]


def test_a_second_run_begins_with_the_shipped_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its convolutions are the pack's; a row whose photographs look like an old look begins close to that look."""
    old = gan.fold(gan.new_generator(TINY), 2, 8, 0)
    export.write(old, tmp_path / "generator.safetensors")
    monkeypatch.setattr(begin, "PACK", tmp_path / "generator.safetensors")
    fresh, run = gan.new_generator(replace(TINY, variants=4)), trainer()
    seen = begin.see(run.net, begin.paint(old, torch.arange(4).repeat_interleave(begin.PER_ROW), begin.SEED)).pooled
    like = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])  # the old look that every new row's photographs are taken from
    pools = like[:, None] * begin.PER_ROW + torch.arange(begin.PER_ROW)
    wanted = replace(run.photographs, pooled=seen, pools=pools, counts=torch.full((8,), begin.PER_ROW))
    state = begin.shipped_weights(fresh, run.net, wanted)
    assert torch.equal(state["convs.0.weight"], old.convs[0].weight.half().float())
    nearest = torch.cdist(state["embedding.weight"], old.embedding.weight.half().float()).argmin(1)
    assert (nearest == like).float().mean() > 0.7


def test_a_new_critic_learns_alone_at_first() -> None:
    """While `critic_first` pictures are shown the generator stays, and the critic moves."""
    run = trainer()
    run.recipe = replace(run.recipe, critic_first=8)
    before, critic = run.generator.start.weight.clone(), run.critic.heads[0].plain.parametrizations.weight.original
    old = critic.clone()
    run.step()
    assert torch.equal(run.generator.start.weight, before)
    assert not torch.equal(critic, old)
    run.step()
    run.step()
    assert not torch.equal(run.generator.start.weight, before)


@pytest.mark.parametrize("path", sorted(recipe.GAN.parent.glob("gan*.toml")), ids=lambda path: path.stem)
def test_the_recipes_in_the_repository_read(path: Path) -> None:
    """Every knob has its number on both devices, and rates fall at the end."""
    for device in ("cpu", "cuda"):
        numbers = recipe.load_recipe(path, device)
        assert numbers.batch % 2 == 0
        assert numbers.rate(numbers.pictures) < numbers.rate(0)


def test_a_resumed_run_ends_where_an_unbroken_one_does() -> None:
    """A step, a checkpoint, another step: bit-equal to two."""
    unbroken, resumed = trainer(), trainer()
    unbroken.step()
    resumed.resume(copy.deepcopy(unbroken.state()))
    unbroken.step()
    resumed.step()
    assert resumed.shown == unbroken.shown
    for one, other in zip(resumed.generator.parameters(), unbroken.generator.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("pixel", [0.0, 0.5])
def test_a_step_moves_both_networks_and_the_average(pixel: float) -> None:
    """Embedding, generator, heads and average move; the head on pixels only when it counts."""
    run = trainer(pixel)
    watched = [run.generator.embedding, run.generator.start, run.critic.heads[0], run.slow.start, run.critic.pixel]
    before = [[weight.clone() for weight in part.parameters()] for part in watched]
    losses = run.step()
    moved = [
        any(not torch.equal(one, other) for one, other in zip(old, part.parameters(), strict=True))
        for old, part in zip(before, watched, strict=True)
    ]
    assert moved == [True, True, True, True, pixel > 0]
    assert all(np.isfinite(loss) for loss in losses.values())


@pytest.mark.data
def test_the_frozen_network_has_the_gradient_of_its_program() -> None:
    """The hand-written way back agrees with finite differences along the gradient."""
    net = MobileNet(open_archive(data_folder(os.environ), "mobilenet_v2.npz"), torch.device("cpu"), torch.float32)
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).pooled.sum(), x)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        found = (net(x + step).pooled.sum() - net(x - step).pooled.sum()) / 2
    assert float(found) == pytest.approx(float(1e-2 * gradient.norm()), rel=0.05)


def test_missing_photographs_are_one_sentence(tmp_path: Path) -> None:
    """No default path: the setting must be there and name a folder."""
    with pytest.raises(ValueError, match="DREAMBOT_DATA is not set"):
        data_folder({})
    with pytest.raises(ValueError, match="not a folder"):
        data_folder({"DREAMBOT_DATA": str(tmp_path / "nowhere")})


def trainer(pixel: float = 0.0) -> Trainer:
    """A run on random pictures with a small random network."""
    numbers = recipe.load_recipe(recipe.GAN, "cpu")
    first = {name: getattr(numbers.phases[0], name) for name in recipe.Phase.__slots__} | {"pixel": pixel}
    changed = {name: getattr(numbers, name) for name in recipe.Recipe.__slots__} | {
        "batch": 4,
        "side": 32,
        "variants": TINY.variants,
        "dim_z": TINY.dim_z,
        "average_every": 1,
        "phases": (recipe.Phase(**first),),
    }
    net = MobileNet(archive(), torch.device("cpu"), torch.float32)
    return Trainer(TINY, recipe.Recipe(**changed), net, photographs())


def photographs() -> Photographs:
    """Sixteen pictures of noise in two classes of two looks."""
    source = torch.Generator().manual_seed(4)
    return Photographs(
        pictures=torch.randint(256, (16, 3, 64, 64), generator=source).to(torch.uint8),
        classes=torch.arange(16) // 8,
        pools=torch.arange(16).view(4, 4),
        counts=torch.full((4,), 4),
        pooled=torch.randn(16, 1280, generator=source),
        outputs=torch.tensor([3, 5]),
        probe=torch.randn(4, 1281, generator=source) * 0.1,
    )


@cache
def archive() -> dict[str, NDArray[np.generic]]:
    """A program with MobileNet's numbering and tap widths, and one random convolution between two taps."""
    source = np.random.default_rng(0)
    ops, weights = [], {}
    chain = [(109, 3), (110, 8), (119, 24), (130, 32), (156, 96), (170, 320), (171, 1280)]
    layers = [(into, out, wide, tall) for (into, wide), (out, tall) in pairwise(chain)]
    for number, (into, out, wide, tall) in enumerate([*layers, (172, 173, 1280, 1001)]):
        size, stride = (1, 1) if out >= 171 else (3, 2)
        ops.append(
            {"op": "conv", "inputs": [into], "output": out, "weight": number, "stride": stride, "groups": 1}
            | {"relu6": out == 171}
        )
        weights[f"w{number}"] = source.normal(0, (wide * size**2) ** -0.5, (tall, wide, size, size)).astype(np.float16)
        weights[f"b{number}"] = np.zeros(tall, np.float16)
    program = np.frombuffer(json.dumps({"input": 0, "ops": ops}).encode(), np.uint8)
    return {"program": program, **weights}


def test_a_row_that_is_off_is_pulled_back() -> None:
    """The pull moves fakes of a displaced row against their displacement, and leaves rows at their place alone."""
    seen = photographs()
    centres = Centres(seen, 4)
    fake = centres.real[[0, 1, 0, 1]].clone()
    fake[[0, 2], 0] += 5
    fake.requires_grad_()
    (flow,) = torch.autograd.grad(centres.pull(torch.tensor([0, 1, 0, 1]), fake, centres.real[[0, 1, 0, 1]]), fake)
    assert flow[0, 0] > 0
    assert flow[[1, 3]].abs().max() < 1e-6
