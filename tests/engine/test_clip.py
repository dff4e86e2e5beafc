"""CLIPs by name and by config: any of open_clip's, with the GELU that its weights were trained with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from engine.clip import Clip, imagenet_labels
from engine.errors import BadWeights
from engine.packs import ClipSpec
from engine.weights import WeightFile, sha256_of

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {
    "vit": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
}


def built_in(model: str, tag: str) -> ClipSpec:
    """A CLIP that open_clip knows, with a file that must not be opened."""
    return ClipSpec(model, WeightFile(Path("nowhere.safetensors"), "0" * 64, 1), tag=tag)


def load(spec: ClipSpec) -> Clip:
    """On the CPU in fp32."""
    return Clip(spec, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("model", "tag", "right"),
    [
        ("ViT-B-32", "openai", "ViT-B-32-quickgelu"),
        ("RN50x4", "openai", "RN50x4-quickgelu"),
        ("ViT-B-32", "laion400m_e32", "ViT-B-32-quickgelu"),
    ],
)
def test_the_wrong_gelu_is_an_error_that_names_the_right_model(model: str, tag: str, right: str) -> None:
    """open_clip would warn, or say nothing where weights are a file; both score wrong."""
    with pytest.raises(BadWeights, match=rf"QuickGELU mismatch.*name {right}\."):
        load(built_in(model, tag))


def test_the_right_gelu_goes_on_to_the_file() -> None:
    """The name with -quickgelu fits OpenAI's weights; then the file is what is missing."""
    with pytest.raises(BadWeights, match=r"nowhere\.safetensors is missing"):
        load(built_in("ViT-B-32-quickgelu", "openai"))


def test_an_unknown_model_or_tag_is_refused_with_what_there_is() -> None:
    """Before any file is read."""
    with pytest.raises(BadWeights, match="no model 'ViT-Z'"):
        load(built_in("ViT-Z", "openai"))
    with pytest.raises(BadWeights, match=r"tag is one of .*laion2b_s34b_b79k.*; 'mine' is not"):
        load(built_in("ViT-B-32", "mine"))


@pytest.mark.parametrize("family", VISION)
def test_a_config_of_either_family_loads_and_is_differentiable(family: str, tmp_path: Path) -> None:
    """Transformers and residual networks: unit embeddings, a gradient to the pixels, a long text cut with a note."""
    config = {"embed_dim": 24, "vision_cfg": VISION[family], "text_cfg": TEXT}
    torch.manual_seed(0)
    weights = tmp_path / f"own-{family}.safetensors"
    save_file({key: value.contiguous() for key, value in open_clip.CLIP(**config).state_dict().items()}, weights)
    (tmp_path / f"own-{family}.json").write_text(json.dumps(config))
    file = WeightFile(weights, sha256_of(weights), weights.stat().st_size)
    clip = load(ClipSpec(f"own-{family}", file, config=tmp_path / f"own-{family}.json"))
    pictures = torch.rand(2, 3, 48, 48).mul(2).sub(1).requires_grad_()
    clip.encode_images(pictures)[:, 0].sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0
    assert np.allclose(np.linalg.norm(clip.encode_text(["a lemon"]), axis=1), 1, atol=1e-5)
    assert clip.cut("a lemon") is None
    assert clip.cut("lemon " * 100) == " ".join(["lemon"] * 75)


def test_imagenets_labels_are_a_thousand_distinct_names() -> None:
    """In the order of the classes; a name that two classes share is told apart, and stays a word of both."""
    labels = imagenet_labels()
    assert len(labels) == len({name for name, _ in labels}) == 1000
    assert [labels[number][0] for number in (1, 207, 951)] == ["goldfish", "Golden Retriever", "lemon"]
    assert ("sunglasses (837)", ["sunglasses"]) in labels
