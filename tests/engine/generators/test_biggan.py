"""BigGAN: the layout of ajbrock's port and of FuseDream, loaded strictly, draws what a slow reading of it draws."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engine.generators.biggan import load
from tests.engine.generators.reference import Iterated, attend, double, filled, parameters

WIDTHS = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1), 512: (16, 16, 8, 8, 4, 2, 1, 1)}
ATTENTION = {128: 3, 256: 4, 512: 3}
DIM_Z = {128: 120, 256: 140, 512: 128}
COUNTS = {128: (70_433_988, 125), 256: (82_097_604, 146), 512: (82_296_804, 167)}
BUFFERS = (".u0", ".sv0", ".stored_mean", ".stored_var")


class Norm(nn.Module):
    """Normalise, modulate by [y, z chunk] or by fixed numbers, rectify."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.eps = 1e-4
        self.register_buffer("stored_mean", torch.empty(channels))
        self.register_buffer("stored_var", torch.empty(channels))
        if condition:
            self.gain, self.bias = Iterated(channels, condition), Iterated(channels, condition)
        else:
            self.gain, self.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """`condition` is None for the last one."""
        mean, var = self.get_buffer("stored_mean"), self.get_buffer("stored_var")
        unit = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + self.eps)
        if condition is None:
            return torch.relu(unit * self.gain[:, None, None] + self.bias[:, None, None])
        return torch.relu(unit * (1 + self.gain(condition))[..., None, None] + self.bias(condition)[..., None, None])


