"""What `dreambot doctor` can say without the engine's libraries: the store, the disk, the settings, who is alive.

Knows where to look. Mends nothing.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from bot.boards import table_card
from bot.moderation import read
from bot.session import emit
from bot.settings import BotSettings
from bot.store import open_store
from bot.terminal import draw
from storage import is_wal_safe
from storage.disk import MB
from storage.errors import UserError

LEAST_FREE = 1 << 30
WORDS = {True: "ok", False: "BAD", None: "–"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `ok` None is neither good nor bad."""

    check: str
    found: str
    ok: bool | None


def examine(*, json: bool) -> bool:
    """Print every finding; False if one is bad."""
    settings = BotSettings.load()
    found = [*_settings(settings), *asyncio.run(_store(settings)), *asyncio.run(_surfaces(settings))]
    if json:
        for finding in found:
            emit(asdict(finding))
    else:
        shown = [{"check": f.check, "ok": WORDS[f.ok], "found": f.found} for f in found]
        Console().print(draw(table_card("Doctor", shown, empty="", columns=("check", "ok", "found"))))
    return all(finding.ok is not False for finding in found)


def _settings(settings: BotSettings) -> Iterator[Finding]:
    yield Finding("python", sys.version.split()[0], sys.version_info >= (3, 11))
    safe = is_wal_safe(sqlite3.sqlite_version_info)
    mode = "write-ahead log" if safe else "TRUNCATE journal: before 3.51.3 the write-ahead log can lose rows"
    yield Finding("sqlite", f"{sqlite3.sqlite_version}, {mode}", True if safe else None)
    yield Finding("admins", ", ".join(sorted(settings.admins)) or "none named", True if settings.admins else None)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.home).free
    except OSError as error:
        yield Finding("home", f"{settings.home}: {error.strerror}", False)
        return
    yield Finding("home", str(settings.home), os.access(settings.home, os.W_OK))
    yield Finding("disk", f"{free / 1e9:.1f} GB free", free >= max(LEAST_FREE, settings.disk_floor_mb * MB))
    shared = settings.home.stat().st_mode & 0o077
    yield Finding("privacy", "others may look into the home" if shared else "nobody else", None if shared else True)
    if settings.blocklist is not None:
        yield _blocklist(settings.blocklist)


def _blocklist(path: Path) -> Finding:
    try:
        return Finding("block list", f"{path}: {len(read(path))} rules", True)
    except UserError as error:
        return Finding("block list", str(error), False)


async def _surfaces(settings: BotSettings) -> list[Finding]:
    """What the chat platforms say; their libraries are imported only where a token is set."""
    found: list[Finding] = []
    if settings.discord_token is not None:
        found += await importlib.import_module("bot.discord_doctor").examine(settings)
    if settings.slack_bot_token is not None or settings.slack_client_id is not None:
        found += await importlib.import_module("bot.slack_doctor").examine(settings)
    return found


async def _store(settings: BotSettings) -> list[Finding]:
    try:
        async with open_store(settings) as store:
            engines = await store.engines.alive(settings.silent_s)
            names = ", ".join(f"{engine.device}, process {engine.pid}" for engine in engines)
            packs = [pack.name for pack in await store.engines.packs() if pack.offered]
            held = ", ".join(name for name, value in (await store.queue.flags()).items() if value is True)
    except Exception as error:
        return [Finding("store", str(error), False)]
    return [
        Finding("store", settings.place, True),
        Finding("engine", names or "not running; `dream` and `serve` start one", True if engines else None),
        Finding("packs", ", ".join(packs) or "none", bool(packs)),
        Finding("queue", held or "open", None if held else True),
    ]
