"""SAGAN: both of StudioGAN's layouts, loaded strictly, draw what a slow reading of them draws."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.generators.sagan import load
from tests.engine.generators.reference import Stored, attend, double, filled, parameters

CLASSES, DIM_Z = 5, 6
BUFFERS = ("_u", "_v", "running_mean", "running_var", "num_batches_tracked")
FORMS = ("embedded", "linear")


class Norm(nn.Module):
    """Conditional batch norm: rows of two embeddings, or one-hot vectors before two linear layers."""

    def __init__(self, channels: int, classes: int, form: str) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        if form == "embedded":
            self.embed0, self.embed1 = Stored(classes, channels), Stored(classes, channels)
        else:
            self.gain, self.bias = Stored(channels, classes), Stored(channels, classes)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`y` are class indices for the embeddings, class vectors for the linear layers."""
        if hasattr(self, "embed0"):
            gain, bias = self.embed0.weight[y], self.embed1.weight[y]
        else:
            gain, bias = self.gain(y), self.bias(y)
        return torch.relu(self.bn(x) * (1 + gain)[..., None, None] + bias[..., None, None])


class Block(nn.Module):
    """With the shortcut taken from the doubled map."""

    def __init__(self, into: int, out: int, classes: int, form: str) -> None:
        super().__init__()
        self.bn1, self.bn2 = Norm(into, classes, form), Norm(out, classes, form)
        self.conv2d0 = Stored(out, into, 1, 1, bias=True)
        self.conv2d1, self.conv2d2 = Stored(out, into, 3, 3, bias=True), Stored(out, out, 3, 3, bias=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """To twice the side."""
        return self.conv2d2(self.bn2(self.conv2d1(double(self.bn1(x, y))), y)) + self.conv2d0(double(x))


class Attention(nn.Module):
    """Names as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1x1_theta, self.conv1x1_phi = (Stored(channels // 8, channels, 1, 1) for _ in range(2))
        self.conv1x1_g = Stored(channels // 2, channels, 1, 1)
        self.conv1x1_attn = Stored(channels, channels // 2, 1, 1)
        self.sigma = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Over the whole map; the class does not matter."""
        return x + self.sigma * self.conv1x1_attn(attend(self.conv1x1_theta(x), self.conv1x1_phi(x), self.conv1x1_g(x)))


class Reference(nn.Module):
    """The network as published."""

    def __init__(self, form: str, width: int = 64, dim_z: int = 128, classes: int = 1000) -> None:
        super().__init__()
        self.linear0 = Stored(16 * 16 * width, dim_z, bias=True)
        sizes = pairwise(units * width for units in (16, 16, 8, 4, 2, 1))
        layers: list[nn.Module] = [Block(into, out, classes, form) for into, out in sizes]
        layers.insert(4, Attention(2 * width))
        self.blocks = nn.ModuleList(nn.ModuleList([layer]) for layer in layers)
        self.bn4 = nn.BatchNorm2d(width, eps=1e-4)
        self.conv2d5 = Stored(3, width, 3, 3, bias=True)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """`y` as the form wants it."""
        x = self.linear0(z).reshape(len(z), -1, 4, 4)
        for (layer,) in self.blocks:
            x = layer(x, y)
        return torch.tanh(self.conv2d5(torch.relu(self.bn4(x))))


def tiny(form: str) -> Reference:
    """Four channels where the published network has 64."""
    network = filled(Reference(form, 4, DIM_Z, CLASSES))
    assert isinstance(network, Reference)
    return network


@pytest.fixture(scope="module")
def reference() -> Reference:
    """The linear form, which takes any class vector."""
    return tiny("linear")


@pytest.fixture
def state(reference: Reference) -> dict[str, Tensor]:
    """Its weights under the published names, free to be spoilt."""
    return dict(reference.state_dict())


@pytest.fixture
def latents() -> tuple[Tensor, Tensor]:
    """Three rows of z, and of class mixtures."""
    random = torch.Generator().manual_seed(1)
    z, y = (torch.randn(3, size, generator=random, dtype=torch.float64) for size in (DIM_Z, CLASSES))
    return z, y.softmax(1)


def near(found: Tensor, wanted: Tensor, within: float = 1e-5) -> bool:
    """The pictures agree; `wanted` is not flat, so that agreement means something."""
    assert wanted.std((2, 3)).mean() > 0.01
    return bool((found - wanted).abs().max() < within)


@pytest.mark.parametrize("form", FORMS)
def test_the_published_size_is_recognised_by_its_keys(form: str) -> None:
    """Parameters and megabytes as published; a forward gives the picture's shape. No memory: meta tensors."""
    with torch.device("meta"):
        state = Reference(form).state_dict()
        assert parameters(state, BUFFERS) == 42_017_412
        assert sum(tensor.nbytes for tensor in state.values()) / 1e6 == pytest.approx(168.5, abs=0.2)
        generator = load(state)
        y = generator.embed(torch.zeros(2, dtype=torch.long))
        assert generator(torch.empty(2, 128), y).shape == (2, 3, 128, 128)
    assert (generator.dim_z, generator.dim_y, generator.resolution) == (128, 1000, 128)


@pytest.mark.parametrize("form", FORMS)
def test_pictures_are_those_of_a_slow_reading_of_the_layout(form: str, latents: tuple[Tensor, Tensor]) -> None:
    """Folded spectral norms, the early shortcut and one-hot rows for an embedding's change nothing."""
    network, z, classes = tiny(form), latents[0][:2], torch.tensor([3, 0])
    generator = load(network.state_dict())
    y = generator.embed(classes)
    assert y.dtype == torch.float64
    assert near(generator(z, y), network(z, classes if form == "embedded" else y))


def test_both_forms_of_the_same_weights_draw_the_same(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Gain and bias turned on their sides, u and v changing roles, are embed0 and embed1."""
    turned = {}
    for key, weight in state.items():
        for new, old in (("embed0", ".gain."), ("embed1", ".bias.")):
            if old in key:
                key = key.replace(old, f".{new}.")
                key = key.translate(str.maketrans("uv", "vu")) if key.endswith(("_u", "_v")) else key
                weight = weight.T if weight.dim() == 2 else weight
        turned[key] = weight
    assert torch.allclose(load(turned)(*latents), load(state)(*latents), atol=1e-9)


def test_a_mixture_of_classes_mixes_gains_and_biases(reference: Reference, latents: tuple[Tensor, Tensor]) -> None:
    """y is a class vector, and any mixture is one."""
    assert near(load(reference.state_dict())(*latents), reference(*latents))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_comes_back(tmp_path: Path, form: str, latents: tuple[Tensor, Tensor]) -> None:
    """safetensors under the published names, with or without batch counters, at its own precision, frozen."""
    state = {key: tensor.float() for key, tensor in tiny(form).state_dict().items() if "num_batches" not in key}
    path = tmp_path / "sagan.safetensors"
    save_file(state, path)
    z, y = latents
    generator = load(path)
    assert near(generator(z.float(), y.float()), load(tiny(form).state_dict())(z, y), 1e-3)
    assert not generator.training
    assert not any(weight.requires_grad for weight in generator.parameters())


def test_the_first_map_is_channels_first(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Rows of the first layer in NHWC order draw another picture."""
    true = load(state)(*latents)
    for part in ("weight_orig", "bias", "weight_u"):
        rows = state[f"linear0.{part}"]
        state[f"linear0.{part}"] = rows.unflatten(0, (-1, 4, 4)).movedim(0, 2).flatten(0, 2)
    assert (load(state)(*latents) - true).abs().max() > 0.1


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        ("blocks.2.0.bn1.gain.weight_v", None, "is missing"),
        ("blocks.5.0.conv2d0.bias", None, "is missing"),
        ("linear0.weight_orig", None, "is missing"),
        ("blocks.4.0.sigma", (), r"has shape \[\], expected \[1\]"),
        ("blocks.1.0.bn2.bn.running_var", (33,), r"has shape \[33\], expected \[32\]"),
        ("blocks.6.0.conv2d0.bias", (4,), "is not expected"),
    ],
)
def test_the_first_wrong_weight_is_named(
    state: dict[str, Tensor], key: str, shape: tuple[int, ...] | None, says: str
) -> None:
    """Missing, misshapen or not expected."""
    if shape is None:
        del state[key]
    else:
        state[key] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"weight '{key}' {says}"):
        load(state)


