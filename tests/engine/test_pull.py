"""Pulling and adding packs: from a publisher on this machine to pictures, and what is told when that cannot be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.convert import fits, rewrite
from engine.errors import BadWeights, PullFailed
from engine.packs import Pack, find_packs, read_pack
from engine.pull import add, pull
from engine.runner import ModelRunner, choose_device
from engine.settings import EngineSettings
from engine.weights import Record, sha256_of
from storage.errors import UserError
from tests.engine.generators.reference import filled
from tests.engine.generators.test_biggan_deep import Reference
from tests.fakes.publisher import Publisher, publishing

LABELS = [("tench", []), ("goldfish", ["fish"]), ("shark", []), ("ray", []), ("cock", []), ("hen", [])]
TOML = """
name = "far"
title = "pulled, for tests"
licence = "MIT"
architecture = "biggan-deep"
resolution = 128
labels = "imagenet"
templates = ["An image of {{}}"]
truncation = 2.0
z_scale = 0.4

[options]
truncation = 0.4

[generator]
file = "far/generator.safetensors"
source = "{url}/generator.bin"
inside = "model"

[scorer]
file = "clip/tiny.safetensors"
source = "{url}/clip.safetensors"
config = "tiny-scorer.json"
merges = "tiny-merges.txt.gz"

[judge]
file = "clip/tiny.safetensors"
source = "{url}/clip.safetensors"
config = "tiny-scorer.json"
merges = "tiny-merges.txt.gz"
"""


@pytest.fixture
def publisher(tiny_folder: Path) -> Iterator[Publisher]:
    """Serving a tiny BigGAN-deep, pickled, and a CLIP."""
    with publishing() as opened:
        pickled = io.BytesIO()
        network = filled(Reference(128, width=4, dim=6, classes=len(LABELS))).float()
        torch.save({"model": network.state_dict()}, pickled)
        opened.files["/generator.bin"] = pickled.getvalue()
        opened.files["/clip.safetensors"] = (tiny_folder / "tiny-scorer.safetensors").read_bytes()
        yield opened


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path, publisher: Publisher) -> Path:
    """A folder with the pack's TOML and what it has beside it."""
    folder = tmp_path / "extra"
    folder.mkdir()
    for name in ("tiny-scorer.json", "tiny-merges.txt.gz"):
        (folder / name).write_bytes((tiny_folder / name).read_bytes())
    (folder / "far.toml").write_text(TOML.format(url=publisher.url("")))
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where pulled files lie."""
    return tmp_path / "kept"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion without its child, which takes seconds to import its libraries; test_convert has the child."""

    def convert(source: Path, draft: Path, *, inside: str | None, layout: str | None) -> None:
        rewrite(source, draft, inside)
        check(draft, layout=layout)

    def check(source: Path, *, layout: str | None) -> None:
        try:
            fits(source, layout)
        except ValueError as error:
            raise PullFailed(str(error)) from error

    monkeypatch.setattr("engine.pull.convert", convert)
    monkeypatch.setattr("engine.pull.check", check)


def brought(pack: Pack, kept: Path) -> list[str]:
    """Pull, silently; the names of what came."""
    return [path.name for path in pull(pack, kept, lambda name: lambda there, total: None, lambda: LABELS)]


def test_a_pulled_pack_draws(folder: Path, kept: Path, publisher: Publisher) -> None:
    """Not here, pulled, here, whole, drawn; a second pull asks for nothing; the shared CLIP came once."""
    pack = find_packs(folder, kept)["far"]
    assert not pack.here
    with pytest.raises(BadWeights, match="has not been pulled; run `dreambot packs pull"):
        pack.verify()
    assert brought(pack, kept) == ["generator.safetensors", "tiny.safetensors", "imagenet.labels.json"]
    assert [path for path, _ in publisher.asked] == ["/generator.bin", "/clip.safetensors"]
    pack = find_packs(folder, kept)["far"]
    assert pack.here
    pack.verify()
    assert brought(pack, kept) == []
    runner = ModelRunner({"far": pack}, choose_device(EngineSettings(device="cpu", threads=1, dtype="fp32")))
    space = runner.space("far")
    assert list(space.labels) == [name for name, _ in LABELS]
    latents = space.draw(0, [1], range(50))
    assert abs(latents.z).max() <= 0.8
    assert runner._loaded["far"].draw(space.draw(0, [1], [0]), 1).shape == (1, 3, 128, 128)


