"""A nice value counts for the engine's whole session, and never for somebody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.giving_way import AUTOGROUP

PROGRAM = """
import os, pathlib, sys
from engine.giving_way import give_way
os.nice({nice})
give_way(*(pathlib.Path(path) for path in sys.argv[1:]))
"""


def run(nice: int, *paths: str | Path, leads: bool = True) -> None:
    """A process of that nice value that gives way."""
    command = [sys.executable, "-c", PROGRAM.format(nice=nice), *map(str, paths)]
    subprocess.run(command, check=True, start_new_session=leads, capture_output=True)


@pytest.mark.parametrize(("nice", "leads", "written"), [(10, True, "10\n"), (10, False, ""), (0, True, "")])
def test_only_a_session_of_ones_own_is_made_nice(tmp_path: Path, nice: int, leads: bool, written: str) -> None:
    """The leader of a session writes its value down; within somebody else's session, or without a value, nothing."""
    file = tmp_path / "autogroup"
    file.touch()
    run(nice, file, leads=leads)
    assert file.read_text() == written


def test_a_system_that_has_no_autogroups_is_left_alone(tmp_path: Path) -> None:
    """No error where the file is not there or cannot be written."""
    run(10, tmp_path / "absent")
    run(10, tmp_path)
    assert not (tmp_path / "absent").exists()


def test_the_kernel_takes_it() -> None:
    """On a kernel with autogroups the session has the engine's nice value from then on."""
    if not AUTOGROUP.exists():
        pytest.skip("this kernel has no autogroups")
    told = f"{PROGRAM.format(nice=10)}print(pathlib.Path('{AUTOGROUP}').read_text())"
    command = [sys.executable, "-c", told]
    done = subprocess.run(command, check=True, start_new_session=True, capture_output=True, text=True)
    assert done.stdout.split()[1:] == ["nice", "10"]
