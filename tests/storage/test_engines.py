"""What engines say of themselves, and that they beat."""

from __future__ import annotations

import os
import threading
import time

from storage.database import Database, sqlite_connection
from storage.engines import EngineRow, Engines, PackRow
from storage.events import Kind
from storage.feed import Feed
from storage.heart import Heart
from storage.rescue import boot, host, new_owner
from storage.settings import StoreSettings
from tests.storage import raw


def make_engine(owner: str | None = None) -> EngineRow:
    """This process as an engine."""
    parts = {"host": host(), "boot": boot(), "device": "cpu", "dtype": "fp32", "started_at": 1.0, "packs": ["embedded"]}
    return EngineRow(owner=owner or new_owner(), pid=os.getpid(), **parts)


async def test_comes_and_goes(db: Database) -> None:
    """An engine is there from its registration to its leaving, and says when it is ready and when it goes."""
    engines, row = Engines(db), make_engine()
    await engines.register(row)
    await engines.ready(row.owner, row.device)
    (found,) = await engines.alive(10)
    assert (found.owner, found.device, found.packs) == (row.owner, "cpu", ["embedded"])
    await engines.leave(row.owner)
    await engines.leave(row.owner)
    assert await engines.alive(10) == []
    assert [event.kind for event in await Feed(db).since(0)] == [Kind.ENGINE_READY, Kind.ENGINE_GONE]


async def test_dead_engines_are_not_there(db: Database) -> None:
    """An engine whose process is gone is not alive, nor one that has not beaten for too long."""
    now = [1_000.0]
    engines = Engines(db, clock=lambda: now[0])
    await engines.register(make_engine(f"{host()}:{boot()}:{2**22 + 1}:0"))
    assert await engines.alive(10) == []
    await engines.register(make_engine())
    assert len(await engines.alive(10)) == 1
    now[0] += 11
    assert await engines.alive(10) == []


async def test_packs(db: Database) -> None:
    """What was published last is what a pack is."""
    engines = Engines(db)
    row = PackRow(
        name="embedded", digest="d" * 64, labels=2, label_names=["lemon", "dog"], methods=["search"],
        resolution=64, offered=False, seconds_per_candidate=0.01,
    )  # fmt: skip
    await engines.publish_pack(row)
    assert await engines.packs() == [row]


async def test_heart(db: Database, settings: StoreSettings) -> None:
    """The first beat is there when start returns; the thread goes on until it is stopped."""
    row = make_engine()
    await Engines(db).register(row)
    beaten = threading.Event()
    with Heart(settings, row.owner, allow=lambda: beaten.set() or True, every_s=0.001):
        assert _beat(settings) >= 1
        assert beaten.wait(5)
    assert _beat(settings) >= 2
    after = _beat(settings)
    assert _beat(settings) == after


async def test_watchdog_stops_the_beat(db: Database, settings: StoreSettings) -> None:
    """While the watchdog says no, nothing beats, although the thread lives."""
    row = make_engine()
    await Engines(db).register(row)
    asked = threading.Semaphore(0)
    with Heart(settings, row.owner, allow=lambda: bool(asked.release()), every_s=0.001):
        for _ in range(3):
            assert asked.acquire(timeout=5)
    assert _beat(settings) == 1


@raw.on_sqlite
async def test_beat_that_fails_is_tried_again(db: Database, settings: StoreSettings) -> None:
    """A locked store costs a beat, not the heart."""
    row = make_engine()
    await Engines(db).register(row)
    hasty = settings.model_copy(update={"busy_s": 0.001})
    asked = threading.Semaphore(0)
    with Heart(hasty, row.owner, allow=lambda: not asked.release(), every_s=0.001):
        with sqlite_connection(settings.path) as other:
            other.execute("BEGIN IMMEDIATE")
            locked = _beat(settings)
            for _ in range(3):
                assert asked.acquire(timeout=5)
            other.execute("ROLLBACK")
        limit = time.monotonic() + 5
        while _beat(settings) == locked and time.monotonic() < limit:
            assert asked.acquire(timeout=5)
        assert _beat(settings) > locked


def _beat(settings: StoreSettings) -> int:
    return int(raw.run(settings, "SELECT beat FROM engine")[0][0])