@pytest.mark.usefixtures("in_process")
def test_what_was_pulled_is_recorded_and_held_to(folder: Path, kept: Path, publisher: Publisher) -> None:
    """No digest was known: the record states the download's and the file's; one flipped byte is then refused."""
    brought(find_packs(folder, kept)["far"], kept)
    file = kept / "far" / "generator.safetensors"
    record = Record.read(file)
    assert record is not None
    assert record.download_size == len(publisher.files["/generator.bin"])
    assert record.sha256 == sha256_of(file)
    assert {path.name for path in file.parent.iterdir()} == {file.name, file.name + ".json"}
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadWeights, match=r"generator\.safetensors has sha256"):
        find_packs(folder, kept)["far"].verify()


@pytest.mark.usefixtures("in_process")
def test_another_digest_in_the_toml_wants_another_pull(folder: Path, kept: Path) -> None:
    """The TOML learns a digest that the record does not bear: what lies there is not that file."""
    brought(find_packs(folder, kept)["far"], kept)
    toml = folder / "far.toml"
    toml.write_text(toml.read_text().replace('inside = "model"', f'inside = "model"\nsha256 = "{"0" * 64}"'))
    pack = find_packs(folder, kept)["far"]
    assert not pack.here
    with pytest.raises(PullFailed, match="0000 was expected"):
        brought(pack, kept)


@pytest.mark.usefixtures("in_process")
def test_without_a_network_one_sentence_says_what_to_put_where(
    folder: Path, kept: Path, publisher: Publisher, tmp_path: Path
) -> None:
    """At the terminal: exit status 1, nothing on standard output; a file put there by hand is taken and left alone."""
    toml = folder / "far.toml"
    with publishing() as gone:
        toml.write_text(TOML.format(url=gone.url("")))
    home = tmp_path / "home"
    environ = os.environ | {"DREAMBOT_HOME": str(home), "DREAMBOT_PACKS": str(folder)}
    command = [sys.executable, "-m", "engine", "packs", "pull", "far", "--json"]
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    hand = home / "packs" / "far" / "generator.safetensors.download"
    assert (told.returncode, told.stdout) == (1, "")
    last = told.stderr.strip().splitlines()[-1]
    assert f"Download {gone.url('/generator.bin')}" in last
    assert f"put it at {hand}, and run `dreambot packs pull far` again." in last
    hand.write_bytes(publisher.files["/generator.bin"])
    with pytest.raises(PullFailed, match=r"put it at .*tiny\.safetensors\.download"):
        brought(find_packs(folder, home / "packs")["far"], home / "packs")
    assert "embeddings.weight" in load_file(hand.with_suffix(""))


@pytest.mark.usefixtures("in_process")
def test_a_file_that_is_not_the_layout_is_named_and_not_taken(folder: Path, kept: Path, publisher: Publisher) -> None:
    """The CLIP's file in the generator's place."""
    publisher.files["/generator.bin"] = publisher.files["/clip.safetensors"]
    with pytest.raises(PullFailed, match=r"weight 'embeddings\.weight' is missing"):
        brought(find_packs(folder, kept)["far"], kept)
    assert not (kept / "far" / "generator.safetensors").exists()


@pytest.mark.usefixtures("in_process")
def test_an_own_pack_of_another_layout_is_not_added(tiny_folder: Path, kept: Path, tmp_path: Path) -> None:
    """Its digests are right and its architecture is not: refused before anything is copied."""
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own = tmp_path / "own.toml"
    text = (tiny_folder / "tiny.toml").read_text().replace('name = "tiny"', 'name = "own"', 1)
    own.write_text(text.replace('architecture = "embedded"', 'architecture = "sagan"'))
    with pytest.raises(PullFailed, match="is missing"):
        add(own, find_packs(), kept)
    assert not (kept / "own.toml").exists()


