"""A backup: the database as it was at one moment, and every picture that it refers to, checked before it is called one.

A backup is a home like any other: with DREAMBOT_HOME set to its folder it can be looked at and served. Taken while
everything runs, by SQLite's online backup; the database first, because a picture is on the disk before a row names it.
Knows files and SQL, on a thread of its own; nothing of bots and engines.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage.database import sqlite_connection
from storage.errors import StorageError, UserError
from storage.images import ImageStore
from storage.job import HANDED_IN
from storage.settings import FILE, StoreSettings

DATABASE = "dreambot.db"
REFERRED = "SELECT sha256 FROM image" + "".join(
    f" UNION SELECT json_extract(params, '$.{name}') FROM job WHERE json_extract(params, '$.{name}') IS NOT NULL"
    for name in HANDED_IN
)  # kept pictures, and pictures that people handed in


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds. `missing`: digests whose file was not there, because somebody deleted them meanwhile."""

    path: str
    jobs: int
    pictures: int
    bytes: int
    missing: tuple[str, ...] = ()


def back_up(settings: StoreSettings, target: Path) -> Backup:
    """Make the folder `target` a whole, checked backup; it appears at once, when everything is in it.

    UserError if there is something at `target` or no store to back up; StorageError if the copy is not sound.
    """
    if settings.on_server:
        raise UserError(f"The store is {settings.place}: pg_dump is its backup, beside a copy of {settings.images}.")
    if not settings.path.is_file():
        raise UserError(f"There is no store at {settings.path} yet; nothing was backed up.")
    if target.exists():
        raise UserError(f"A backup makes its folder itself; {str(target)!r} is there already.")
    draft = target.with_name(f".{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(mode=0o700, parents=True)
        _copy_database(settings, draft / DATABASE)
        found = _verified(draft / DATABASE)
        kept, missing = _copy_pictures(_referred(draft / DATABASE), settings.images, draft / "images")
        with suppress(FileNotFoundError):
            shutil.copy(settings.home / FILE, draft)
        _sync_tree(draft)
        draft.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    return Backup(path=str(target), jobs=found, pictures=kept, bytes=size, missing=tuple(missing))


def _copy_database(settings: StoreSettings, target: Path) -> None:
    """In one piece: a copy by pages begins anew whenever somebody writes, and under load never ends."""
    with sqlite_connection(settings.path, settings.busy_s) as source, sqlite_connection(target) as copy:
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file; whoever opens it as a home turns WAL on again


def _verified(database: Path) -> int:
    """How many jobs a sound copy has."""
    with sqlite_connection(database) as copy:
        try:
            verdict = copy.execute("PRAGMA integrity_check").fetchall()
            dangling = copy.execute("PRAGMA foreign_key_check").fetchall()
            (jobs,) = copy.execute("SELECT count(*) FROM job").fetchone()
        except sqlite3.Error as error:
            raise StorageError(f"The copy cannot be read: {error}.") from error
    if verdict != [("ok",)] or dangling:
        raise StorageError(f"The copy is not sound: {(verdict, dangling)}.")
    return int(jobs)


def _referred(database: Path) -> list[str]:
    with sqlite_connection(database) as copy:
        return sorted(sha256 for (sha256,) in copy.execute(REFERRED))


def _copy_pictures(digests: Iterable[str], source: Path, target: Path) -> tuple[int, list[str]]:
    """Every picture that is whole, as a link where that is possible: a stored picture is never changed in place."""
    have, put = ImageStore(source), ImageStore(target)
    kept, missing = 0, []
    for sha256 in digests:
        path = put.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link_or_copy(have.path(sha256), path)
        except FileNotFoundError:
            missing.append(sha256)
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise StorageError(f"The picture {sha256} is damaged: `dreambot again` of its job makes it anew.")
        kept += 1
    return kept, missing


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
