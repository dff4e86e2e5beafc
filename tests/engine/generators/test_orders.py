"""Weights that lie in another order than their layout says: no shape shows it, so marks and singular vectors must."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.convert import check, convert, rewrite
from engine.errors import BadWeights, PullFailed
from engine.generators import LAYOUTS
from engine.generators.gpt import GPT
from engine.generators.gpt import load as load_gpt
from engine.generators.layout import channels_first, channels_last
from engine.generators.vqgan import VQGAN
from engine.generators.vqgan import load as load_vqgan
from engine.marks import FIELD, changed
from engine.weights import WeightFile, sha256_of
from tests.engine.generators import test_biggan, test_biggan_deep, test_gpt, test_sagan, test_vqgan

Weights = dict[str, Tensor]


def swap(size: int) -> Callable[[Tensor], Tensor]:
    """Inputs the other way round."""
    return lambda weight: weight.roll(size, 1)


MOVED: list[tuple[str, str, Callable[[Tensor], Tensor], str]] = [
    ("biggan-deep", "generator.gen_z.weight_orig", channels_first, "is in NCHW order, expected in NHWC order"),
    ("biggan-deep", "generator.gen_z.bias", channels_first, "is in NCHW order, expected in NHWC order"),
    ("biggan-deep", "generator.gen_z.weight_orig", swap(6), r"is for \[y, z\], expected for \[z, y\]"),
    (
        "biggan-deep",
        "generator.layers.3.bn_2.offset.weight_orig",
        swap(6),
        r"is for \[y, z\], expected for \[z, y\]",
    ),
    ("biggan", "linear.weight", channels_last, "is in NHWC order, expected in NCHW order"),
    ("biggan", "linear.bias", channels_last, "is in NHWC order"),
    ("biggan", "blocks.2.0.bn1.gain.weight", swap(3), r"is for \[z, y\], expected for \[y, z\]"),
    ("sagan", "linear0.weight_orig", channels_last, "is in NHWC order"),
    ("biggan-deep", "generator.layers.3.conv_1.weight_orig", torch.neg, "is not what was converted"),
]


def published(layout: str) -> Weights:
    """A small checkpoint of random numbers, under the published names."""
    if layout == "biggan-deep":
        return dict(test_biggan_deep.filled(test_biggan_deep.Reference(128, width=4, dim=6, classes=5)).state_dict())
    if layout == "biggan":
        return test_biggan.without_sv0(test_biggan.tiny(128))
    return dict(test_sagan.tiny("embedded").state_dict())


def respoil(path: Path, key: str, move: Callable[[Tensor], Tensor]) -> None:
    """One weight moved in a converted file, its marks as they were."""
    weights = load_file(path)
    marks = path.read_bytes()
    header = marks[8 : 8 + int.from_bytes(marks[:8], "little")].decode()
    weights[key] = move(weights[key]).contiguous()
    save_file(weights, path, json.loads(header)["__metadata__"])


@pytest.mark.parametrize(("layout", "key", "move", "says"), MOVED)
def test_a_moved_weight_is_named_though_it_keeps_its_shape(
    tmp_path: Path, layout: str, key: str, move: Callable[[Tensor], Tensor], says: str
) -> None:
    """What the converter wrote loads; with one weight moved or changed the loader names it and the order."""
    torch.save(published(layout), tmp_path / "in.pth")
    rewrite(tmp_path / "in.pth", tmp_path / "out.safetensors", None)
    LAYOUTS[layout](tmp_path / "out.safetensors")
    respoil(tmp_path / "out.safetensors", key, move)
    with pytest.raises(ValueError, match=rf"out\.safetensors: weight '{key}' {says}"):
        LAYOUTS[layout](tmp_path / "out.safetensors")
    assert list(changed(tmp_path / "out.safetensors")) == [key]


def test_an_order_is_seen_by_singular_vectors_where_nothing_was_marked() -> None:
    """A published layer's u and v fit it in one order only; random ones, of a network nobody trained, fit in none."""
    state = published("biggan-deep")
    for stem in ("generator.gen_z.weight", "generator.layers.3.bn_2.offset.weight"):
        left, _, right = torch.linalg.svd(state[f"{stem}_orig"], full_matrices=False)
        state[f"{stem}_u"], state[f"{stem}_v"] = left[:, 0].clone(), right[0].clone()
    load = LAYOUTS["biggan-deep"]
    load(state)  # type: ignore[arg-type]
    for key, move, says in (
        (
            "generator.gen_z.weight_orig",
            channels_first,
            "is in NCHW order, expected in NHWC order: so say its singular",
        ),
        ("generator.gen_z.weight_orig", swap(6), r"is for \[y, z\]"),
        ("generator.layers.3.bn_2.offset.weight_orig", swap(6), r"is for \[y, z\]"),
    ):
        with pytest.raises(ValueError, match=f"weight '{key}' {says}"):
            load(state | {key: move(state[key])})  # type: ignore[arg-type]


