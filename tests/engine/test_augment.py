"""FuseDream's views."""

from __future__ import annotations

import torch

from engine.augment import augment, draw_views


def test_views_are_drawn_by_number() -> None:
    """View 7 is the same in every batch."""
    assert torch.equal(draw_views(0, 0, 16)[7], draw_views(0, 7, 1)[0])


def test_a_view_does_not_depend_on_its_batch() -> None:
    """Row 3 alone equals row 3 among eight, to the last bit."""
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    draws = draw_views(0, 0, 8)
    together = augment(picture.expand(8, -1, -1, -1), draws)
    assert torch.equal(augment(picture, draws[3:4])[0], together[3])


def test_the_middle_of_all_ranges_changes_nothing_but_the_cutout() -> None:
    """Draws of one half: no brightness, saturation and contrast 1, no shift, scale 1."""
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    draws = torch.full((1, 8), 0.5)
    draws[:, 6:] = 0.0  # the square sits in the corner
    view = augment(picture, draws)
    assert torch.allclose(view[..., 16:, 16:], picture[..., 16:, 16:], atol=1e-5)
    assert (view[..., :16, :16] == 0).all()


def test_cutout_hides_half_the_side_at_most() -> None:
    """The square has half the picture's side, clipped at the border."""
    ones = torch.ones(256, 3, 64, 64)
    draws = torch.full((256, 8), 0.5)
    draws[:, 6:] = draw_views(1, 0, 256)[:, 6:]
    hidden = (augment(ones, draws) == 0).all(1).float().sum((1, 2))
    assert hidden.max() == 32 * 32
    assert 16 * 16 <= hidden.min() < 32 * 32


def test_shifts_are_symmetric_and_at_most_an_eighth() -> None:
    """Over many draws a bright column moves by -8..8 pixels, on average by none."""
    column = torch.zeros(512, 3, 64, 64)
    column[..., 32] = 1.0
    draws = torch.full((512, 8), 0.5)
    draws[:, 3:5] = draw_views(2, 0, 512)[:, 3:5]
    draws[:, 6:] = 0.0
    places = augment(column, draws)[:, 0].amax(1).argmax(1).float() - 32
    assert places.abs().max() == 8
    assert abs(places.mean()) < 0.6


def test_gradient_reaches_the_picture() -> None:
    """AugCLIP is optimised through the views."""
    picture = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()
    augment(picture, draw_views(0, 0, 1)).square().sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
