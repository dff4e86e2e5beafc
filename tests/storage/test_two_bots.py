"""Several bots on one store: each reply is sent by one, also when that one is killed over it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from storage.database import Database
from storage.feed import Feed
from storage.outbox import Outbox
from storage.queue import Queue
from storage.settings import StoreSettings
from tests.factories import make_caller, make_request

REPLIES, CHANNELS = 24, 3

BOT = """
import asyncio, os, sys
from bot.delivery import Delivery
from bot.settings import BotSettings
from bot.store import open_store

home, url, surface, log, name = sys.argv[1:]

class Adapter:
    def channel(self, reply_to):
        return reply_to

    async def post(self, reply_to, card, nonce):
        os.write(posts, f"{nonce} {name}\\n".encode())
        await asyncio.sleep(0.02)  # as a platform takes its time
        return nonce

Adapter.surface = surface
posts = os.open(log, os.O_WRONLY | os.O_APPEND)

async def main():
    async with open_store(BotSettings.load({"DREAMBOT_HOME": home, "DREAMBOT_STORE": url})) as store:
        print("ready", flush=True)
        await Delivery(store, {surface: Adapter()}).run()

asyncio.run(main())
"""


def _bot(settings: StoreSettings, log: Path, name: str, surface: str = "slack") -> subprocess.Popen[str]:
    words = [str(settings.home), settings.store or "", surface, str(log), name]
    process = subprocess.Popen([sys.executable, "-c", BOT, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def test_each_reply_is_sent_by_one(queue: Queue, db: Database, settings: StoreSettings, tmp_path: Path) -> None:
    """Two bots of one surface share its replies, a third of another gets none; what a killed one had is sent anew."""
    log = tmp_path / "posts"
    log.touch()
    bots = {name: _bot(settings, log, name) for name in ("one", "two")} | {"other": _bot(settings, log, "other", "x")}
    feed, outbox = Feed(db, settings.poll_s), Outbox(db)
    try:
        for number in range(REPLIES):
            request = make_request(reply_to=f"channel {number % CHANNELS}", surface="slack", event_key=f"k{number}")
            await queue.cancel((await queue.submit(request)).id, make_caller(surface="slack"))
            if number == REPLIES // 2:
                while len(log.read_text().splitlines()) < REPLIES // 4:
                    await feed.changed(1.0)
                killed = _posts(log)[-1][1]
                bots[killed].kill()
        while await outbox.unsent(["slack"]):
            await feed.changed(1.0)
    finally:
        for bot in bots.values():
            bot.kill()
            bot.communicate()
    posts = _posts(log)
    first = dict(reversed(posts))
    twice = [job for job, count in Counter(job for job, _ in posts).items() if count > 1]
    assert len(first) == REPLIES
    assert {name for _, name in posts} <= {"one", "two"}
    assert len(twice) <= CHANNELS
    assert all(first[job] == killed for job in twice), "a letter was sent by two bots that both lived"


def _posts(log: Path) -> list[tuple[str, str]]:
    return [(line.split()[0], line.split()[1]) for line in log.read_text().splitlines()]
