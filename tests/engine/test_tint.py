"""Promises of colours in a prompt: a look that has the named colour is preferred, and a name is no colour."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import BadWeights
from engine.latents import LatentSpace
from engine.packs import find_packs
from engine.packs.toml import read_pack

COLOURS = ("red", "blue", "", "red", "orange", "gray")


def _space() -> LatentSpace:
    return LatentSpace(
        pack="p",
        digests={},
        labels=("car", "red panda", "orange"),
        dim_z=2,
        class_embeddings=np.zeros((6, 2), np.float32),
        words=("car", "red panda", "orange"),
        word_embeddings=np.zeros((3, 2), np.float32),
        word_labels=np.arange(3),
        variants=2,
        look_colours=COLOURS,
    )


@pytest.mark.parametrize(
    ("said", "tinted"),
    [
        ("a red car", [True, False, False, True, False, False]),
        ("a Grey car", [False, False, False, False, False, True]),
        ("a red panda in a tree", [False] * 6),
        ("an orange on a table", [False] * 6),
        ("a blue red panda", [False, True, False, False, False, False]),
        ("reddish", [False] * 6),
    ],
)
def test_only_a_named_colour_counts(said: str, tinted: list[bool]) -> None:
    """Whole words, grey is gray, and what is part of a thing's own name is no colour."""
    assert _space().tinted(said).tolist() == tinted


def test_a_pack_without_looks_prefers_none() -> None:
    """Where no colours are known, none is preferred."""
    assert not replace(_space(), look_colours=()).tinted("a red car").any()


def test_looks_are_as_many_as_variants(tmp_path: Path) -> None:
    """A label with more or fewer looks than the pack has variants is refused by name."""
    pack = find_packs()["embedded"]
    assert pack.toml is not None
    assert all(len(label.looks) == pack.variants for label in pack.labels)
    path = tmp_path / "wrong.toml"
    path.write_text(pack.toml.read_text().replace("variants = ", "variants = 1", 1))
    with pytest.raises(BadWeights, match=r"goldfish.*looks"):
        read_pack(path)
