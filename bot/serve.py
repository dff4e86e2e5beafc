"""`dreambot serve`: which two programs the supervisor keeps."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys

from bot.settings import BotSettings
from bot.supervisor import Supervisor
from storage import logs


def serve(engine: str | None = None) -> int:
    """Until SIGTERM or Ctrl-C; returns when both programs are down. UserError if the settings are wrong."""
    settings = BotSettings.load()
    _ = settings.place  # wrong settings end us here: the children would only die of them, again and again
    logs.set_up(settings.log_level, as_json=settings.log_format == "json", secrets=settings.secrets())
    commands = {
        "bot": (sys.executable, "-m", "bot"),
        "engine": (*_gives_way(), *(shlex.split(engine) if engine else (sys.executable, "-m", "engine"))),
    }
    asyncio.run(Supervisor(commands).run())
    return 0


def _gives_way() -> tuple[str, ...]:
    """What to put before the engine, so that a bot on the same cores still answers within its three seconds."""
    return ("nice", "-n", "10") if shutil.which("nice") else ()
