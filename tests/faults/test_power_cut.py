"""Power cuts: a recorded run is cut at random moments, and what a disk may hold then is opened again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.database import sqlite_connection
from storage.images import ImageStore
from tests.faults.disk import Change, Disk, changes
from tests.faults.dreamer import ACKNOWLEDGED

SMALL_WAL = "wal_autocheckpoint=40"  # so that a short run has many checkpoints


@dataclass
class Told:
    """What was acknowledged before a moment."""

    queued: set[str] = field(default_factory=set)
    completed: dict[str, str] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        """One acknowledgement."""
        what, job, *sha256 = line.split()
        if what == "queued":
            self.queued.add(job)
        else:
            self.completed[job] = sha256[0]


@dataclass
class Losses:
    """What went wrong at a moment: acknowledged jobs that are gone, and whatever is broken."""

    lost: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


def recorded(shim: Path, home: Path, dreams: int, *pragmas: str) -> tuple[Disk, Sequence[Change]]:
    """The disk before a dreamer's run, and all that the run did to it."""
    before, log = Disk(home.parent), home.parent.with_name("log")
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_ROOT": str(home.parent), "DISK_LOG": str(log)}
    command = [sys.executable, "-m", "tests.faults.dreamer", str(home), str(dreams), *pragmas]
    subprocess.run(command, env=environ, check=True)
    return before, [change for change in changes(log) if not change.path.name.endswith("-shm")]


def cuts(disk: Disk, run: Sequence[Change], points: int, into: Path) -> Iterator[Losses]:
    """The losses at so many random moments."""
    dice = random.Random(7)
    moments = sorted(dice.randint(1, len(run)) for _ in range(points))
    told, played = Told(), 0
    for number, moment in enumerate(moments):
        for change in run[played:moment]:
            if change.path.name == ACKNOWLEDGED:
                for line in change.data.decode().splitlines():
                    told.hear(line)
            else:
                disk.play(change)
        played = moment
        found = into / str(number)
        found.mkdir()
        disk.crash(dice, found)
        yield examine(found / "home", told)
        shutil.rmtree(found)


def examine(home: Path, told: Told) -> Losses:
    """Open what is left, as the next start would."""
    losses = Losses()
    try:
        with sqlite_connection(home / "dreambot.db") as connection:
            if (verdict := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                losses.broken.append(str(verdict))
            states = dict(connection.execute("SELECT id, state FROM job").fetchall())
            pictures = dict(connection.execute("SELECT job, sha256 FROM image").fetchall())
            letters = {job for (job,) in connection.execute("SELECT job FROM outbox")}
    except Exception as error:
        return Losses(told.queued | set(told.completed), [repr(error)])
    images = ImageStore(home / "images")
    losses.lost = told.queued - set(states) | {job for job in told.completed if states.get(job) != "completed"}
    losses.broken += [f"the picture of {job} is not whole" for job, s in pictures.items() if images.read(s) is None]
    losses.broken += [f"{job} owes no letter" for job, s in states.items() if s == "completed" and job not in letters]
    losses.lost |= {job for job, sha256 in told.completed.items() if pictures.get(job) != sha256}
    return losses


@pytest.fixture
def home(tmp_path: Path, empty_store: Path) -> Path:
    """A home with an empty store, on a disk of its own."""
    made = tmp_path / "disk" / "home"
    made.mkdir(parents=True)
    shutil.copy(empty_store, made)
    return made


@pytest.mark.parametrize(
    ("dreams", "points", "pragmas"),
    [
        pytest.param(24, 60, (SMALL_WAL,), id="short"),
        pytest.param(200, 300, (SMALL_WAL,), id="full", marks=pytest.mark.long),
        pytest.param(400, 300, (), id="as shipped", marks=pytest.mark.long),
    ],
)
def test_no_acknowledged_dream_is_lost(
    shim: Path, home: Path, tmp_path: Path, dreams: int, points: int, pragmas: tuple[str, ...]
) -> None:
    """At every moment: the store is whole, every acknowledged dream is in it, every completed one has its picture."""
    disk, run = recorded(shim, home, dreams, *pragmas)
    found = list(cuts(disk, run, points, tmp_path))
    assert [losses for losses in found if losses.lost or losses.broken] == []
    assert sum(change.path.name.endswith("-wal") for change in run) > dreams * 3


def test_the_recorder_sees_what_normal_loses(shim: Path, home: Path, tmp_path: Path) -> None:
    """With synchronous=NORMAL the same replay finds lost dreams: it is no formality."""
    disk, run = recorded(shim, home, 24, "synchronous=NORMAL")
    found = list(cuts(disk, run, 30, tmp_path))
    assert sum(bool(losses.lost) for losses in found) > 15
