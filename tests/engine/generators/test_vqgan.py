"""Promises of CLIP-GEN's VQGAN: the published layout, its sizes, its layers' numbers, and its file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from engine.generators.vqgan import DECODER_ONLY, VQGAN, Attend, Halve, Quantizer, Residual, Shape, load

TINY = Shape(codes=20, dim=8, width=32, multipliers=(1, 2), blocks=1, attention=(4,), resolution=8)
DISCRIMINATOR = 22  # of the published file's 337 tensors: the ones the loader skips


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    """A tiny state whose every number is drawn, with a discriminator's tensor as in the published file."""
    source = torch.Generator().manual_seed(0)
    weights = VQGAN(TINY).state_dict()
    drawn = {key: 0.2 * torch.randn(weight.shape, generator=source) for key, weight in weights.items()}
    return drawn | {"discriminator.head.bias": torch.zeros(1)}


@pytest.fixture(scope="module")
def vqgan(stored: dict[str, Tensor]) -> VQGAN:
    """The network of that state."""
    return load(stored, shape=TINY)


@pytest.fixture(scope="module")
def published() -> VQGAN:
    """The network at `vqgan_coco`'s sizes, without memory for its weights."""
    with torch.device("meta"):
        return VQGAN(Shape()).eval()


def draws(*shape: int) -> Tensor:
    """Numbers that are the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_the_published_count_of_tensors(published: VQGAN) -> None:
    """337 with the discriminator's 22: 134 for the encoder, 180 for the decoder, one table."""
    parts = Counter(key.split(".")[0] for key in published.state_dict())
    assert parts == {"encoder": 134, "decoder": 180, "quantizer": 1}
    assert sum(parts.values()) == 337 - DISCRIMINATOR


def test_the_published_count_of_bytes(published: VQGAN) -> None:
    """315 MB in float32, of which the discriminator's 2.77 M parameters are 11."""
    parameters = sum(weight.numel() for weight in published.parameters())
    assert (4 * parameters + 4 * 2_765_000) / 1e6 == pytest.approx(315, abs=1)


def test_the_published_order_of_layers(published: VQGAN) -> None:
    """Indices of 6.4: which of encoder.down and decoder.up is a residual block, attention or a resampler."""
    letters = {"Residual": "r", "Attend": "a", "Halve": "-", "Double": "+"}
    down = "".join(letters[type(layer).__name__] for layer in published.encoder.down)
    up = "".join(letters[type(layer).__name__] for layer in published.decoder.up)
    assert down == "rr-rr-rr-rr-rara"
    assert up == "rarara+rrr+rrr+rrr+rrr"


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("encoder.conv_in.weight", (128, 3, 3, 3)),
        ("encoder.down.6.shortcut.weight", (256, 128, 1, 1)),
        ("encoder.down.12.block.6.weight", (512, 512, 3, 3)),
        ("encoder.down.13.attn.in_proj_weight", (1536, 512)),
        ("encoder.down.15.attn.out_proj.bias", (512,)),
        ("encoder.mid.1.norm.weight", (512,)),
        ("encoder.final.2.weight", (256, 512, 3, 3)),
        ("encoder.final.3.weight", (256, 256, 1, 1)),
        ("decoder.quant_conv_in.weight", (256, 256, 1, 1)),
        ("decoder.up.6.conv.weight", (512, 512, 3, 3)),
        ("decoder.up.7.block.2.weight", (256, 512, 3, 3)),
        ("decoder.up.15.shortcut.weight", (128, 256, 1, 1)),
        ("decoder.final.2.weight", (3, 128, 3, 3)),
        ("quantizer.embedding.weight", (16384, 256)),
    ],
)
def test_the_published_keys(published: VQGAN, key: str, shape: tuple[int, ...]) -> None:
    """Keys and shapes that 6.4 names."""
    assert published.state_dict()[key].shape == shape


