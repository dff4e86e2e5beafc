"""`dreambot admin migrate-store URL` at the terminal. The work is in `storage.moving`; here it is told."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from rich.console import Console

from bot.boards import table_card
from bot.session import emit
from bot.settings import BotSettings
from bot.store import open_images
from bot.terminal import draw, say
from storage.errors import UserError
from storage.moving import move


def migrate(url: str, *, json: bool) -> int:
    """Move this home's SQLite store to `url`; exit status 0 once both sides have been compared."""
    settings = BotSettings.load()
    target = settings.model_copy(update={"store": url})
    if not target.on_server:
        raise UserError("A store is moved to postgresql+asyncpg://USER@HOST:PORT/DATABASE, and from SQLite.")
    here = settings.model_copy(update={"images_url": None})  # pictures may move as well, to DREAMBOT_IMAGES
    moved = asyncio.run(move(here, target, open_images(settings)))
    if json:
        for part in moved:
            emit(asdict(part))
        return 0
    rows = [{"what": part.what, "count": part.count, "sha256": part.sha256[:12]} for part in moved]
    card = table_card("Moved, and equal on both sides", rows, empty="", columns=("what", "count", "sha256"))
    Console().print(draw(card))
    if missing := sum(part.missing for part in moved):
        say(f"{missing} pictures were not in {here.images} to begin with.")
    say(f"Set DREAMBOT_STORE to that URL from now on: {settings.path} refuses every change.")
    return 0