class Block(nn.Module):
    """With the shortcut taken from the doubled map."""

    def __init__(self, into: int, out: int, condition: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Iterated(out, into, 3, 3, bias=True), Iterated(out, out, 3, 3, bias=True)
        self.conv_sc = Iterated(out, into, 1, 1, bias=True)
        self.bn1, self.bn2 = Norm(into, condition), Norm(out, condition)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """To twice the side."""
        h = self.conv1(double(self.bn1(x, condition)))
        return self.conv2(self.bn2(h, condition)) + self.conv_sc(double(x))


class Attention(nn.Module):
    """Names as published."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(()))
        self.theta, self.phi = (Iterated(channels // 8, channels, 1, 1) for _ in range(2))
        self.g, self.o = Iterated(channels // 2, channels, 1, 1), Iterated(channels, channels // 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Over the whole map."""
        return x + self.gamma * self.o(attend(self.theta(x), self.phi(x), self.g(x)))


class Reference(nn.Module):
    """The network as published."""

    def __init__(self, resolution: int, chunk: int, width: int = 96, dim_y: int = 128, classes: int = 1000) -> None:
        super().__init__()
        channels = list(pairwise(units * width for units in WIDTHS[resolution]))
        self.chunk = chunk
        self.shared = nn.Embedding(classes, dim_y)
        self.linear = Iterated(16 * 16 * width, chunk, bias=True)
        self.blocks = nn.ModuleList(nn.ModuleList([Block(*sizes, dim_y + chunk)]) for sizes in channels)
        self.blocks[ATTENTION[resolution]].append(Attention(channels[ATTENTION[resolution]][1]))
        self.output_layer = nn.Sequential(Norm(width, 0), nn.Identity(), Iterated(3, width, 3, 3, bias=True))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Slot 0 to the first map, slot b + 1 to block b, y first."""
        slots = z.reshape(len(z), -1, self.chunk)
        x = self.linear(slots[:, 0]).reshape(len(z), -1, 4, 4)
        for index, (block, *attention) in enumerate(self.blocks):
            x = block(x, torch.cat([y, slots[:, index + 1]], 1))
            for layer in attention:
                x = layer(x)
        norm, _, conv = self.output_layer
        return torch.tanh(conv(norm(x, None)))


def tiny(resolution: int) -> Reference:
    """Four channels where the published network has 96."""
    network = filled(Reference(resolution, chunk=3, width=4, dim_y=5, classes=6), seed=resolution)
    assert isinstance(network, Reference)
    return network


@pytest.fixture(scope="module")
def reference() -> Reference:
    """The smallest."""
    return tiny(128)


@pytest.fixture
def state(reference: Reference) -> dict[str, Tensor]:
    """Its weights under the published names, without `sv0`, free to be spoilt."""
    return without_sv0(reference)


@pytest.fixture
def latents() -> tuple[Tensor, Tensor]:
    """Three rows of z and y."""
    random = torch.Generator().manual_seed(1)
    shape = {"generator": random, "dtype": torch.float64}
    return torch.randn(3, 18, **shape), torch.randn(3, 5, **shape)


def without_sv0(network: nn.Module) -> dict[str, Tensor]:
    """As FuseDream's files are."""
    return {key: tensor for key, tensor in network.state_dict().items() if not key.endswith(".sv0")}


def near(found: Tensor, wanted: Tensor, within: float = 1e-5) -> bool:
    """The pictures agree; `wanted` is not flat, so that agreement means something."""
    assert wanted.std((2, 3)).mean() > 0.01
    return bool((found - wanted).abs().max() < within)


@pytest.mark.parametrize("resolution", COUNTS)
def test_every_published_size_is_recognised_by_its_keys(resolution: int) -> None:
    """Parameters and tensors as published; a forward gives the picture's shape. No memory: meta tensors."""
    dim_z, (numbers, tensors) = DIM_Z[resolution], COUNTS[resolution]
    with torch.device("meta"):
        state = without_sv0(Reference(resolution, dim_z // len(WIDTHS[resolution])))
        assert parameters(state, BUFFERS) == numbers
        assert len(state) == tensors
        generator = load(state)
        y = generator.embed(torch.zeros(2, dtype=torch.long))
        assert generator(torch.empty(2, dim_z), y).shape == (2, 3, resolution, resolution)
    assert (generator.dim_z, generator.dim_y, generator.resolution) == (dim_z, 128, resolution)


@pytest.mark.parametrize("resolution", COUNTS)
def test_pictures_are_those_of_a_slow_reading_of_the_layout(resolution: int) -> None:
    """Folded spectral norms and the early shortcut change nothing; z is cut into slots, y stands before its chunk."""
    network = tiny(resolution)
    random = torch.Generator().manual_seed(1)
    z = torch.randn(1, 3 * len(WIDTHS[resolution]), generator=random, dtype=torch.float64)
    # In float64 no fused attention exists, and its map at 256 is half a gigabyte.
    dtype, within = (torch.float32, 1e-4) if resolution == 256 else (torch.float64, 1e-5)
    generator = load({key: tensor.to(dtype) for key, tensor in network.state_dict().items()})
    y = generator.embed(torch.tensor([3]))
    assert torch.equal(y, network.shared.weight[3:4].to(dtype))
    assert near(generator(z.to(dtype), y), network(z, y.double()), within)


def test_a_shortcut_costs_a_quarter() -> None:
    """Its 1x1 convolution sees the pixels before they are doubled."""
    costs = []
    with torch.device("meta"):
        network = Reference(256, 20)
        for drawing in (network, load(network.state_dict())):
            with FlopCounterMode(display=False) as counter:
                drawing(torch.empty(1, 140), torch.empty(1, 128))
            costs.append(counter.get_flop_counts()["Global"][torch.ops.aten.convolution])
    channels = list(pairwise(units * 96 for units in WIDTHS[256]))
    shortcuts = sum(2 * into * out * 4 ** (index + 3) for index, (into, out) in enumerate(channels))
    assert costs[0] - costs[1] == shortcuts * 3 / 4


def test_a_file_comes_back(tmp_path: Path, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """safetensors under the published names, at its own precision, frozen."""
    path = tmp_path / "biggan.safetensors"
    save_file({key: tensor.float() for key, tensor in state.items()}, path)
    z, y = latents
    generator = load(path)
    assert near(generator(z.float(), y.float()), load(state)(z, y), 1e-3)
    assert not generator.training
    assert not any(weight.requires_grad for weight in generator.parameters())


def test_sv0_may_be_there_and_gamma_may_be_a_row(
    reference: Reference, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]
) -> None:
    """Both are in some of the files; neither changes the picture."""
    wanted = load(state)(*latents)
    assert torch.equal(load(reference.state_dict())(*latents), wanted)
    state["blocks.3.1.gamma"] = state["blocks.3.1.gamma"].reshape(1)
    assert torch.equal(load(state)(*latents), wanted)


def test_bn_eps_is_that_of_the_original_or_fusedreams(
    reference: Reference, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]
) -> None:
    """1e-4 if nothing is said, 1e-5 for parity; where a channel hardly varies they draw different pictures."""
    for module in reference.modules():
        if isinstance(module, Norm):
            module.eps = 1e-5
    slow = reference(*latents)
    for module in reference.modules():
        if isinstance(module, Norm):
            module.eps = 1e-4
    assert near(load(state, bn_eps=1e-5)(*latents), slow, 1e-9)
    assert not near(load(state)(*latents), slow, 1e-9)


def test_the_first_map_is_channels_first(state: dict[str, Tensor], latents: tuple[Tensor, Tensor]) -> None:
    """Rows of the first layer in NHWC order draw another picture."""
    true = load(state)(*latents)
    for part, axis in (("weight", 0), ("bias", 0), ("u0", 1)):
        rows = state[f"linear.{part}"]
        swapped = rows.movedim(axis, 0).unflatten(0, (-1, 4, 4)).movedim(0, 2).flatten(0, 2).movedim(0, axis)
        state[f"linear.{part}"] = swapped
    assert (load(state)(*latents) - true).abs().max() > 0.1


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        ("blocks.2.0.bn1.gain.u0", None, "is missing"),
        ("blocks.4.0.conv_sc.bias", None, "is missing"),
        ("shared.weight", None, "is missing"),
        ("blocks.3.1.gamma", (2,), r"has shape \[2\], expected \[\]"),
        ("blocks.1.0.bn2.bias.weight", (64, 9), r"has shape \[64, 9\], expected \[32, 8\]"),
        ("blocks.2.1.gamma", (), "is not expected"),
        ("linear.sv1", (1,), "is not expected"),
    ],
)
def test_the_first_wrong_weight_is_named(
    state: dict[str, Tensor], key: str, shape: tuple[int, ...] | None, says: str
) -> None:
    """Missing, misshapen or not expected; of what is missing only `sv0` is forgiven."""
    if shape is None:
        del state[key]
    else:
        state[key] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"weight '{key}' {says}"):
        load(state)


def test_gradients_reach_z_and_y_and_are_those_of_the_slow_reading(
    reference: Reference, state: dict[str, Tensor], latents: tuple[Tensor, Tensor]
) -> None:
    """The way that FuseDream goes, through every slot of z."""
    z, y = (rows[:1].clone().requires_grad_() for rows in latents)
    wanted = torch.autograd.grad(reference(z, y).square().sum(), (z, y))
    assert (wanted[0] != 0).all()
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
