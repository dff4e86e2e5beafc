"""Promises of the embedded generator: its shapes, its determinism, its gradients and its file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.generators.embedded import EmbeddedGenerator, Shape, load
from engine.training import export, gan

SHAPE = Shape(("lemon", "barn"), variants=2, dim_z=8, dim_y=8, widths=(16, 16, 12, 8))


@pytest.fixture(scope="module")
def folded() -> EmbeddedGenerator:
    """A folded tiny generator with a last layer that says something."""
    torch.manual_seed(0)
    trained = gan.new_generator(SHAPE)
    nn.init.normal_(trained.rgb_last.weight, std=0.1)
    return gan.fold(trained, batches=2, size=8, seed=1)


def draws(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and label numbers."""
    source = torch.Generator().manual_seed(2)
    return torch.randn(count, SHAPE.dim_z, generator=source), torch.arange(count) % SHAPE.rows


def test_a_row_per_class_and_look(folded: EmbeddedGenerator) -> None:
    """Labels are named class/look, in class order, and a picture has the promised shape and range."""
    z, labels = draws(4)
    pictures = folded(z, folded.embed(labels))
    assert folded.classes == ("lemon/0", "lemon/1", "barn/0", "barn/1")
    assert folded.embed(labels).shape == (4, folded.dim_y)
    assert pictures.shape == (4, 3, folded.resolution, folded.resolution)
    assert pictures.abs().max() <= 1


def test_the_same_latents_draw_the_same_picture(folded: EmbeddedGenerator) -> None:
    """Nothing is drawn inside the network."""
    z, labels = draws(3)
    assert torch.equal(folded(z, folded.embed(labels)), folded(z, folded.embed(labels)))


def test_only_the_direction_of_z_counts(folded: EmbeddedGenerator) -> None:
    """z lies on a sphere."""
    z, labels = draws(2)
    y = folded.embed(labels)
    assert torch.allclose(folded(z, y), folded(3 * z, y), atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(folded: EmbeddedGenerator) -> None:
    """Batch statistics are gone after folding."""
    z, labels = draws(4)
    y = folded.embed(labels)
    assert torch.allclose(folded(z, y)[1:2], folded(z[1:2], y[1:2]), atol=1e-5)


def test_gradients_reach_both_latents(folded: EmbeddedGenerator) -> None:
    """d/dz and d/dy are not zero."""
    z, labels = draws(2)
    z.requires_grad_()
    y = folded.embed(labels).detach().requires_grad_()
    folded(z, y).square().sum().backward()
    assert z.grad is not None
    assert y.grad is not None
    assert z.grad.abs().amax(1).min() > 0
    assert y.grad.abs().amax(1).min() > 0


def test_half_precision_costs_less_than_a_hundredth(folded: EmbeddedGenerator, tmp_path: Path) -> None:
    """The fp16 file draws what the fp32 network drew."""
    z, labels = draws(4)
    export.write(folded, tmp_path / "g.safetensors")
    read = load(tmp_path / "g.safetensors")
    assert read.shape == SHAPE
    assert (read(z, read.embed(labels)) - folded(z, folded.embed(labels))).abs().max() < 0.01


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_the_first_wrong_weight_is_named(folded: EmbeddedGenerator, tmp_path: Path, damage: str) -> None:
    """A damaged file is refused in one sentence that names the weight."""
    path = tmp_path / "g.safetensors"
    export.write(folded, path)
    weights = load_file(path)
    bias = weights.pop("affine.bias")
    if damage == "extra":
        weights |= {"affine.bias": bias, "affine.other": bias.clone()}
    if damage == "shape":
        weights["affine.bias"] = bias[:-1]
    save_file(weights, path, metadata=SHAPE.to_metadata())
    named = "affine.other" if damage == "extra" else "affine.bias"
    with pytest.raises(ValueError, match=named):
        load(path)


def test_a_file_without_its_shape_is_refused(folded: EmbeddedGenerator, tmp_path: Path) -> None:
    """The header must say what the weights are."""
    path = tmp_path / "g.safetensors"
    export.write(folded, path)
    save_file(load_file(path), path)
    with pytest.raises(ValueError, match="shape"):
        load(path)


def test_folding_keeps_the_function() -> None:
    """Folded, the network draws what it drew with batch statistics, on the batch they were measured on."""
    torch.manual_seed(3)
    trained = gan.new_generator(SHAPE)
    nn.init.normal_(trained.rgb_last.weight, std=0.1)
    source = torch.Generator().manual_seed(5)
    z = torch.randn(16, SHAPE.dim_z, generator=source)
    y = trained.embed(torch.randint(SHAPE.rows, (16,), generator=source))
    folded = gan.fold(trained, batches=1, size=16, seed=5)
    assert torch.allclose(folded(z, y), trained(z, y), atol=1e-3)


def test_the_shipped_file_is_within_its_limit() -> None:
    """At most 20 MB, and it loads strictly."""
    assert export.PACK.stat().st_size <= export.LIMIT
    assert load(export.PACK).resolution == 64
