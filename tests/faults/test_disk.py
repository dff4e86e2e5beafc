"""Disks that are slow, full or broken, and processes that die in the middle of a write."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from storage.database import Database, sqlite_connection
from storage.disk import BALLAST, MB, drop_ballast, keep_ballast
from storage.errors import StoreFull
from storage.events import Kind
from storage.feed import Feed
from storage.images import ImageStore
from storage.job import State
from storage.queue import Queue
from storage.rescue import Watch
from storage.settings import StoreSettings
from tests.factories import make_request, make_result
from tests.faults.dreamer import ACKNOWLEDGED, Dreamer

EIO, ENOSPC = 5, 28


def spawn(shim: Path, home: Path, *words: str, rule: str = "") -> subprocess.CompletedProcess[str]:
    """A process with the shim under it, to its end."""
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_ROOT": str(home.parent), "DISK_RULE": rule}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, env=environ, check=False, capture_output=True, text=True)


def acknowledged(home: Path) -> list[list[str]]:
    """What a dreamer has said."""
    said = home.parent / ACKNOWLEDGED
    return [line.split() for line in said.read_text().splitlines()] if said.exists() else []


@pytest.fixture
def home(tmp_path: Path, empty_store: Path) -> Path:
    """A home with an empty store, on a disk of its own."""
    made = tmp_path / "disk" / "home"
    made.mkdir(parents=True)
    shutil.copy(empty_store, made)
    return made


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.long)])
async def test_killed_before_each_call_on_the_disk(shim: Path, home: Path, tmp_path: Path, stride: int) -> None:
    """Wherever kill -9 strikes between a dream's first and last write: nothing acknowledged is lost, each ends once."""
    root = tmp_path / "lives"
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_ROOT": str(root)}
    command = [sys.executable, "-m", "tests.faults.dying", str(home), str(root), str(stride)]
    await asyncio.to_thread(subprocess.run, command, env=environ, check=True)
    lives = sorted(root.iterdir(), key=lambda path: int(path.name))
    assert len(lives) > 60 // stride
    for life in lives:
        await ends_well(life / "home")


async def ends_well(home: Path) -> None:
    """Start again where a process died: rescue, complete, and look at all of it."""
    settings = StoreSettings(home=home)
    async with Database.open(settings) as db:
        queue, images = Queue(db, settings), ImageStore(settings.images)
        await queue.rescue(Watch(10.0))
        (home.parent / "again").mkdir()
        said = os.open(os.devnull, os.O_WRONLY)
        dreamer = Dreamer(db, settings, said)
        while jobs := await queue.claim(dreamer.owner, 1):
            await dreamer.complete(jobs[0])
        os.close(said)
        for _, job_id, *_ in acknowledged(home):
            job = await queue.get(job_id)
            assert job is not None
            assert job.state is State.COMPLETED
            assert all(images.read(image.sha256) is not None for image in job.images)
        ends = Counter(e.job for e in await Feed(db).since(0, 1_000) if e.kind is Kind.COMPLETED)
    assert set(ends.values()) <= {1}
    with sqlite_connection(home / "dreambot.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM job WHERE state != 'completed'").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (len(ends),)


async def test_a_slow_disk_loses_nothing(shim: Path, home: Path) -> None:
    """With 8 ms added to every fsync, as a hard disk has, all is as it was, only later."""
    assert spawn(shim, home, "tests.faults.dreamer", str(home), "6", rule="fsync 1 1 slow:8000").returncode == 0
    assert [words[0] for words in acknowledged(home)] == ["queued", "completed"] * 6


@pytest.mark.parametrize("call", ["fsync", "write"])
async def test_a_failed_write_is_the_end_of_the_process(shim: Path, home: Path, call: str) -> None:
    """EIO from the disk: the process ends at once, and what it had acknowledged is there after a restart."""
    ended = spawn(shim, home, "tests.faults.dreamer", str(home), "50", rule=f"{call} 60 0 {EIO}")
    assert ended.returncode == 1
    said = acknowledged(home)
    assert 0 < len(said) < 100
    settings = StoreSettings(home=home)
    async with Database.open(settings) as db:
        for what, job_id, *_ in said:
            job = await Queue(db, settings).get(job_id)
            assert job is not None
            assert what == "queued" or job.state is State.COMPLETED


