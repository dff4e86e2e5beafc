"""The two CLIPs' words: tokenizer, sentences, text towers and the shipped files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import SimpleTokenizer

from engine.training import merges
from engine.training.data import data_folder, tiny_imagenet
from engine.training.merges import cut_merges, write_merges
from engine.training.prompting import Prompter
from engine.training.text import (
    MERGES,
    PACK,
    Clip,
    create_clip,
    encode_pictures,
    encode_rows,
    encode_texts,
    open_trained,
)
from engine.training.vocabulary import Saying, Vocabulary, load_prompts
from engine.training.world import WORLD, load_world

CLIPS = ("scorer", "judge")


@pytest.fixture(scope="module", params=CLIPS)
def clip(request: pytest.FixtureRequest) -> Clip:
    """One shipped CLIP."""
    return open_trained(request.param)


def test_tokenizer_gives_back_what_it_was_told() -> None:
    """Words of the world survive encoding and decoding."""
    tokenizer = create_clip(PACK / "scorer.json").tokenizer
    said = "a photo of a red panda in a tree"
    assert tokenizer.decode(tokenizer.encode(said)).strip() == said


@pytest.mark.parametrize("text", ["xylophonist", "Zürich 東京 🦊", "qqq'zzz-77", ""])
def test_unknown_words_fall_into_pieces(text: str) -> None:
    """Any text becomes tokens inside the vocabulary."""
    tokenizer = create_clip(PACK / "scorer.json").tokenizer
    row = tokenizer([text])[0]
    assert int(row.max()) == tokenizer.eot_token_id == tokenizer.vocab_size - 1
    assert (
        tokenizer.decode(tokenizer.encode(text)).strip() == text.lower().replace("-", " - ").replace(" - ", "-") or text
    )


def test_merges_load_as_they_were_written(tmp_path: Path) -> None:
    """SimpleTokenizer sees every merge of the file, the first and the last included."""
    cut = cut_merges(["goldfish goldfish", "rare"], ["lemon"], 2)
    write_merges(tmp_path / "merges.txt.gz", cut)
    tokenizer = SimpleTokenizer(str(tmp_path / "merges.txt.gz"), context_length=8)
    assert tokenizer.vocab_size == 512 + len(cut) + 2
    assert len(tokenizer.encode("goldfish lemon")) <= 3
    assert len(tokenizer.encode("rare")) > 1


@pytest.mark.parametrize("name", CLIPS)
def test_configs_fit_the_tokenizer(name: str) -> None:
    """The model's rows are the tokenizer's tokens."""
    clip = create_clip(PACK / f"{name}.json")
    assert clip.model.vocab_size == clip.tokenizer.vocab_size
    assert clip.model.context_length == clip.tokenizer.context_length


def test_shipped_sizes() -> None:
    """Both CLIPs together stay under 22 MB."""
    files = [PACK / f"{name}.safetensors" for name in CLIPS]
    assert sum(path.stat().st_size for path in [*files, MERGES]) <= 22e6


def test_a_colour_before_a_noun_matters(clip: Clip) -> None:
    """`a red sports car` is somewhere else than `a blue sports car`, and than `a sports car`."""
    red, blue, plain = encode_texts(clip, ["a red sports car", "a blue sports car", "a sports car"])
    assert float(red @ blue) < 0.95
    assert float(red @ plain) < 0.99


def test_a_text_does_not_depend_on_its_batch(clip: Clip) -> None:
    """A row's vector is its own, whatever stands beside it."""
    alone = encode_texts(clip, ["a photo of a lemon"])
    among = encode_texts(clip, ["a dog", "a photo of a lemon", "two children run along the beach with a big red ball"])
    assert torch.allclose(alone[0], among[1], atol=1e-5)


def test_cut_rows_give_open_clips_own_vectors(clip: Clip) -> None:
    """Leaving the padding away changes nothing."""
    tokens = clip.tokenizer(["a photo of a lemon", "a barn"])
    with torch.inference_mode():
        short = encode_rows(clip.model, tokens[:, :8])
    assert torch.allclose(short, encode_texts(clip, ["a photo of a lemon", "a barn"]), atol=1e-4)


def test_every_plain_prompt_finds_its_label(clip: Clip) -> None:
    """A label's own name in a sentence is nearest to that label's name."""
    names = [label.name for label in load_world()]
    rows = load_prompts()["plain"]
    vectors = encode_texts(clip, [f"a photo of a {name}" for name in names])
    nearest = (encode_texts(clip, [row["prompt"] for row in rows]) @ vectors.T).argmax(1).tolist()
    assert sum(names[place] == row["label"] for place, row in zip(nearest, rows, strict=True)) >= 22


def test_evaluation_prompts_are_no_training_texts() -> None:
    """No fixed prompt stands word for word among synonyms, phrases or templates."""
    lists = load_prompts()
    fixed = {row["prompt"] for kind in ("free", "colour") for row in lists[kind]} | set(lists["outside"])
    assert not [prompt for prompt in fixed if f'"{prompt}"' in WORLD.read_text()]
    assert (len(lists["plain"]), len(lists["free"]), len(lists["colour"]), len(lists["outside"])) == (24, 28, 12, 12)


def test_sentences_keep_to_the_context() -> None:
    """A caption longer than the context is cut before its end token."""
    clip = create_clip(PACK / "scorer.json")
    vocabulary = Vocabulary((Saying("lemon", frozenset({0})),), ("a {}",), ("{}",), ("a [] {}",))
    prompter = Prompter(vocabulary, clip.tokenizer, 0.0)
    rng = np.random.default_rng(0)
    rows = prompter.rows([prompter.caption("dog " * 90, rng), prompter.coloured(0, 3, rng), prompter.sentence(0, rng)])
    assert rows.shape == (3, clip.tokenizer.context_length)
    assert (rows == clip.tokenizer.eot_token_id).sum(1).tolist() == [1, 1, 1]
    assert clip.tokenizer.decode(rows[1, 1:4].tolist()).strip() == "a red lemon"


@pytest.mark.data
def test_shipped_merges_are_those_of_the_training_text(tmp_path: Path) -> None:
    """Cutting the merges anew gives the shipped file, byte for byte."""
    argv = ["--out", str(tmp_path / "merges.txt.gz"), "--cache", str(tmp_path)]
    assert merges.main("merges", argv, os.environ) == 0
    assert (tmp_path / "merges.txt.gz").read_bytes() == MERGES.read_bytes()


@pytest.mark.data
def test_a_photograph_finds_its_label(clip: Clip) -> None:
    """Of the pack's validation photographs, ten a label, most are nearest to their label's name."""
    world = load_world()
    shown = tiny_imagenet(data_folder(os.environ), "val", [label.tiny for label in world])
    rows = np.concatenate([np.flatnonzero(shown.labels == label.tiny)[:10] for label in world])
    names = encode_texts(clip, [f"a photo of a {label.name}" for label in world])
    nearest = (encode_pictures(clip, torch.from_numpy(shown.pictures[rows])) @ names.T).argmax(1)
    assert float((nearest == torch.arange(len(world)).repeat_interleave(10)).float().mean()) > 0.55
