"""The frozen ViT against open_clip's own layers."""

from __future__ import annotations

import copy
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from engine.clip import Clip
from engine.vit import FrozenViT

TEXT = {"context_length": 77, "vocab_size": 512, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}
FORMS: dict[str, dict[str, Any]] = {"token": {}, "mean": {"pool_type": "avg"}, "no norm before": {"no_ln_pre": True}}


def model(**more: Any) -> open_clip.CLIP:
    """A small one, whose patches look at each other."""
    torch.manual_seed(0)
    made = open_clip.CLIP(embed_dim=24, vision_cfg=VISION | more, text_cfg=TEXT, quick_gelu=True).eval()
    for block in made.visual.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_weight, std=0.2)
        torch.nn.init.normal_(block.attn.in_proj_bias, std=0.2)
    return made.requires_grad_(False)


def seen(clip: Clip, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings, and the gradient in the pictures of what they have in one direction."""
    pictures = pictures.clone().requires_grad_()
    embeddings = clip.encode_images(pictures)
    return embeddings.detach(), torch.autograd.grad(embeddings[:, ::2].sum(), pictures)[0]


def tower(made: open_clip.CLIP, dtype: torch.dtype, plain: bool) -> Clip:
    """On the CPU; with `plain`, by open_clip's own layers."""
    clip = object.__new__(Clip)
    clip.adopt(copy.deepcopy(made), torch.device("cpu"), dtype)
    assert isinstance(clip._see, FrozenViT)
    if plain:
        clip._see = clip._model.encode_image
    return clip


@pytest.mark.parametrize("form", FORMS)
def test_embeddings_and_gradients_are_those_of_open_clip(form: str) -> None:
    """In fp32 nearly to the last bit, for every pooling that it takes on."""
    made, pictures = model(**FORMS[form]), torch.rand(5, 3, 32, 32) * 2 - 1
    for mine, theirs in zip(
        *(seen(tower(made, torch.float32, plain), pictures) for plain in (False, True)), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-6, rtol=1e-4)


def test_bf16_keeps_the_gradients_direction() -> None:
    """No further from fp32 than open_clip's own layers in bf16 are."""
    made, pictures = model(), torch.rand(16, 3, 32, 32) * 2 - 1
    exact = seen(tower(made, torch.float32, plain=True), pictures)[1].flatten(1)
    mine, theirs = (
        F.cosine_similarity(seen(tower(made, torch.bfloat16, plain), pictures)[1].flatten(1), exact).mean()
        for plain in (False, True)
    )
    assert mine > 0.999
    assert mine >= theirs - 1e-4


def test_what_it_does_not_know_stays_with_open_clip() -> None:
    """Layer scales and attention pooling change the numbers; nothing is left out silently."""
    others: list[dict[str, Any]] = [{"ls_init_value": 0.1}, {"attentional_pool": True, "attn_pooler_heads": 2}]
    for more in others:
        clip = object.__new__(Clip)
        clip.adopt(model(**more), torch.device("cpu"), torch.float32)
        assert not isinstance(clip._see, FrozenViT)
