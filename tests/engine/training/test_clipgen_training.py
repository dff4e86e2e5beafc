"""Promises of CLIP-GEN's two trainings: a killed run goes on, any folder will do, what is shipped is whole."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.generators import gpt, vqgan
from engine.packs import HERE, read_pack
from engine.training import pack, train_gpt, train_vqgan
from engine.training.album import NO_LABEL, Album, Task, from_folder, read_task, to_unit
from engine.training.conditions import Conditions
from engine.training.patches import Patches, fit
from engine.training.runs import Options
from engine.training.text import open_trained
from engine.training.train_gpt import Tokens
from engine.training.vocabulary import Saying, Vocabulary
from engine.weights import text_tower_digest

CPU = torch.device("cpu")
SAYINGS = tuple(Saying(f"thing {label}", frozenset({label})) for label in range(16))
WORDS = Vocabulary(SAYINGS, ("a {}",), ("{}",), ("a [] {}",))
SHAPE = {
    "codes": 12, "dim": 6, "width": 8, "multipliers": [1, 2], "blocks": 1,
    "attention": [], "resolution": 16, "groups": 4, "patch": 2,
}  # fmt: skip
CODES: dict[str, Any] = {
    "seed": 1, "pack_weight": 1.0, "encoder": "learned", "steps": 2, "batch": 4, "rate": 1e-3, "warmup": 1,
    "decay_from": 0.5, "decay_to": 0.1, "betas": [0.9, 0.99], "average": 0.9, "clip": 1.0, "shape": SHAPE,
    "weights": {"distance": 1.0, "perceptual": 1.0, "commit": 0.25}, "perceptual": {"side": 32, "maps": 2},
    "table": {"keep": 0.9, "least": 0.01}, "decoder": {"steps": 2, "rate": 1e-3},
}  # fmt: skip
TOKENS: dict[str, Any] = {
    "seed": 1, "pack_weight": 1.0, "steps": 3, "batch": 4, "rate": 1e-3, "warmup": 1, "decay_from": 0.5,
    "decay_to": 0.1, "betas": [0.9, 0.95], "decay": 0.01, "average": 0.9, "clip": 1.0, "dropout": 0.1,
    "size": {"width": 16, "hidden": 32, "depth": 1, "heads": 2},
    "condition": {"text": 0.5, "colour": 0.5, "drop": 0.1, "noise": {"text": 0.1, "image": 0.5}, "nothing": 0.2},
    "drawing": {"guidance": 2.0, "top_k": 500, "top_p": 0.95},
}  # fmt: skip


@pytest.fixture
def album() -> Album:
    """Sixteen labelled pictures of noise, and two with captions."""
    pictures = np.random.default_rng(0).integers(0, 256, (18, 16, 16, 3), np.uint8)
    labels = np.array([*range(16), NO_LABEL, NO_LABEL])
    return Album(pictures, np.arange(1, 19) / 18, labels, (("a dog runs",), ("a man rides a bike", "a bike")))


def task(out: Path, numbers: dict[str, Any], codes: Path = Path("unused")) -> Task:
    """A run without a clock."""
    return Task(Options(out, out, out, CPU, 1e9, resume=True), numbers, None, codes, None)


def draw_codes(out: Path, album: Album, numbers: dict[str, Any]) -> train_vqgan.Learner:
    """A VQGAN run to its end."""
    learner = train_vqgan.Learner(numbers, album, None, CPU)
    train_vqgan.train(learner, task(out, numbers))
    return learner


def draw_tokens(out: Path, album: Album, numbers: dict[str, Any], codes: Path) -> train_gpt.Learner:
    """A GPT run to its end, after the shipped scorer's embeddings."""
    conditions = Conditions(album, open_trained("scorer"), numbers["condition"], WORDS)
    learner = train_gpt.Learner(numbers, Tokens(album, train_vqgan.averaged(codes), CPU), conditions, CPU)
    train_gpt.train(learner, task(out, numbers, codes))
    return learner


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("encoder", ["learned", "patches"])
def test_a_vqgan_run_goes_on_where_it_was_killed(tmp_path: Path, album: Album, encoder: str) -> None:
    """Both parts of a run, ended after any of its steps, end where an unbroken run does."""
    numbers = CODES | {"encoder": encoder}
    straight = draw_codes(tmp_path / "straight", album, numbers)
    for steps in (0, 1):
        draw_codes(tmp_path / "parted", album, numbers | {"decoder": {"steps": steps, "rate": 1e-3}})
    parted = draw_codes(tmp_path / "parted", album, numbers)
    assert same(straight.network, parted.network)


