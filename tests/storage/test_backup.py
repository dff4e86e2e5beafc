"""Backups: taken under load, sound, and good enough to be served."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from storage.backup import Backup, back_up
from storage.database import Database, sqlite_connection
from storage.errors import StorageError, UserError
from storage.images import ImageStore
from storage.job import Method, State
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_image, make_params, make_request, make_result
from tests.storage.raw import on_sqlite


async def dream(queue: Queue, images: ImageStore, number: int) -> str:
    """One completed dream; its name."""
    await queue.submit(make_request(f"u{number % 5}", reply_to="here"))
    (job,) = await queue.claim("engine", 1)
    image = make_image(sha256=images.put(job.id.encode() * 100))
    await queue.complete(job, make_result(images=(image,)))
    return job.id


@on_sqlite
@pytest.mark.parametrize("backups", [6, pytest.param(60, marks=pytest.mark.long)])
async def test_each_backup_under_load_is_sound_and_one_is_served(
    queue: Queue, settings: StoreSettings, tmp_path: Path, backups: int
) -> None:
    """While dreams end, copy after copy passes its checks; the last is opened, goes on dreaming and shows old ones."""
    images, done, made = ImageStore(settings.images), [await dream(queue, ImageStore(settings.images), 0)], []
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            done.append(await dream(queue, images, len(done)))

    loading = asyncio.create_task(load())
    for number in range(backups):
        before = len(done)
        copy = await asyncio.to_thread(back_up, settings, tmp_path / f"backup {number}")
        made.append(copy)
        assert copy.jobs >= before
        assert copy.missing == ()
        with sqlite_connection(Path(copy.path) / "dreambot.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    waiting = await queue.submit(make_request())
    stop.set()
    await loading
    await serve(await asyncio.to_thread(back_up, settings, tmp_path / "last"), done, waiting.id)


async def serve(copy: Backup, done: list[str], waiting: str) -> None:
    """The restore drill."""
    restored = StoreSettings(home=Path(copy.path))
    async with Database.open(restored) as db:
        queue, images = Queue(db, restored), ImageStore(restored.images)
        for job_id in done:
            job = await queue.get(job_id)
            assert job is not None
            assert job.state is State.COMPLETED or job_id == waiting
            assert all(images.read(image.sha256) is not None for image in job.images)
        while jobs := await queue.claim("another engine", 1):
            await queue.complete(jobs[0], make_result())
        assert (await queue.get(waiting)) is not None
        assert await queue.waiting() == []


@on_sqlite
async def test_handed_in_pictures_are_kept(queue: Queue, settings: StoreSettings, tmp_path: Path) -> None:
    """A picture that a waiting dream needs, as its target or to start from, is part of a backup."""
    aim, start = (ImageStore(settings.images).put(content) for content in (b"a photograph", b"another"))
    await queue.submit(make_request(params=make_params(image=aim, start=start, method=Method.FUSEDREAM)))
    copy = back_up(settings, tmp_path / "backup")
    assert (copy.jobs, copy.pictures) == (1, 2)
    kept = ImageStore(tmp_path / "backup" / "images")
    assert (kept.read(aim), kept.read(start)) == (b"a photograph", b"another")


@on_sqlite
async def test_a_backup_does_not_change_with_the_store(queue: Queue, settings: StoreSettings, tmp_path: Path) -> None:
    """Whatever is deleted or put right afterwards, the copy stays as it was."""
    images = ImageStore(settings.images)
    await dream(queue, images, 0)
    back_up(settings, tmp_path / "backup")
    (path,) = settings.images.rglob("*.png")
    shutil.rmtree(settings.images)
    settings.path.unlink()
    assert (tmp_path / "backup" / "images" / path.parent.name / path.name).is_file()
    with sqlite_connection(tmp_path / "backup" / "dreambot.db") as connection:
        assert connection.execute("SELECT count(*) FROM image").fetchone() == (1,)


@on_sqlite
async def test_what_is_not_sound_is_no_backup(queue: Queue, settings: StoreSettings, tmp_path: Path) -> None:
    """A damaged picture is named, and no folder appears; nor is anything written over."""
    await dream(queue, ImageStore(settings.images), 0)
    (path,) = settings.images.rglob("*.png")
    path.write_bytes(b"damaged")
    with pytest.raises(StorageError, match=path.stem):
        back_up(settings, tmp_path / "backup")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there already"):
        back_up(settings, tmp_path / "there")
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*backup*")))


def test_without_a_store_nothing_is_backed_up(tmp_path: Path) -> None:
    """One sentence, and no folder."""
    with pytest.raises(UserError, match="no store"):
        back_up(StoreSettings(home=tmp_path / "home"), tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []
