"""SAGAN's attention: its own way backwards on a CPU."""

from __future__ import annotations

import pytest
import torch

from engine.generators import attention
from engine.generators.attention import Attention, Look, _fused


def test_blocks_have_the_gradient_that_the_fused_kernel_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, with places that fill no block evenly, for two pictures; value wider than query and key."""
    monkeypatch.setattr(attention, "ROWS", 7)
    torch.manual_seed(0)
    shapes = ((2, 1, 24, 3), (2, 1, 6, 3), (2, 1, 6, 5))
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    felt = torch.randn(2, 1, 24, 5, dtype=torch.float64)
    mine, theirs = (torch.autograd.grad((see(*parts) * felt).sum(), parts) for see in (Look.apply, _fused))
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_a_map_far_from_zero_is_changed() -> None:
    """The gain begins at 0; with one of its own the map moves, and the gradient reaches it."""
    torch.manual_seed(0)
    layer = Attention(16).requires_grad_(False)
    layer.gamma.fill_(1.0)
    x = torch.randn(1, 16, 8, 8).requires_grad_()
    seen = layer(x)
    assert not torch.allclose(seen, x)
    (slope,) = torch.autograd.grad(seen.square().sum(), x)
    assert slope.isfinite().all()
