"""`dreambot serve`: which two programs the supervisor keeps."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys

from bot.settings import BotSettings
from bot.supervisor import Supervisor


def serve(engine: str | None = None) -> int:
    """Until SIGTERM or Ctrl-C; returns when both programs are down. UserError if the settings are wrong."""
    _ = BotSettings.load().path  # wrong settings end us here: the children would only die of them, again and again
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    commands = {
        "bot": (sys.executable, "-m", "bot"),
        "engine": tuple(shlex.split(engine)) if engine else (sys.executable, "-m", "engine"),
    }
    asyncio.run(Supervisor(commands).run())
    return 0
