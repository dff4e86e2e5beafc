"""The shim, compiled once, and a folder with the tiny pack."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.engine.tiny import make_tiny_pack
from tests.faults.disk import compiled


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled disk.c; skipped where it cannot be had."""
    try:
        return compiled(tmp_path_factory.mktemp("shim"))
    except FileNotFoundError:
        pytest.skip("no gcc: the disk's shim cannot be compiled")
    except subprocess.CalledProcessError:
        pytest.skip("gcc cannot compile tests/faults/disk.c here (no dlfcn, or no Linux)")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny pack."""
    return make_tiny_pack(tmp_path_factory.mktemp("packs")).parent
