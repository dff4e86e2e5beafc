"""A store moved from SQLite to PostgreSQL: all of it, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import moving, postgres, schema
from storage.database import Database
from storage.errors import StorageError, StoreMoved, UserError
from storage.images import ImageStore
from storage.job import Job
from storage.moving import Moved, move
from storage.preferences import Preferences
from storage.queue import Queue
from storage.settings import StoreSettings
from storage.votes import Votes
from tests.factories import make_caller, make_image, make_params, make_request, make_result
from tests.postgres import Server

TABLES = len(schema.metadata.sorted_tables)


@pytest.fixture
def source(tmp_path: Path, empty_store: Path) -> StoreSettings:
    """A SQLite store."""
    made = StoreSettings(home=tmp_path / "old")
    made.home.mkdir()
    shutil.copy(empty_store, made.path)
    return made


@pytest.fixture
def target(server: Server, source: StoreSettings) -> Iterator[StoreSettings]:
    """An empty database."""
    url = server.store(migrated=False)
    yield source.model_copy(update={"store": url})
    server.drop(url)


async def fill(settings: StoreSettings, count: int = 6) -> list[Job]:
    """Dreams that wait, are over, were voted for; pictures; a person's defaults."""
    async with Database.open(settings) as db:
        queue, images = Queue(db, settings), ImageStore(settings.images)
        done = []
        for number in range(count):
            asked = make_params("ein Hund — 犬", image=images.put(b"handed in"))
            job = await queue.submit(make_request(f"u{number}", params=asked, reply_to="here", event_key=f"k:{number}"))
            (claimed,) = await queue.claim("engine", 1)
            await queue.progress(claimed, 1, 2, "f" * 64, float("nan"))
            picture = make_image(number, sha256=images.put(str(number).encode()))
            await queue.complete(claimed, make_result(images=(picture,)))
            await Votes(db).toggle(make_caller("fan"), job.id)
            done.append(job)
        await Preferences(db).put(make_caller(), {"keep": 3})
        await queue.submit(make_request("late", again_of=done[0].id))
        return done


def counted(moved: list[Moved]) -> dict[str, int]:
    """How many of what."""
    return {part.what: part.count for part in moved}


async def test_everything_is_there(source: StoreSettings, target: StoreSettings) -> None:
    """Jobs, pictures, votes, counters and words are on the other side, the line goes on, and the old file is shut."""
    done = await fill(source)
    moved = await move(source, target, ImageStore(source.images))
    assert {"job": 7, "vote": 6, "preference": 1, "pictures": 7}.items() <= counted(moved).items()
    assert len(moved) == TABLES + 1
    async with Database.open(source) as old, Database.open(target) as new:
        before, after = Queue(old, source), Queue(new, target)
        for job in done:
            assert await after.get(job.id) == await before.get(job.id)
            assert await after.candidates(job.id) == await before.candidates(job.id)
        (claimed,) = await after.claim("engine", 1)
        assert (claimed.caller.user, claimed.again_of) == ("late", done[0].id)
        fresh = await after.submit(make_request("ada"))
        assert (await after.submit(make_request("u0", event_key="k:0"))).id == done[0].id
        with pytest.raises(StoreMoved, match=r"^This store has moved to .*; set DREAMBOT_STORE to it\.$"):
            await before.submit(make_request())
        assert (await after.get(fresh.id)) is not None
    with pytest.raises(UserError, match=r"was moved to .* before"):
        await move(source, target, ImageStore(source.images))


async def test_killed_and_run_again(source: StoreSettings, target: StoreSettings) -> None:
    """A move that is killed at any table goes on when it is run again, with what happened in between."""
    await fill(source)
    for table in ("user", "image", "withdrawal"):
        process = _moving(source, target, table)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.kill()
        process.communicate()
        with pytest.raises(StorageError, match="incomplete"):
            async with Database.open(target):
                pass
        async with Database.open(source) as db:
            job = await Queue(db, source).submit(make_request(table))
            await Queue(db, source).cancel(job.id, make_caller(table))
    async with Database.open(source) as db:
        await Votes(db).toggle(make_caller("fan"), (await Queue(db, source).history(make_caller("u0")))[0].id)
    moved = counted(await move(source, target, ImageStore(source.images)))
    assert (moved["job"], moved["vote"]) == (10, 5)


MOVE = """
import asyncio, signal, sys
from storage import moving
from storage.images import ImageStore
from storage.settings import StoreSettings

copied = moving._copied

async def stopping(old, there, table):
    if table.name == sys.argv[3]:
        print("there", flush=True)
        signal.pause()
    return await copied(old, there, table)

moving._copied = stopping
source = StoreSettings.load({"DREAMBOT_HOME": sys.argv[1]})
target = source.model_copy(update={"store": sys.argv[2]})
asyncio.run(moving.move(source, target, ImageStore(source.images)))
"""


def _moving(source: StoreSettings, target: StoreSettings, until: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MOVE, str(source.home), str(target.store), until]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_cut_after_the_old_file_was_shut(
    source: StoreSettings, target: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between shutting the old file and opening the new store nothing is lost either."""
    await fill(source, 2)

    async def cut(_: postgres.Postgres) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moving, "_finish", cut)
        with pytest.raises(KeyboardInterrupt):
            await move(source, target, ImageStore(source.images))
    assert counted(await move(source, target, ImageStore(source.images)))["job"] == 3
    async with Database.open(target) as db:
        assert len(await Queue(db, target).waiting()) == 1


async def test_refused(source: StoreSettings, target: StoreSettings, server: Server) -> None:
    """Running dreams, a store in use, another's move and a store that is none are refused in a sentence each."""
    images = ImageStore(source.images)
    async with Database.open(source) as db:
        await Queue(db, source).submit(make_request())
        (job,) = await Queue(db, source).claim("engine", 1)
        with pytest.raises(UserError, match="1 dreams are running: `dreambot admin drain`"):
            await move(source, target, images)
        await Queue(db, source).requeue([job])
    other = source.model_copy(update={"home": source.home / "other"})
    with pytest.raises(UserError, match="There is no store at"):
        await move(other, target, images)
    await fill(other, 1)
    with pytest.raises(UserError, match="Another store is being moved"):
        await move(other, target, images)
    used = source.model_copy(update={"store": server.store()})
    async with Database.open(used) as db:
        await Queue(db, used).submit(make_request())
    with pytest.raises(UserError, match=r"in use: .*job.* have rows"):
        await move(source, used, images)
    server.drop(str(used.store))
    assert counted(await move(source, target, images))["job"] == 1


def test_at_the_terminal(source: StoreSettings, target: StoreSettings, tmp_path: Path) -> None:
    """`admin migrate-store` prints a line for each table and one for the pictures, and says what is wrong."""
    asyncio.run(fill(source, 1))
    told = {"DREAMBOT_HOME": str(source.home), "DREAMBOT_IMAGES": f"file://{tmp_path}/shared"}
    command = [str(Path(sys.executable).with_name("dreambot")), "admin", "migrate-store"]
    run = subprocess.run([*command, str(target.store), "--json"], env=os.environ | told, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == TABLES + 1
    assert next(line["count"] for line in lines if line["what"] == "job") == 2
    assert len(list((tmp_path / "shared").glob("??/*.png"))) == 2
    wrong = subprocess.run([*command, "sqlite:////tmp/a.db"], env=os.environ | told, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "A store is moved to postgresql+asyncpg://" in wrong.stderr
