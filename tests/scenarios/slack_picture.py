"""`python -m tests.scenarios.slack_picture OUT.html`: dream on a Slack of our own, and keep the channel as a page.

Real bot, real engine, the shipped pack. A headless browser makes a picture of the page.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.engine.tiny import make_tiny_pack
from tests.fakes.slack import driver
from tests.fakes.slack.page import page
from tests.fakes.slack.workspace import ADA, BEN, BOT_USER, GENERAL
from tests.scenarios.slack import Scene, scene

NAMES = {ADA: "ada", BEN: "ben", BOT_USER: "dreambot"}


async def play(target: Path) -> None:
    """A result, one that is under way, one that waits, and words for one person."""
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_pack(Path(folder) / "packs")
        one = {"DREAMBOT_ROOM": "1", "DREAMBOT_CAP": "1"}
        async with scene(Path(folder) / "home", Path(folder) / "packs", **one) as stage:
            await stage.start_bot()
            stage.house.start_engine()
            await stage.house.engine_ready()
            await stage.dreamt("a photo of a lemon --candidates 400 --seed 7", user=BEN)
            running = await stage.queued("a lighthouse at night --candidates 10000 --keep 1", user=ADA)
            await stage.until_says(running, " of 10000")
            await stage.queued("R&B <!channel> *on* a beach --seed 3", user=BEN)
            queue = await stage.slack.slash("queue", user=ADA)
            await write(stage, target, queue["body"])


async def write(stage: Scene, target: Path, only: dict[str, Any]) -> None:
    """The channel as it stands, and below it what only Ada sees."""
    messages = [*(await stage.slack.state())["channels"][GENERAL], only | {"only": True}]
    shown = {name for message in messages for name in driver.pictures(message)}
    files = {name: await stage.slack.picture(name) for name in shown}
    target.write_text(page("general", messages, files, NAMES), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1])))
