"""The words that a pack ships as its scorer sees them: no encoding at load, and none of another pack's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.clip import Clip
from engine.errors import BadWeights
from engine.packs import Label, Pack, find_packs
from engine.runner import ModelRunner
from engine.weights import WeightFile, sha256_of
from engine.words import embed_words, read_words, word_embeddings, words_of, write_words


def with_words(pack: Pack, runner: ModelRunner, folder: Path) -> Pack:
    """The pack with its words beside it."""
    path = folder / "words.safetensors"
    clip = runner._loaded["tiny"].scorer
    write_words(pack, embed_words(clip, pack.templates, words_of(pack)), path)
    return replace(pack, words=WeightFile(path, sha256_of(path), path.stat().st_size))


def test_shipped_words_are_those_that_would_be_encoded(
    tiny_packs: dict[str, Pack], runner: ModelRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits, and the CLIP is not asked."""
    encoded = runner.space("tiny").word_embeddings
    pack, clip = with_words(tiny_packs["tiny"], runner, tmp_path), runner._loaded["tiny"].scorer
    monkeypatch.setattr(Clip, "encode_text", lambda *_: pytest.fail("encoded"))
    assert np.array_equal(word_embeddings(pack, clip, None), encoded)


@pytest.mark.parametrize("part", ["templates", "labels", "scorer"])
def test_words_of_another_pack_are_refused(
    tiny_packs: dict[str, Pack], runner: ModelRunner, tmp_path: Path, part: str
) -> None:
    """Other templates, labels or scorer: refused by name, not used and not silently computed anew."""
    pack = with_words(tiny_packs["tiny"], runner, tmp_path)
    other = {
        "templates": ("{}",),
        "labels": (Label("melon"), *pack.labels[1:]),
        "scorer": pack.judge,
    }
    changed = replace(pack, **{part: other[part]})
    with pytest.raises(BadWeights, match=r"words\.safetensors was made for another scorer, other templates"):
        word_embeddings(changed, runner._loaded["tiny"].scorer, None)


def test_changed_words_are_refused(tiny_packs: dict[str, Pack], runner: ModelRunner, tmp_path: Path) -> None:
    """Their digest is the TOML's, as for every other file."""
    pack = with_words(tiny_packs["tiny"], runner, tmp_path)
    assert pack.words is not None
    content = bytearray(pack.words.path.read_bytes())
    content[-1] ^= 1
    pack.words.path.write_bytes(content)
    with pytest.raises(BadWeights, match="has sha256"):
        word_embeddings(pack, runner._loaded["tiny"].scorer, None)
    with pytest.raises(BadWeights, match="has sha256"):
        pack.verify()


def test_a_torn_cache_is_encoded_anew(tiny_packs: dict[str, Pack], runner: ModelRunner, tmp_path: Path) -> None:
    """Without shipped words they are kept in the cache; half a file there costs time only."""
    pack, clip = tiny_packs["tiny"], runner._loaded["tiny"].scorer
    encoded = word_embeddings(pack, clip, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(word_embeddings(pack, clip, tmp_path), encoded)
    assert np.array_equal(read_words(pack, kept), encoded)


def test_the_embedded_packs_words_belong_to_it() -> None:
    """Whoever changes its scorer, templates or labels runs `python -m engine.training pack`."""
    pack = find_packs()["embedded"]
    assert pack.words is not None
    embeddings = read_words(pack, pack.words.checked())
    assert embeddings.shape[0] == len(words_of(pack))
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