def test_tokens_keep_their_meaning_while_the_decoder_goes_on(tmp_path: Path, album: Album) -> None:
    """After the first part encoder and codes stand still, and are those of the moving average."""
    numbers = CODES | {"decoder": {"steps": 1, "rate": 1e-3}}
    draw_codes(tmp_path, album, numbers)
    before = train_vqgan.averaged(tmp_path)
    draw_codes(tmp_path, album, CODES | {"decoder": {"steps": 3, "rate": 1e-3}})
    after = train_vqgan.averaged(tmp_path)
    pictures = to_unit(album.pictures, CPU)
    assert torch.equal(before.encode(pictures), after.encode(pictures))
    assert not same(before.decoder, after.decoder)


def test_a_step_moves_what_is_learned(album: Album) -> None:
    """Encoder, decoder and codes move; the losses are numbers."""
    learner = train_vqgan.Learner(CODES, album, None, CPU)
    parts = (learner.network.encoder, learner.network.decoder, learner.network.quantizer)
    before = [[weight.clone() for weight in part.parameters()] for part in parts]
    losses = learner.step(0)
    assert set(losses) == {"distance", "commit"}
    for old, part in zip(before, parts, strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(old, part.parameters(), strict=True))


def test_a_code_that_nobody_is_near_starts_anew() -> None:
    """It takes a cell of the batch; the others follow the means of their cells."""
    codes = torch.nn.Embedding(2, 2)
    codes.weight.data = torch.tensor([[0.0, 0.0], [90.0, 90.0]])
    table = train_vqgan.Table(codes, keep=0.0, least=0.01)
    cells = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    table.follow(cells, torch.tensor([0, 0]), np.random.default_rng(0))
    assert codes.weight[0].tolist() == [2.0, 2.0]
    assert codes.weight[1].tolist() in cells.tolist()


def test_patches_are_the_pictures_own_basis(album: Album) -> None:
    """Coefficients are not correlated, and every code is the mean of what is nearest to it."""
    shape = train_vqgan.shape_of(CODES)
    network = train_vqgan.network_of(shape, "patches")
    assert isinstance(network.encoder, Patches)
    fit(album, network.encoder, network.quantizer, np.random.default_rng(0))
    z = network.encoder(to_unit(album.pictures[album.draw(3000, np.random.default_rng(0))], CPU))
    found = z.transpose(0, 1).flatten(1)
    shares = torch.corrcoef(found)
    assert (shares - torch.eye(6)).abs().max() < 1e-2
    tokens, cells = network.quantizer.nearest(z).flatten(), z.flatten(2).transpose(1, 2).flatten(0, 1)
    means = torch.stack([cells[tokens == code].mean(0) for code in tokens.unique()])
    assert (means - network.quantizer.embedding.weight[tokens.unique()]).abs().max() < 0.3


