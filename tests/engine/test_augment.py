"""FuseDream's views."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.augment import (
    SCALE,
    _colour,
    _cutout,
    _grid,
    _resize,
    _translate,
    augment,
    augment_published,
    draw_views,
)

Form = Callable[[Tensor, Tensor], Tensor]
FROZEN = {"augment": [-228.286, -4.264], "augment_published": [-181.946, -19.333]}


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


def test_colour_may_as_well_come_last() -> None:
    """Ours, step by step as it is told: colour, then resampling, then the square; of many pictures or of one."""
    pictures = torch.rand(4, 3, 24, 24, generator=torch.manual_seed(0)) * 2 - 1
    draws = draw_views(6, 0, 4)
    for some in (pictures, pictures[:1].expand(4, -1, -1, -1)):
        grid = _grid(draws[:, 3:6], 24, 20)
        told = _cutout(F.grid_sample(_colour(some, draws[:, :3]), grid, align_corners=False), draws[:, 6:])
        assert torch.allclose(augment(some, draws, 20), told, atol=1e-5)
    assert torch.allclose(augment(pictures[:1], draws, 20), told, atol=1e-5)


FORMS = [augment, augment_published]
OPERATORS = {
    "colour": lambda images, draws: _colour(images, draws[:, :3]),
    "ours": augment,
    "ours, larger": lambda images, draws: augment(images, draws, 11),
    "ours, of one": lambda images, draws: augment(images[:1], draws),
    "translate": lambda images, draws: _translate(images, draws[:, 3:5]),
    "resize": lambda images, draws: _resize(images, 0.8 + 0.4 * float(draws[0, SCALE])),
    "cutout": lambda images, draws: _cutout(images, draws[:, 6:8]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("side", [64, 31])
def test_views_have_the_shape_of_their_pictures(form: Form, side: int) -> None:
    """Any square, odd ones as well, keeps its shape and type."""
    views = form(torch.zeros(5, 3, side, side), draw_views(0, 0, 5, shared=5))
    assert views.shape == (5, 3, side, side)
    assert views.dtype == torch.float32


@pytest.mark.parametrize("form", FORMS)
def test_a_seed_means_the_same_views_on_every_run(form: Form) -> None:
    """Frozen sums of two views: a change of numpy, torch or of ours that moves them would move every score."""
    picture = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    views = form(picture.expand(2, -1, -1, -1), draw_views(7, 0, 2, shared=2))
    assert views.sum((1, 2, 3)).tolist() == pytest.approx(FROZEN[form.__name__], abs=1e-2)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_have_the_gradient_that_differences_have(name: str) -> None:
    """In float64 every operator's derivative is its difference quotient."""
    draws = draw_views(3, 0, 2, shared=2).double()
    images = (torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(0)) * 2 - 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: OPERATORS[name](x, draws), (images,))


def test_colour_has_the_published_ranges_and_means() -> None:
    """Over many draws: brightness moves the mean by at most 0.5 and not on average; saturation and contrast keep 1."""
    draws = draw_views(1, 0, 4_096)
    grey = _colour(torch.zeros(4_096, 3, 4, 4), draws[:, :3]).mean((1, 2, 3))
    assert grey.abs().max() <= 0.5
    assert abs(grey.mean()) < 0.02
    colours = torch.tensor([0.5, 0.0, -0.5]).view(1, 3, 1, 1).expand(4_096, 3, 4, 4)
    spread = _colour(colours, draws[:, :3])[:, 0] - _colour(colours, draws[:, :3])[:, 2]
    factor = spread.mean((1, 2))  # saturation U(0, 2) times contrast U(0.5, 1.5)
    assert factor.min() >= 0
    assert factor.max() <= 3
    assert abs(factor.mean() - 1) < 0.05


def test_published_shifts_are_whole_pixels_and_even() -> None:
    """From -8 to 8 of 64, each as likely, on average none; what moves in is 0."""
    column = torch.zeros(2_048, 1, 64, 64)
    column[..., 32] = 1.0
    moved = _translate(column, draw_views(2, 0, 2_048)[:, 3:5])
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    places = moved[:, 0].amax(1).argmax(1).float() - 32
    assert sorted(set(places.tolist())) == list(range(-8, 9))
    assert abs(places.mean()) < 0.4
    assert (moved.sum((1, 2, 3)) == 64 - (moved[:, 0].amax(2) == 0).sum(1)).all()


def test_both_forms_agree_where_the_scale_is_one() -> None:
    """A shift by whole pixels is the same by resampling: the draws mean one thing."""
    picture = torch.rand(1, 3, 64, 64, generator=torch.manual_seed(0)) * 2 - 1
    draws = draw_views(4, 0, 6)
    draws[:, SCALE] = 0.5 + 1e-4  # just above 1: int() must not lose a pixel
    assert torch.allclose(
        augment(picture.expand(6, -1, -1, -1), draws),
        augment_published(picture.expand(6, -1, -1, -1), draws),
        atol=2e-2,
    )


@pytest.mark.parametrize(("draw", "size"), [(0.0, 51), (0.5, 64), (1.0, 76)])
def test_the_published_scale_pads_or_crops_about_the_centre(draw: float, size: int) -> None:
    """0.8 of 64 is 51 pixels within zeros; 1.2 is the middle of 76."""
    scale = 0.8 + 0.4 * draw + 1e-9
    resized = _resize(torch.ones(1, 3, 64, 64), scale)
    assert resized.shape == (1, 3, 64, 64)
    assert int(resized[0, 0, 32].sum()) == min(size, 64)
    assert int(resized[0, 0, 32, : (64 - min(size, 64)) // 2].sum()) == 0


def test_the_published_views_of_a_group_share_their_scale() -> None:
    """Fifty views have one scale, the next fifty another; and views that do not share one are refused."""
    scales = draw_views(5, 0, 100, shared=50)[:, SCALE]
    assert len(scales[:50].unique()) == len(scales[50:].unique()) == 1
    assert scales[0] != scales[50]
    assert (draw_views(5, 40, 20, shared=50)[:, SCALE] == scales[40:60]).all()
    assert (draw_views(5, 0, 4)[:, :SCALE] == draw_views(5, 0, 4, shared=50)[:, :SCALE]).all()
    with pytest.raises(ValueError, match="share one scale"):
        augment_published(torch.zeros(4, 3, 8, 8), draw_views(5, 0, 4))