def test_a_picture_of_256_is_16_by_16_cells(published: VQGAN) -> None:
    """And sixteen by sixteen codes are such a picture."""
    z = published.encoder(torch.empty(1, 3, 256, 256, device="meta"))
    assert z.shape == (1, 256, 16, 16)
    assert published.decode(torch.zeros(1, 256, dtype=torch.long, device="meta")).shape == (1, 3, 256, 256)


def test_tokens_to_pictures_and_back(vqgan: VQGAN) -> None:
    """Shapes, ranges, and nothing drawn inside."""
    tokens = torch.arange(32).reshape(2, 16) % TINY.codes
    pictures = vqgan.decode(tokens)
    assert pictures.shape == (2, 3, 8, 8)
    assert pictures.abs().max() <= 1
    assert vqgan.encode(pictures).shape == (2, 16)
    assert torch.equal(vqgan.decode(tokens), pictures)


def test_rows_are_independent(vqgan: VQGAN) -> None:
    """A picture does not depend on those beside it, nor do its tokens."""
    pictures = draws(3, 3, 8, 8)
    assert torch.equal(vqgan.encode(pictures)[1:2], vqgan.encode(pictures[1:2]))
    tokens = vqgan.encode(pictures)
    assert torch.allclose(vqgan.decode(tokens)[1:2], vqgan.decode(tokens[1:2]), atol=1e-5)


def test_painting_is_differentiable_in_the_codes(vqgan: VQGAN) -> None:
    """Codes may be optimised; the frozen weights get no gradient."""
    z = draws(1, TINY.dim, 4, 4).requires_grad_()
    vqgan.paint(z).square().sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in vqgan.parameters())


def test_nearest_is_by_distance() -> None:
    """The token that torch.cdist finds in float64, row by row of the picture; a code's nearest is its own."""
    quantizer = Quantizer(TINY)
    z = draws(2, TINY.dim, 4, 4)
    cells = z.flatten(2).transpose(1, 2).reshape(-1, TINY.dim).double()
    slow = torch.cdist(cells, quantizer.embedding.weight.double()).argmin(1).reshape(2, 16)
    assert torch.equal(quantizer.nearest(z), slow)
    own = quantizer.lookup(slow).transpose(1, 2).reshape(2, TINY.dim, 4, 4)
    assert torch.equal(quantizer.nearest(own), slow)


def test_attention_is_softmax_of_products() -> None:
    """One head over all cells, computed by hand from the file's tensors, plus its input."""
    block, x = Attend(32).eval(), draws(2, 32, 4, 4)
    torch.nn.init.normal_(block.attn.in_proj_bias, generator=torch.Generator().manual_seed(2))
    cells = block.norm(x).flatten(2).transpose(1, 2)
    q, k, v = functional.linear(cells, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, 2)
    seen = block.attn.out_proj((q @ k.transpose(1, 2) / 32**0.5).softmax(2) @ v)
    assert torch.allclose(block(x), x + seen.transpose(1, 2).reshape(x.shape), atol=1e-5)


def test_a_residual_block_by_hand() -> None:
    """Normalise, rectify, convolve, twice; a 1x1 convolution where the channels change."""
    block, x = Residual(32, 64), draws(1, 32, 4, 4)
    layers = block.block
    h = functional.conv2d(functional.silu(layers[0](x)), layers[2].weight, layers[2].bias, padding=1)
    h = functional.conv2d(functional.silu(layers[3](h)), layers[6].weight, layers[6].bias, padding=1)
    assert torch.allclose(block(x), h + block.shortcut(x), atol=1e-5)


def test_halving_pads_right_and_below() -> None:
    """The first cell sees the picture's corner and nothing outside."""
    halve, x = Halve(4), draws(1, 4, 8, 8)
    assert halve(x).shape == (1, 4, 4, 4)
    assert torch.allclose(halve(x)[:, :, :3, :3], functional.conv2d(x, halve.conv.weight, halve.conv.bias, stride=2))


