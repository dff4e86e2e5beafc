"""Commands are sent to Discord only when they have changed: it allows 200 new ones a day.

Knows where the digest of what was sent last is kept: in DREAMBOT_HOME, by application.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

FILE = "discord-commands.json"

log = logging.getLogger(__name__)


async def sync(tree: app_commands.CommandTree[Any], home: Path, application: int) -> bool:
    """Register the commands if they differ from those of the last time; True if they were sent."""
    digest = digest_of(tree)
    if _known(home).get(str(application)) == digest:
        return False
    try:
        await tree.sync()
    except discord.HTTPException as error:
        log.warning("Discord did not take the commands, those registered before stay: %s", error)
        return False
    file = home / FILE
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(_known(home) | {str(application): digest}), encoding="utf-8")
    draft.replace(file)
    return True


def digest_of(tree: app_commands.CommandTree[Any]) -> str:
    """A digest of all that Discord would be told."""
    told = [command.to_dict(tree) for command in tree.get_commands()]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _known(home: Path) -> dict[str, str]:
    try:
        found = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
