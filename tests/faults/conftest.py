"""The shim, compiled once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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
