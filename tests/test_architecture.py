"""The house as promised: layout, map, import contracts that bite, sizes, and nothing of this or any machine in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme_map import ROOT, refreshed

TOP = {"pyproject.toml", "bot", "engine", "storage", "tests", "deploy", "README.md", "LICENSE", "NOTICE"}


def tracked() -> list[str]:
    """Files in the repository; skipped where this is not one (an unpacked archive, say)."""
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("not a git checkout")
    return found.stdout.splitlines()


def test_the_top_level_is_as_promised() -> None:
    """Exactly the agreed entries, plus dotfiles."""
    names = {path.split("/")[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} == TOP


def test_the_map_in_the_readme_is_the_house() -> None:
    """Every file with its purpose; `python -m tests.readme_map` writes it anew."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert refreshed(readme) == readme


def test_no_tracked_file_is_too_large() -> None:
    """Nothing over 24 MB; source files under 400 lines."""
    for name in tracked():
        path = ROOT / name
        assert path.stat().st_size <= 24_000_000, name
        if path.suffix == ".py" and not name.startswith("tests/"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, name


@pytest.mark.parametrize(
    ("name", "least"), [("requirements.lock", 80), ("requirements-parity.lock", 1), ("requirements-ray.lock", 5)]
)
def test_a_lock_holds_hashes_and_no_address(name: str, least: int) -> None:
    """Every requirement is hashed, and none names where it comes from."""
    lock = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    requirements = re.findall(r"^[A-Za-z0-9][^\n]*==[^\n]*\\$", lock, re.MULTILINE)
    assert len(requirements) >= least
    assert not re.search(r"https?://|--index|--find-links|file:", lock)
    assert all(re.search(rf"^{re.escape(line)}\n    --hash=sha256:", lock, re.MULTILINE) for line in requirements)


FORBIDDEN = [
    ("storage/job.py", "import sqlalchemy", "ground floor"),
    ("bot/commands.py", "import torch", "tensors"),
    ("bot/cards.py", "import discord", "chat library"),
    ("engine/batcher.py", "import engine.runner", "methods and batcher"),
    ("storage/queue.py", "import engine.ops", "never see each other"),
    ("engine/rng.py", "import engine.service", "top to bottom"),
    ("bot/cluster.py", "import ray", "knows Ray"),
]


@pytest.mark.parametrize(("path", "line", "contract"), FORBIDDEN)
def test_each_contract_bites(tmp_path: Path, path: str, line: str, contract: str) -> None:
    """One forbidden import, and lint-imports fails and names the contract."""
    import shutil

    for package in ("bot", "engine", "storage"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.gz")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / path
    target.write_text(target.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    broken = [row for row in checked.stdout.splitlines() if " BROKEN" in row]
    assert any(contract in row for row in broken), checked.stdout


def test_nothing_unpickles() -> None:
    """safetensors only: no torch.load, pickle or allow_pickle in what people run, but for the one converter's child."""
    for name in tracked():
        if name.startswith(("bot/", "engine/", "storage/")) and name.endswith(".py"):
            source = (ROOT / name).read_text(encoding="utf-8")
            if name.startswith("engine/training/"):
                continue  # its own checkpoints, weights_only
            if name == "engine/convert.py":
                assert re.findall(r"torch\.load\(.*\)", source) == re.findall(
                    r"torch\.load\(.*weights_only=True\)", source
                )
                source = re.sub(r"torch\.load|import pickle", "", source)
            assert not re.search(r"torch\.load|import pickle|allow_pickle=True", source), name
