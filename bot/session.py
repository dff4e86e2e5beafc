"""One terminal command: its settings, its person, the open store, and where answers go.

At a terminal, whoever owns the process is the operator: without `--as` the caller is the system user and an admin.
`--as NAME` plays an ordinary person, who is an admin only where DREAMBOT_ADMINS says so. Knows no Typer.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot import arguments
from bot.admin import Admin
from bot.cards import Card
from bot.commands import Commands
from bot.enlarge import enlarged
from bot.settings import BotSettings
from bot.store import Store, open_store
from storage import logs
from storage.errors import UserError
from storage.job import Caller, Image

ENGINE = (sys.executable, "-m", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one terminal command works with."""

    store: Store
    commands: Commands
    admin: Admin
    caller: Caller
    json: bool
    engine: tuple[str, ...]

    def shown(self, image: Image) -> bytes:
        """A picture as people see it: large enough to look at, its recipe inside."""
        png = self.store.images.path(image.sha256).read_bytes()
        return enlarged(png, self.store.settings.shown_side)

    def show(self, card: Card) -> None:
        """Print a card for people, or its rows for machines."""
        if self.json:
            for row in card.rows:
                emit(row)
        else:
            from rich.console import Console

            from bot.terminal import draw

            Console().print(draw(card))


Work = Callable[[Session], Awaitable[int]]


def run(work: Work, *, name: str | None, guild: str, json: bool = False, engine: str | None = None) -> int:
    """Open everything, do the work, and return its exit status."""
    settings = BotSettings.load()
    _log_to_file(settings)
    caller = person(settings, name, guild)
    command = tuple(shlex.split(engine)) if engine else ENGINE
    try:
        return asyncio.run(_run(work, settings, caller, json, command))
    except asyncio.CancelledError:  # told to end, or the terminal was closed
        return 128 + signal.SIGTERM


def answer(ask: Callable[[Session], Awaitable[Card]], *, name: str | None, guild: str, json: bool) -> int:
    """Show the card that answers one command."""

    async def show(open_session: Session) -> int:
        open_session.show(await ask(open_session))
        return 0

    return run(show, name=name, guild=guild, json=json)


def _log_to_file(settings: BotSettings) -> None:
    """A terminal shows sentences; what we must know about goes beside the store."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        path, as_json = settings.home / "dreambot.log", settings.log_format == "json"
        logs.set_up(logging.WARNING, as_json=as_json, secrets=settings.secrets(), to=path)
    except OSError as error:
        raise UserError(
            f"DREAMBOT_HOME is a folder that can be written; {str(settings.home)!r}: {error.strerror}."
        ) from None


async def _run(work: Work, settings: BotSettings, caller: Caller, json: bool, engine: tuple[str, ...]) -> int:
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):  # leave as on Ctrl-C, tidily
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with open_store(settings) as store:
        return await work(
            Session(store=store, commands=Commands(store), admin=Admin(store), caller=caller, json=json, engine=engine)
        )


def person(settings: BotSettings, name: str | None, guild: str) -> Caller:
    """Who types: the operator, or somebody who is played."""
    guild = arguments.person("--guild", guild)
    if name is None:
        user = _system_user()
        return Caller(user=user, name=user, guild=guild, admin=True)
    user = arguments.person("--as", name)
    return Caller(user=user, name=user, guild=guild, admin=settings.is_admin("local", user))


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "operator"


def emit(row: Mapping[str, Any]) -> None:
    """One JSON object on a line of standard output, whatever its encoding."""
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
