"""`dreambot backup PATH` at the terminal. The work is in `storage.backup`; here it is told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from bot.session import emit
from bot.settings import BotSettings
from bot.terminal import say
from storage.backup import back_up


def backup(path: Path, *, json: bool) -> int:
    """Back up into a new folder; exit status 0 once the copy has been checked."""
    made = back_up(BotSettings.load(), path.absolute())
    if json:
        emit(asdict(made))
        return 0
    say(f"{made.path}: {made.jobs} jobs and {made.pictures} pictures, {made.bytes / 1e6:.1f} MB, checked.")
    if made.missing:
        say(f"{len(made.missing)} pictures were deleted meanwhile and are not in it.")
    say(f"DREAMBOT_HOME={made.path} dreambot serve   makes it the store again.")
    return 0