@pytest.mark.usefixtures("in_process")
def test_an_own_pack_is_added_with_its_files(tiny_folder: Path, kept: Path, tmp_path: Path) -> None:
    """Its TOML, weights, configs; found from then on; a taken name and another file of a name are refused."""
    own = tmp_path / "own.toml"
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own.write_text((tiny_folder / "tiny.toml").read_text().replace('name = "tiny"', 'name = "own"', 1))
    assert add(own, find_packs(), kept).here
    found = find_packs(None, kept)["own"]
    found.verify()
    assert found.generator is not None
    assert found.generator.path.parent == kept
    with pytest.raises(UserError, match="There is a pack own already"):
        add(own, find_packs(None, kept), kept)
    own.write_text(own.read_text().replace('name = "own"', 'name = "../own"', 1))
    with pytest.raises(UserError, match="lower-case letters"):
        add(own, find_packs(), kept)


@pytest.mark.usefixtures("in_process")
def test_a_local_checkpoint_is_converted_when_it_is_added(folder: Path, kept: Path, publisher: Publisher) -> None:
    """A path instead of an address: converted into the folder, the original left; the rest is pulled."""
    (folder / "mine.pth").write_bytes(publisher.files["/generator.bin"])
    toml = folder / "far.toml"
    toml.write_text(toml.read_text().replace(f"{publisher.url('')}/generator.bin", "mine.pth"))
    pack = add(toml, find_packs(), kept)
    assert pack.generator is not None
    assert pack.generator.here
    assert (folder / "mine.pth").is_file()
    assert not pack.here
    assert brought(pack, kept) == ["tiny.safetensors", "imagenet.labels.json"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('file = "far/', 'file = "../', "inside the pack's folder"),
        ("z_scale", "zscale", "a pack has no key 'zscale'"),
        ("truncation = 0.4", "trunc = 0.4", r"\[options\] of biggan-deep has no key 'trunc'; it may have hf_compat"),
        ('"biggan-deep"', '"biggest"', "architecture is one of embedded, biggan-deep, .*; 'biggest' is not"),
        ('labels = "imagenet"', 'labels = "coco"', "labels is"),
        ('config = "tiny-scorer.json"', 'model = "ViT-B-32"', "needs its own config, or .* the tag"),
    ],
)
def test_a_wrong_key_is_named(folder: Path, old: str, new: str, says: str) -> None:
    """With what there is instead."""
    toml = folder / "far.toml"
    toml.write_text(toml.read_text().replace(old, new))
    with pytest.raises(BadWeights, match=rf"far\.toml is not a pack: .*{says}"):
        read_pack(toml)


SHIPPED = ("biggan-deep-128", "biggan-deep-256", "biggan-deep-512", "biggan-256", "biggan-512", "sagan-128")


def test_the_shipped_packs_are_those_promised() -> None:
    """Each with a source, a scorer, a judge of other weights, a licence; none is offered before it is pulled."""
    packs = find_packs()
    assert {*SHIPPED, "clip-gen-coco", "embedded"} <= packs.keys()
    for name in (*SHIPPED, "clip-gen-coco"):
        pack = packs[name]
        assert not pack.here
        assert pack.licence
        assert all(file.source and file.source.address.startswith("https://") for file in pack.files)
        assert pack.scorer.weights.path != pack.judge.weights.path
    assert packs["clip-gen-coco"].generator is None
    assert packs["biggan-deep-256"].options == {"truncation": packs["biggan-deep-256"].z_scale}


def test_packs_not_pulled_are_listed_as_such_and_no_fault(tmp_path: Path) -> None:
    """`packs list` says who is here; `packs verify` of all of them looks at these."""
    environ = os.environ | {"DREAMBOT_HOME": str(tmp_path)}
    environ.pop("DREAMBOT_PACKS", None)
    rows = {}
    for verb in ("list", "verify"):
        command = [sys.executable, "-m", "engine", "packs", verb, "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        rows[verb] = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name for name, row in rows["list"].items() if row["here"]} == {"embedded"}
    assert rows["verify"].keys() == {"embedded"}