def test_verify_names_the_weight_that_changed(tmp_path: Path) -> None:
    """Of a file that is not what its pack says, a converted one says where; one without marks is named as a whole."""
    torch.save({"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)}, tmp_path / "in.pth")
    path = tmp_path / "out.safetensors"
    rewrite(tmp_path / "in.pth", path, None)
    file = WeightFile(path, sha256_of(path), path.stat().st_size)
    assert file.checked() == path
    respoil(path, "a", torch.neg)
    with pytest.raises(
        BadWeights, match=r"has sha256 .*; its pack says .* Changed since it was converted: weight 'a'\."
    ):
        file.checked()
    save_file(load_file(path), path)
    assert changed(path) == {}


def test_a_pull_names_it_too(tmp_path: Path) -> None:
    """The child that looks at a converted file before it is taken says the same sentence."""
    weights = published("biggan")
    torch.save(weights, tmp_path / "in.pth")
    convert(tmp_path / "in.pth", tmp_path / "out.safetensors", inside=None, layout="biggan")
    respoil(tmp_path / "out.safetensors", "linear.weight", channels_last)
    with pytest.raises(PullFailed, match=r"weight 'linear\.weight' is in NHWC order, expected in NCHW order"):
        check(tmp_path / "out.safetensors", layout="biggan")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_marks_are_of_bytes(tmp_path: Path, dtype: torch.dtype) -> None:
    """Any number format, scalars and empty weights: marked as they lie in the file."""
    torch.save(
        {"s": torch.tensor(3).to(dtype), "w": torch.arange(4).to(dtype), "e": torch.empty(0, 2, dtype=dtype)},
        tmp_path / "in.pth",
    )
    rewrite(tmp_path / "in.pth", tmp_path / "out", None)
    assert FIELD.encode() in (tmp_path / "out").read_bytes()
    assert changed(tmp_path / "out") == {}


def test_putting_right_undoes_what_was_moved() -> None:
    """Both orders of rows are each other's inverse, of matrices and of biases."""
    for rows in (torch.arange(96.0).view(48, 2), torch.arange(48.0)):
        assert torch.equal(channels_first(channels_last(rows)), rows)
        assert not torch.equal(channels_last(rows), rows)


def test_clip_gens_networks_name_it_too(tmp_path: Path) -> None:
    """Of the decoder and of the GPT: a weight that is not what was converted is named when the file is loaded."""
    torch.manual_seed(0)
    loads: dict[str, tuple[torch.nn.Module, str, Callable[[Path], object]]] = {
        "vqgan": (VQGAN(test_vqgan.TINY), "decoder.conv_in.weight", lambda p: load_vqgan(p, shape=test_vqgan.TINY)),
        "gpt": (GPT(test_gpt.TINY), "tok_emb.weight", lambda p: load_gpt(p, heads=test_gpt.TINY.heads)),
    }
    for name, (network, key, load) in loads.items():
        torch.save(network.state_dict(), tmp_path / name)
        path = tmp_path / f"{name}.safetensors"
        rewrite(tmp_path / name, path, None)
        load(path)
        respoil(path, key, lambda weight: weight.flip(0))
        with pytest.raises(ValueError, match=f"weight '{key}' is not what was converted"):
            load(path)
