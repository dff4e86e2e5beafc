"""BigGAN-deep: HuggingFace's layout, loaded strictly, draws what a slow reading of that layout draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.generators.biggan_deep import BigGanDeep, Shape, load, place_of, published
from tests.engine.generators.reference import Stored, attend, double, filled, parameters

HEAD = "F16,16 T16,16 F16,16 T16,8 F8,8"
PLANS = {
    128: f"{HEAD} T8,4 F4,4 T4,2 F2,2 T2,1",
    256: f"{HEAD} T8,8 F8,8 T8,4 F4,4 T4,2 F2,2 T2,1",
    512: f"{HEAD} T8,8 F8,8 T8,4 F4,4 T4,2 F2,2 T2,1 F1,1 T1,1",
}
COUNTS = {128: (50_388_609, 506, 210.7), 256: (55_880_833, 602, 234.3), 512: (56_163_905, 698, 235.6)}
BUFFERS = ("_u", "_v", "running_means", "running_vars")


class Norm(nn.Module):
    """Statistics by truncation; `weights` says how much of which row."""

    def __init__(self, channels: int, dim: int | None) -> None:
        super().__init__()
        self.weights = {50: 1.0}
        self.register_buffer("running_means", torch.empty(51, channels))
        self.register_buffer("running_vars", torch.empty(51, channels))
        if dim is None:
            self.weight, self.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))
        else:
            self.scale, self.offset = Stored(channels, 2 * dim), Stored(channels, 2 * dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise, modulate, rectify."""
        means, variances = self.get_buffer("running_means"), self.get_buffer("running_vars")
        mean = sum(means[row] * weight for row, weight in self.weights.items())
        variance = sum(variances[row] * weight for row, weight in self.weights.items())
        unit = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-4)
        if hasattr(self, "scale"):
            return torch.relu(
                unit * (1 + self.scale(condition))[..., None, None] + self.offset(condition)[..., None, None]
            )
        return torch.relu(unit * self.weight[:, None, None] + self.bias[:, None, None])