def test_a_mixture_of_the_two_forms_is_refused(state: dict[str, Tensor]) -> None:
    """One embedding, and the file is read as embedded: the first that is then missing is named."""
    state["blocks.0.0.bn1.embed0.weight_orig"] = torch.zeros(CLASSES, 64)
    with pytest.raises(ValueError, match=r"weight 'blocks\.0\.0\.bn1\.embed0\.weight_u' is missing"):
        load(state)


def test_gradients_reach_z_and_y_and_are_those_of_the_slow_reading(
    reference: Reference, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]
) -> None:
    """The way that FuseDream would go, through every class of the mixture."""
    z, y = (rows[:1].clone().requires_grad_() for rows in latents)
    wanted = torch.autograd.grad(reference(z, y).square().sum(), (z, y))
    assert (wanted[1] != 0).all()
    for found, slow in zip(torch.autograd.grad(load(state)(z, y).square().sum(), (z, y)), wanted, strict=True):
        assert slow.abs().max() > 1e-3
        torch.testing.assert_close(found, slow)


def test_rows_do_not_see_each_other(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Other neighbours, the same picture."""
    z, y = latents
    generator = load(state)
    alone = generator(z[:1], y[:1])
    assert torch.allclose(generator(z, y)[:1], alone, atol=1e-9)
    assert torch.allclose(generator(z.flip(0), y.flip(0))[2:], alone, atol=1e-9)
