"""A convolution of doubled pixels, split into phases: the same numbers, and used only where it gains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from engine.generators.biggan import load
from engine.generators.doubling import LEAST, DoubledConv
from tests.engine.generators.test_biggan import tiny, without_sv0


def made(into: int, out: int, dtype: torch.dtype = torch.float32) -> DoubledConv:
    """Numbers that are the same every time."""
    torch.manual_seed(7)
    return DoubledConv(into, out).to(dtype).requires_grad_(False)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 6), st.integers(1, 7), st.integers(1, 3))
def test_phases_are_the_plain_convolution(into: int, out: int, height: int, width: int, rows: int) -> None:
    """Of any size, down to one pixel, within fp32's rounding; float64 agrees to twelve digits."""
    for dtype, within in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        conv = made(into, out, dtype)
        x = torch.randn(rows, into, height, width, dtype=dtype)
        plain = functional.conv2d(functional.interpolate(x, scale_factor=2), conv.weight, conv.bias, padding=1)
        assert (conv.split(x) - plain).abs().max() < within


def test_it_is_used_where_it_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """On large maps without a gradient; a gradient goes the plain way, and both draw the same."""
    conv, used = made(3, 2), []
    split = DoubledConv.split
    monkeypatch.setattr(DoubledConv, "split", lambda self, x: used.append(x.shape[-1]) or split(self, x))
    large, small = torch.randn(1, 3, LEAST, LEAST), torch.randn(1, 3, LEAST // 2, LEAST // 2)
    with torch.inference_mode():
        drawn = conv(large)
        conv(small)
    assert used == [LEAST]
    with torch.enable_grad():
        leaf = large.clone().requires_grad_()
        again = conv(leaf)
        again.sum().backward()
    assert used == [LEAST]
    assert leaf.grad is not None
    assert (again - drawn).abs().max() < 1e-5


def test_a_cast_makes_its_kernels_anew() -> None:
    """A network is loaded in fp32 and placed in bf16: the summed kernels follow."""
    conv = made(3, 2)
    assert conv.phases()[0].dtype is torch.float32
    assert conv.phases()[0] is conv.phases()[0]
    assert conv.to(torch.bfloat16).phases()[0].dtype is torch.bfloat16
    assert set(conv.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_generator_draws_the_same_either_way(dtype: torch.dtype) -> None:
    """BigGAN whole: with split convolutions, as it draws, and with plain ones, as it climbs."""
    generator = load(without_sv0(tiny(128))).to(dtype)
    z, y = torch.randn(2, 18, dtype=dtype), torch.randn(2, 5, dtype=dtype)
    with torch.enable_grad():
        climbed = generator(z, y)
    with torch.inference_mode():
        drawn = generator(z, y)
    assert climbed.std() > 0.01
    assert (drawn - climbed).abs().max() < 1e-5
