"""The README's first command and its neighbours, as a newcomer types them: real processes, the embedded pack."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from storage.database import Database
from storage.queue import Queue
from storage.recipe import digest
from storage.settings import StoreSettings

PROGRAM = str(Path(sys.executable).with_name("dreambot"))
KEYS = {
    "job", "state", "reason", "user", "guild", "prompt", "method", "pack", "seed", "parent", "again_of", "identical",
    "difference", "recipe_digest", "images", "seconds",
}  # fmt: skip
IMAGE_KEYS = {
    "path", "sha256", "pixels_sha256", "width", "height", "clip_score", "augclip_score", "judge_score", "label",
    "candidate",
}  # fmt: skip


class Terminal:
    """`dreambot` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = os.environ | {"DREAMBOT_HOME": str(home), "DREAMBOT_THREADS": "1"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run([PROGRAM, *words], env=self.environ, capture_output=True, text=True, check=False)

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        """One command with --json: its last line, once the status is as expected."""
        done = self.run(*words, "--json")
        assert done.returncode == status, done.stderr
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return row


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal whose first dream has been dreamt by an engine of its own."""
    return Terminal(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(terminal: Terminal) -> dict[str, Any]:
    """The README's first command."""
    return terminal.json("dream", "a photo of a lemon", "--seed", "7", "--out", str(terminal.home / "lemon.png"))


def test_the_first_command_makes_a_picture(first: dict[str, Any], terminal: Terminal) -> None:
    """Every key is there, the PNG opens, and its metadata holds the recipe."""
    assert first.keys() >= KEYS
    assert first["seconds"].keys() == {"engine_start", "queued", "first_image", "total"}
    (image,) = first["images"]
    assert image.keys() >= IMAGE_KEYS
    assert (image["width"], image["height"]) == (64, 64)
    with Image.open(image["path"]) as picture:
        picture.load()
        about = json.loads(picture.info["dreambot"])
    assert digest(about["recipe"]) == about["recipe_digest"] == first["recipe_digest"]
    assert (about["recipe"]["prompt"], about["recipe"]["seed"]) == ("a photo of a lemon", 7)
    with Image.open(io.BytesIO((terminal.home / "lemon.png").read_bytes())) as shown:
        assert shown.size == (256, 256)
        assert shown.info["dreambot"]


def test_it_can_be_had_again_and_in_another_order(first: dict[str, Any], terminal: Terminal) -> None:
    """The same command, `again` and `rerank`, with one engine for all three."""
    serving = subprocess.Popen([PROGRAM, "serve"], env=terminal.environ, stderr=subprocess.DEVNULL)
    try:
        same = terminal.json("dream", "a photo of a lemon", "--seed", "7")
        assert same["images"][0]["sha256"] == first["images"][0]["sha256"]
        again = terminal.json("again", first["job"])
        assert (again["identical"], again["difference"], again["again_of"]) == (True, None, first["job"])
        other = terminal.json("rerank", first["job"], "a goldfish")
        assert (other["parent"], other["prompt"], other["method"]) == (first["job"], "a goldfish", "rerank")
        assert other["images"][0]["clip_score"] != first["images"][0]["clip_score"]
        judged = terminal.json("rerank", first["job"], "--by", "judge")
        assert judged["images"][0]["judge_score"] >= first["images"][0]["judge_score"] - 1e-3
    finally:
        serving.terminate()
        assert serving.wait() == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("dream", ""), "1 to 3,000"),
        (("dream", "x" * 5_000), "1 to 3,000"),
        (("dream", "a lemon", "--candidates", "0"), "1 to 10000"),
        (("dream", "a lemon", "--method", "nosuch"), "search"),
        (("dream", "a lemon", "--seed", "-1"), "0 to 4294967295"),
        (("dream", "a lemon", "--pack", "nosuch"), "embedded"),
        (("show", "nosuch"), "nosuch"),
        (("again", "nosuch"), "nosuch"),
        (("rerank", "nosuch"), "nosuch"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    """Exit status 2, one sentence that names the allowed values, no traceback, nothing in the queue."""
    terminal = Terminal(tmp_path)
    done = terminal.run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert named in done.stderr
    assert asyncio.run(jobs_in(tmp_path)) == 0


async def jobs_in(home: Path) -> int:
    """How many jobs a home's queue holds."""
    settings = StoreSettings(home=home)
    async with Database.open(settings) as database:
        return len(await Queue(database, settings).waiting())


def test_packs_are_verified_from_the_terminal(terminal: Terminal) -> None:
    """Every file of the embedded pack is what its TOML says."""
    row = terminal.json("packs", "verify", "embedded")
    assert (row["name"], row["whole"], row["fault"]) == ("embedded", True, None)
