"""Packs and their files: found, checked, refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.errors import BadWeights, UnknownPack
from engine.packs import Pack, find_packs, pick, read_pack
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings


@pytest.fixture
def copied(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny pack that a test may spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "packs"))


def test_an_unknown_pack_names_those_there_are(tiny_packs: dict[str, Pack]) -> None:
    """One sentence with the allowed values."""
    with pytest.raises(UnknownPack, match=r"pack is one of .*tiny; 'nosuch' is not\."):
        pick(tiny_packs, "nosuch")


def test_one_flipped_byte_is_refused_and_named(copied: Path) -> None:
    """The size is right, the digest is not: the file is named, nothing runs."""
    path = copied / "tiny-generator.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadWeights, match=r"tiny-generator\.safetensors has sha256"):
        find_packs(copied)["tiny"].verify()


@pytest.mark.parametrize("spoil", ["truncate", "delete"])
def test_a_truncated_or_missing_file_is_refused_at_load(copied: Path, spoil: str) -> None:
    """Loading checks, too: the runner raises BadWeights."""
    path = copied / "tiny-scorer.safetensors"
    if spoil == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    runner = ModelRunner(find_packs(copied), choose_device(EngineSettings(device="cpu", threads=1)))
    with pytest.raises(BadWeights, match=r"tiny-scorer\.safetensors"):
        runner.space("tiny")


def test_a_pack_that_is_not_one_is_refused(tmp_path: Path) -> None:
    """A TOML with a missing key says which."""
    (tmp_path / "bad.toml").write_text('name = "bad"')
    with pytest.raises(BadWeights, match=r"bad\.toml is not a pack: KeyError: 'title'"):
        read_pack(tmp_path / "bad.toml")


def test_weights_of_another_layout_name_the_first_wrong_key(copied: Path) -> None:
    """A judge's file in the generator's place is refused by name, not loaded in part."""
    toml = copied / "tiny.toml"
    pack = find_packs(copied)["tiny"]
    text = toml.read_text().replace("tiny-generator.safetensors", "tiny-judge.safetensors")
    text = text.replace(pack.generator.sha256, pack.judge.weights.sha256)
    toml.write_text(text.replace(f"size = {pack.generator.size}", f"size = {pack.judge.weights.size}", 1))
    runner = ModelRunner(find_packs(copied), choose_device(EngineSettings(device="cpu", threads=1)))
    with pytest.raises(BadWeights, match=r"header"):
        runner.space("tiny")


def test_the_digest_moves_with_what_decides_pixels_and_with_nothing_else(copied: Path) -> None:
    """A new title is the same pack to a recipe; a new template is not."""
    toml = copied / "tiny.toml"
    before = read_pack(toml).digest
    toml.write_text(toml.read_text().replace("untrained, for tests", "another title"))
    assert read_pack(toml).digest == before
    toml.write_text(toml.read_text().replace("a photo of a {}", "a drawing of a {}"))
    assert read_pack(toml).digest != before


def test_the_embedded_pack_is_whole_and_small() -> None:
    """The shipped TOML names the shipped files; 40 MB together, none over 24 MB; labels in every pack differ."""
    pack = find_packs()["embedded"]
    pack.verify()
    files = [path for path in pack.generator.path.parent.iterdir() if path.suffix != ".md"]
    assert sum(path.stat().st_size for path in files) <= 40_000_000
    assert max(path.stat().st_size for path in files) <= 24_000_000
    assert len({label.name for label in pack.labels}) == len(pack.labels) >= 26
    assert pack.scorer.digest != pack.judge.digest