class Block(nn.Module):
    """1x1, 3x3, 3x3, 1x1 at a quarter of the channels."""

    def __init__(self, into: int, out: int, dim: int, doubles: bool) -> None:
        super().__init__()
        self.out, self.doubles, middle = out, doubles, into // 4
        self.bn_0, self.bn_1, self.bn_2, self.bn_3 = (Norm(c, dim) for c in (into, middle, middle, middle))
        self.conv_0, self.conv_3 = Stored(middle, into, 1, 1, bias=True), Stored(out, middle, 1, 1, bias=True)
        self.conv_1, self.conv_2 = (Stored(middle, middle, 3, 3, bias=True) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """With the shortcut taken from the doubled map."""
        h = self.bn_1(self.conv_0(self.bn_0(x, condition)), condition)
        if self.doubles:
            h, x = double(h), double(x)
        h = self.bn_3(self.conv_2(self.bn_2(self.conv_1(h), condition)), condition)
        return self.conv_3(h) + x[:, : self.out]


class Attention(nn.Module):
    """Names as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(1))
        self.snconv1x1_theta, self.snconv1x1_phi = (Stored(channels // 8, channels, 1, 1) for _ in range(2))
        self.snconv1x1_g = Stored(channels // 2, channels, 1, 1)
        self.snconv1x1_o_conv = Stored(channels, channels // 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Over the whole map."""
        seen = attend(self.snconv1x1_theta(x), self.snconv1x1_phi(x), self.snconv1x1_g(x))
        return x + self.gamma * self.snconv1x1_o_conv(seen)


class Reference(nn.Module):
    """All channels of "RGB", and the first map through numpy's eyes: 4, 4, channels."""

    def __init__(self, resolution: int, width: int = 128, dim: int = 128, classes: int = 1000) -> None:
        super().__init__()
        self.embeddings = nn.Linear(classes, dim, bias=False)
        self.generator = inner = nn.Module()
        plan = [(step[0] == "T", *map(int, step[1:].split(","))) for step in PLANS[resolution].split()]
        layers: list[nn.Module] = [Block(into * width, out * width, dim, doubles) for doubles, into, out in plan]
        layers.insert(8, Attention(plan[8][1] * width))
        inner.gen_z = Stored(256 * width, 2 * dim, bias=True)
        inner.layers = nn.ModuleList(layers)
        inner.bn = Norm(width, None)
        inner.conv_to_rgb = Stored(width, width, 3, 3, bias=True)

    def forward(self, z: Tensor, y: Tensor, weights: dict[int, float] | None = None) -> Tensor:
        """`weights` of the rows of statistics, if not the last alone."""
        for module in self.modules():
            if isinstance(module, Norm):
                module.weights = weights or {50: 1.0}
        inner, condition = self.generator, torch.cat([z, y], 1)
        x = torch.einsum("nhwc->nchw", inner.gen_z(condition).reshape(len(z), 4, 4, -1))
        for layer in inner.layers:
            x = layer(x, condition) if isinstance(layer, Block) else layer(x)
        return torch.tanh(inner.conv_to_rgb(inner.bn(x, condition))[:, :3])


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Four channels where the published network has 128."""
    network = filled(Reference(128, width=4, dim=6, classes=5))
    assert isinstance(network, Reference)
    return network


@pytest.fixture
def state(reference: Reference) -> dict[str, Tensor]:
    """Its weights under the published names, free to be spoilt."""
    return dict(reference.state_dict())


@pytest.fixture
def latents() -> tuple[Tensor, Tensor]:
    """Three rows of z and y."""
    random = torch.Generator().manual_seed(1)
    z, y = torch.randn(2, 3, 6, generator=random, dtype=torch.float64)
    return z, y


def near(found: Tensor, wanted: Tensor, within: float = 1e-5) -> bool:
    """The pictures agree; `wanted` is not flat, so that agreement means something."""
    assert wanted.std((2, 3)).mean() > 0.01
    return bool((found - wanted).abs().max() < within)


@pytest.mark.parametrize("resolution", COUNTS)
def test_every_published_size_is_recognised_by_its_keys(resolution: int) -> None:
    """Parameters, tensors and megabytes as published; a forward gives the picture's shape. No memory: meta tensors."""
    with torch.device("meta"):
        state = Reference(resolution).state_dict()
        numbers, tensors, megabytes = COUNTS[resolution]
        assert parameters(state, BUFFERS) == numbers
        assert len(state) == tensors
        assert sum(tensor.numel() for tensor in state.values()) * 4e-6 == pytest.approx(megabytes, abs=0.2)
        generator = load(state)
        assert generator(torch.empty(2, 128), generator.embed(torch.zeros(2, dtype=torch.long))).shape == (
            (2, 3, resolution, resolution)
        )
    assert (generator.dim_z, generator.dim_y, generator.resolution) == (128, 128, resolution)
    assert published(Shape(resolution)) == {key: tuple(tensor.shape) for key, tensor in state.items()}


@pytest.mark.parametrize("resolution", COUNTS)
def test_pictures_are_those_of_a_slow_reading_of_the_layout(resolution: int) -> None:
    """Folded spectral norms, three RGB channels and the early shortcut change nothing."""
    network = filled(Reference(resolution, width=4, dim=6, classes=5), seed=resolution)
    z = torch.randn(1, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    generator = load(network.state_dict())
    y = generator.embed(torch.tensor([3]))
    assert torch.equal(y, network.embeddings(functional.one_hot(torch.tensor([3]), 5).double()))
    assert near(generator(z, y), network(z, y))


def test_a_file_comes_back(tmp_path: Path, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """safetensors under the published names, at its own precision, frozen."""
    path = tmp_path / "deep.safetensors"
    save_file({key: tensor.float() for key, tensor in state.items()}, path)
    z, y = latents
    generator = load(path)
    assert near(generator(z.float(), y.float()), load(state)(z, y), 1e-3)
    assert not generator.training
    assert not any(weight.requires_grad for weight in generator.parameters())


def test_rgb_is_cut_and_not_renormalised(state: dict[str, Tensor]) -> None:
    """Three of the channels, divided by the sigma of all of them: bit for bit."""
    raw, u, v = (state[f"generator.conv_to_rgb.weight_{part}"] for part in ("orig", "u", "v"))
    whole = raw / (u @ raw.flatten(1) @ v)
    cut = load(state).conv_to_rgb
    assert torch.equal(cut.weight, whole[:3])
    assert torch.equal(cut.bias, state["generator.conv_to_rgb.bias"][:3])


def test_the_first_map_is_channels_last(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Rows of the first layer in NCHW order draw another picture; put back, the same."""
    true = load(state)(*latents)
    name = "generator.gen_z.{}".format
    swapped = dict(state)
    for part in ("weight_orig", "weight_u", "bias"):
        rows = state[name(part)]
        swapped[name(part)] = rows.unflatten(0, (4, 4, -1)).movedim(2, 0).reshape(rows.shape)
    assert (load(swapped)(*latents) - true).abs().max() > 0.1
    for part in ("weight_orig", "weight_u", "bias"):
        rows = swapped[name(part)]
        swapped[name(part)] = rows.unflatten(0, (-1, 4, 4)).movedim(0, 2).reshape(rows.shape)
    assert torch.equal(load(swapped)(*latents), true)


def test_the_condition_is_z_then_y(reference: Reference, state: dict[str, Tensor]) -> None:
    """Swapped, the picture is another."""
    z, y = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert (load(state)(y, z) - reference(z, y)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        ("generator.layers.3.bn_2.offset.weight_u", None, "is missing"),
        ("generator.layers.10.conv_3.bias", None, "is missing"),
        ("embeddings.weight", None, "is missing"),
        ("generator.layers.0.bn_0.running_vars", (50, 64), r"has shape \[50, 64\], expected \[51, 64\]"),
        ("generator.layers.8.gamma", (2,), r"has shape \[2\], expected \[1\]"),
        ("generator.gen_z.weight_orig", (1024, 11), r"has shape \[1024, 11\], expected \[1024, 12\]"),
        ("generator.layers.8.extra", (1,), "is not expected"),
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


def test_a_file_of_another_kind_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    """A pickled checkpoint is converted before it comes here, and never unpickled here."""
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"^pytorch_model\.bin is not a safetensors file"):
        load(path)


def test_bf16_draws_nearly_the_same_and_ends_in_fp32(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """As the runner places it: cast, channels-last, statistics and all."""
    wanted = load(state, 0.43)(*latents)
    generator = load(state, 0.43).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    found = generator(*(rows.bfloat16() for rows in latents))
    assert found.dtype == torch.float32
    assert (found - wanted).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("truncation", "hf_compat", "weights"),
    [
        (0.4, False, {20: 1.0}),
        (0.4, True, {20: 1.0}),
        (0.43, False, {21: 0.5, 22: 0.5}),
        (0.425, False, {21: 0.75, 22: 0.25}),
        (0.425, True, {21: 0.25, 22: 0.75}),
        (0.14, False, {7: 1.0}),
        (0.14, True, {8: 1.0}),
        (0.58, False, {29: 1.0}),
        (0.58, True, {28: 1.0}),
        (0.005, False, {0: 0.75, 1: 0.25}),
    ],
)
def test_truncation_chooses_its_statistics(
    reference: Reference,
    state: dict[str, Tensor],
    latents: tuple[Tensor, Tensor],
    truncation: float,
    hf_compat: bool,
    weights: dict[int, float],
) -> None:
    """Exactly a row's, between two, and the reference's swapped weights with the rows it takes by rounding."""
    z, y = latents[0][:1], latents[1][:1]
    assert near(load(state, truncation, hf_compat)(z, y), reference(z, y, weights), 1e-9)


@pytest.mark.parametrize(
    ("truncation", "row"), [(0.14, 8), (0.28, 15), (0.56, 29), (0.1 * 3, 16), (0.2 * 3, 31), (0.58, 28), (0.94, 46)]
)
def test_hf_compat_takes_the_neighbour_by_a_rounding_error(truncation: float, row: int) -> None:
    """Whole rows, but not theirs; ours stays at the nearest row."""
    for compat, wanted in ((True, row), (False, round(truncation * 50))):
        below, share = place_of(truncation, hf_compat=compat)
        assert below + share == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("truncation", [0.0, -0.1, 1.01, float("nan")])
def test_truncation_outside_0_to_1_is_refused(truncation: float) -> None:
    """Zero has statistics, but no pictures."""
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        place_of(truncation)


def test_gradients_reach_z_and_y_and_are_those_of_the_slow_reading(
    reference: Reference, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]
) -> None:
    """The way that FuseDream goes."""
    z, y = (rows[:1].clone().requires_grad_() for rows in latents)
    wanted = torch.autograd.grad(reference(z, y).square().sum(), (z, y))
    for found, slow in zip(torch.autograd.grad(load(state)(z, y).square().sum(), (z, y)), wanted, strict=True):
        assert slow.abs().max() > 1e-3
        torch.testing.assert_close(found, slow)


def test_rows_do_not_see_each_other(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Other neighbours, the same picture."""
    z, y = latents
    generator: BigGanDeep = load(state)
    alone = generator(z[:1], y[:1])
    assert torch.allclose(generator(z, y)[:1], alone, atol=1e-9)
    assert torch.allclose(generator(z.flip(0), y.flip(0))[2:], alone, atol=1e-9)