BROKEN = """
import asyncio, ctypes, sys
from pathlib import Path
from storage.database import Database
from storage.errors import StorageError, StoreBroken
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_request

async def main():
    settings = StoreSettings(home=Path(sys.argv[1]))
    rule = ctypes.CDLL(None).disk_rule
    async with Database.open(settings) as db:
        queue = Queue(db, settings)
        await queue.submit(make_request())
        rule(b"fsync 1 0 5")
        for _ in range(2):  # the disk is well again the second time; the process must not believe it
            try:
                await queue.submit(make_request())
            except StoreBroken:
                print("refused", flush=True)
        try:
            await queue.waiting()
        except StoreBroken:
            print("refused", flush=True)
        try:
            await asyncio.wait_for(db.broke(), 10)
        except StoreBroken:
            print("told", flush=True)

asyncio.run(main())
"""


def test_after_a_failed_fsync_nothing_more_is_written_or_read(shim: Path, home: Path) -> None:
    """The store refuses everything after the first failure, and tells whoever runs the process to end it."""
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_ROOT": str(home.parent)}
    command = [sys.executable, "-c", BROKEN, str(home)]
    ended = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["refused", "refused", "refused", "told"]


FULL = """
import asyncio, ctypes, sys
from pathlib import Path
from storage.database import Database
from storage.errors import StoreFull
from storage.images import ImageStore
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_request, make_result

async def main():
    settings = StoreSettings(home=Path(sys.argv[1]))
    rule = ctypes.CDLL(None).disk_rule
    async with Database.open(settings) as db:
        queue, images = Queue(db, settings), ImageStore(settings.images)
        await queue.submit(make_request())
        (job,) = await queue.claim("engine", 1)
        rule(b"write 1 1 28")
        for work in (lambda: queue.submit(make_request()), lambda: queue.complete(job, make_result())):
            try:
                await work()
            except StoreFull:
                print("full", flush=True)
        try:
            images.put(b"pixels")
        except StoreFull:
            print("full", flush=True)
        print(len(await queue.running()), flush=True)
        rule(b"")
        await queue.complete(job, make_result())
        await queue.submit(make_request())
        print("well", flush=True)

asyncio.run(main())
"""


def test_a_full_disk_is_told_and_survived_without_a_restart(shim: Path, home: Path) -> None:
    """ENOSPC from every write: sentences, reading goes on, and with room again the same process goes on."""
    (home / BALLAST).write_bytes(bytes(1_000))
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_ROOT": str(home.parent)}
    command = [sys.executable, "-c", FULL, str(home)]
    ended = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    assert ended.stdout.split() == ["full", "full", "full", "1", "well"]
    assert not (home / BALLAST).exists()  # thrown out at the first sign


async def test_below_the_floor_only_what_is_accepted_goes_on(settings: StoreSettings, db: Database) -> None:
    """A nearly full disk refuses a new dream in one sentence; a redelivered one is known, a running one ends."""
    known, key = Queue(db, settings), make_request(event_key="local:1")
    await known.submit(key)
    scarce = settings.model_copy(update={"disk_floor_mb": 1 << 40})
    queue = Queue(db, scarce)
    with pytest.raises(StoreFull, match=r"The disk is nearly full: \d+ MB are free"):
        await queue.submit(make_request())
    (job,) = await queue.claim("engine", 1)
    assert (await queue.submit(key)).id == job.id
    await queue.complete(job, make_result())


def test_the_ballast_is_kept_and_dropped(tmp_path: Path) -> None:
    """It is made where there is room, once, and never where it would eat what it is for."""
    assert keep_ballast(tmp_path, 1, 0)
    assert (tmp_path / BALLAST).stat().st_blocks * 512 >= MB  # real blocks, not a hole
    drop_ballast(tmp_path)
    assert not keep_ballast(tmp_path, 1, 1 << 40)
    assert keep_ballast(tmp_path, 1, 0)
    assert not keep_ballast(tmp_path, 0, 0)
    assert not (tmp_path / BALLAST).exists()