def test_a_gpt_run_goes_on_and_learns(tmp_path: Path, album: Album) -> None:
    """Parted it ends where an unbroken run does; forty steps on eighteen pictures bring the loss down."""
    draw_codes(tmp_path / "codes", album, CODES)
    straight = draw_tokens(tmp_path / "straight", album, TOKENS, tmp_path / "codes")
    draw_tokens(tmp_path / "parted", album, TOKENS | {"steps": 2}, tmp_path / "codes")
    parted = draw_tokens(tmp_path / "parted", album, TOKENS, tmp_path / "codes")
    assert same(straight.network, parted.network)
    straight.numbers = TOKENS | {"steps": 43}
    losses = [straight.step(step)["nats"] for step in range(3, 43)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02


def test_conditions_are_unit_vectors_or_nothing(album: Album) -> None:
    """Words or the picture itself, blurred and brought back; a share is told nothing."""
    clip = open_trained("scorer")
    rows, mirrored = np.arange(18), np.zeros(18, bool)
    numbers = TOKENS["condition"] | {"nothing": 0.5}
    conditions = Conditions(album, clip, numbers, WORDS)
    lengths = conditions.draw(rows, mirrored, np.random.default_rng(1)).norm(dim=1)
    assert set(lengths.round(decimals=4).tolist()) == {0.0, 1.0}
    quiet = {"text": 0.0, "colour": 0.0, "drop": 0.0, "noise": {"text": 0.0, "image": 0.0}, "nothing": 0.0}
    wordless = Conditions(album, clip, quiet | {"text": 1.0}, None).draw(rows, mirrored, np.random.default_rng(1))
    silent = Conditions(album, clip, quiet, WORDS).draw(rows, mirrored, np.random.default_rng(1))
    assert torch.equal(wordless, silent)
    spoken = Conditions(album, clip, quiet | {"text": 1.0}, WORDS).draw(rows, mirrored, np.random.default_rng(1))
    assert not torch.allclose(spoken, silent, atol=0.1)


def test_a_folder_of_anybodys_pictures_will_do(tmp_path: Path) -> None:
    """Every picture below it, its middle square; `vqgan` and `gpt` run on it to their ends and export the pair."""
    (tmp_path / "p" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.jpg", "deep/c.webp")):
        Image.new("RGB", (40 + number, 30), (250, 0, 40 * number)).save(tmp_path / "p" / name)
    album = from_folder(tmp_path / "p", 16)
    assert album.pictures.shape == (3, 16, 16, 3)
    assert (album.pictures[:, 8, 8, 0] > 240).all()
    toml = {"vqgan": CODES, "gpt": TOKENS}
    for verb, module in (("vqgan", train_vqgan), ("gpt", train_gpt)):
        (tmp_path / f"{verb}.toml").write_text(_toml(toml[verb]))
        words = ["--pictures", str(tmp_path / "p"), "--recipe", str(tmp_path / f"{verb}.toml")]
        words += ["--out", str(tmp_path / verb), "--vqgan", str(tmp_path / "vqgan"), "--device", "cpu"]
        assert module.main(verb, words, {}) == 0
        assert module.main(verb, [*words, "--export", str(tmp_path)], {}) == 0
    drawn = gpt.load(tmp_path / "gpt.safetensors", heads=2).sample(torch.ones(1, 256), np.full((1, 16), 0.5))
    assert vqgan.load(tmp_path / "vqgan.safetensors").decode(drawn).shape == (1, 3, 16, 16)


def test_a_wrong_folder_is_one_sentence(tmp_path: Path) -> None:
    """Not there, or without a picture."""
    with pytest.raises(ValueError, match="which is not a folder"):
        read_task("gpt", ["--pictures", str(tmp_path / "none")], {}, train_gpt.RECIPE)
    with pytest.raises(ValueError, match="holds no pictures"):
        from_folder(tmp_path, 16)
    with pytest.raises(ValueError, match="DREAMBOT_DATA is not set"):
        read_task("gpt", [], {}, train_gpt.RECIPE)
    with pytest.raises(ValueError, match="encoder is learned or patches; 'magic' is not"):
        train_vqgan.network_of(train_vqgan.shape_of(CODES), "magic")


def test_the_recipes_in_the_repository_are_whole() -> None:
    """Every number that the runs ask for is in the TOMLs, and the codes fit the pack's pictures."""
    codes, tokens = (tomllib.loads(module.RECIPE.read_text()) for module in (train_vqgan, train_gpt))
    assert CODES.keys() == codes.keys()
    assert TOKENS.keys() == tokens.keys()
    assert TOKENS["condition"].keys() == tokens["condition"].keys()
    assert train_vqgan.shape_of(codes).resolution == 64
    assert train_vqgan.rate_at(codes, codes["steps"] + codes["decoder"]["steps"]) < train_vqgan.rate_at(codes, 200)


def test_the_packs_toml_has_the_pair_that_is_there(tmp_path: Path, album: Album) -> None:
    """With its digests, how it wants to be drawn from, and the text tower that it knows."""
    draw_codes(tmp_path / "codes", album, CODES)
    draw_tokens(tmp_path / "tokens", album, TOKENS, tmp_path / "codes")
    (tmp_path / "embedded").mkdir()
    for file in (HERE / "embedded").iterdir():
        (tmp_path / "embedded" / file.name).symlink_to(file)
    for name in ("vqgan", "gpt"):
        (tmp_path / "embedded" / f"{name}.safetensors").unlink(missing_ok=True)
    without = pack.write(tmp_path / "embedded", 0.66, ())
    assert "[gpt]" not in without
    train_vqgan.export(tmp_path / "codes", tmp_path / "embedded")
    train_gpt.export(tmp_path / "tokens", TOKENS, tmp_path / "embedded")
    (tmp_path / "embedded.toml").write_text(pack.write(tmp_path / "embedded", 0.66, ()))
    written = read_pack(tmp_path / "embedded.toml")
    written.verify()
    assert written.drawing.heads == 2
    assert written.drawing.condition == text_tower_digest(HERE / "embedded" / "scorer.safetensors")
    assert written.knows_condition
    assert not replace(written, drawing=replace(written.drawing, condition="0" * 64)).knows_condition


def _toml(numbers: dict[str, Any]) -> str:
    """TOML of plain numbers and tables two deep."""
    flat = [f"{name} = {json.dumps(value)}" for name, value in numbers.items() if not isinstance(value, dict)]
    for name, value in numbers.items():
        if isinstance(value, dict):
            flat.append(f"[{name}]")
            flat += [f"{key} = {_value(inner)}" for key, inner in value.items()]
    return "\n".join(flat) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)