def test_a_file_draws_what_its_network_drew(vqgan: VQGAN, stored: dict[str, Tensor], tmp_path: Path) -> None:
    """Every number of the layout takes part; a file says its shape unless it is the published one."""
    save_file(stored, tmp_path / "v.safetensors", metadata=TINY.to_metadata())
    read = load(tmp_path / "v.safetensors")
    assert {key: stored[key].shape for key in read.state_dict()} == {k: w.shape for k, w in vqgan.state_dict().items()}
    assert all(torch.equal(weight, stored[key]) for key, weight in read.state_dict().items())
    tokens = torch.arange(16)[None]
    assert torch.equal(read.decode(tokens), vqgan.decode(tokens))
    assert not read.training
    assert load(tmp_path / "v.safetensors", dtype=torch.bfloat16).decode(tokens).dtype == torch.bfloat16


def test_a_file_may_leave_the_encoder_out(vqgan: VQGAN, stored: dict[str, Tensor], tmp_path: Path) -> None:
    """Where its header says so it draws the same and reads nothing; without that word the encoder is missing."""
    drawing = {key: weight for key, weight in stored.items() if not key.startswith("encoder.")}
    save_file(drawing, tmp_path / "d.safetensors", metadata=TINY.to_metadata() | DECODER_ONLY)
    read, tokens = load(tmp_path / "d.safetensors"), torch.arange(16)[None]
    assert torch.equal(read.decode(tokens), vqgan.decode(tokens))
    with pytest.raises(ValueError, match="stored without its encoder"):
        read.encode(draws(1, 3, 8, 8))
    save_file(drawing, tmp_path / "d.safetensors", metadata=TINY.to_metadata())
    with pytest.raises(ValueError, match=r"weight 'encoder\.conv_in\.weight' is missing"):
        load(tmp_path / "d.safetensors")


def test_a_patch_is_read_and_painted_as_channels() -> None:
    """Two pixels a side a cell: half the levels, the same square of tokens, and every pixel is painted by itself."""
    network = VQGAN(Shape(20, 8, 32, (1, 2), 1, (), 16, groups=8, patch=2)).eval()
    assert network.grid == 4
    assert network.encoder.conv_in.weight.shape[1] == network.decoder.final[2].weight.shape[0] == 12
    pictures = draws(1, 3, 16, 16)
    assert network.encode(pictures).shape == (1, 16)
    assert network.decode(network.encode(pictures)).shape == (1, 3, 16, 16)


def test_a_file_without_a_shape_is_the_published_one(stored: dict[str, Tensor], tmp_path: Path) -> None:
    """So a tiny one is refused, by the name of a weight."""
    assert Shape.from_metadata(None) == Shape()
    assert Shape.from_metadata(TINY.to_metadata()) == TINY
    save_file(stored, tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match=r"weight 'encoder\.conv_in\.weight' has shape"):
        load(tmp_path / "v.safetensors")
    with pytest.raises(ValueError, match="exactly codes"):
        Shape.from_metadata({"shape": "{}"})


def test_the_first_wrong_key_is_named(stored: dict[str, Tensor]) -> None:
    """Missing, not expected, or of another shape."""
    missing = {key: weight for key, weight in stored.items() if key != "decoder.up.0.block.3.bias"}
    with pytest.raises(ValueError, match=r"the state dict: weight 'decoder\.up\.0\.block\.3\.bias' is missing\.$"):
        load(missing, shape=TINY)
    with pytest.raises(ValueError, match=r"the state dict: weight 'encoder\.extra' is not expected\.$"):
        load(stored | {"encoder.extra": torch.zeros(1)}, shape=TINY)
    turned = stored | {"quantizer.embedding.weight": stored["quantizer.embedding.weight"].T}
    with pytest.raises(ValueError, match=r"'quantizer\.embedding\.weight' has shape \[8, 20\], expected \[20, 8\]\.$"):
        load(turned, shape=TINY)
