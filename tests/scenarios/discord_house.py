"""A house whose bot speaks with the Discord on loopback: three processes beside the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from storage.engines import PackRow
from storage.outbox import Outbox
from tests.engine.tiny import LABELS
from tests.fakes.discord.peer import ADA, BOB, Entry, Peer, buttons, is_final, job_of, open_peer
from tests.fakes.discord.world import TOKEN
from tests.scenarios.house import House, open_house

TINY = PackRow(
    name="tiny",
    digest="0" * 64,
    labels=len(LABELS),
    label_names=list(LABELS),
    methods=["search", "fusedream"],
    resolution=64,
    offered=False,
    seconds_per_candidate=0.01,
)  # as an engine publishes it, so that people can ask for it before one has started


class DiscordHouse:
    """A peer, a home, and a bot between them. Ada and Bob may name the tiny pack, as admins may."""

    def __init__(self, house: House, peer: Peer) -> None:
        self.house, self.peer = house, peer
        self.bot: Popen[bytes] | None = None

    async def start_bot(self) -> Popen[bytes]:
        """A bot that listens."""
        await self.peer.look()
        before = len(self.peer.entries)
        self.bot = self.house.start_engine("bot")
        await self.peer.ready(before)
        return self.bot

    async def start_engine(self, module: str = "engine") -> Popen[bytes]:
        """An engine that claims."""
        since = await self.house.feed.head()
        engine = self.house.start_engine(module)
        await self.house.engine_ready(since)
        return engine

    async def dream(self, prompt: str = "a lemon", *, who: Entry | None = None, **options: Any) -> Entry:
        """`/dream`, up to the acknowledging message."""
        asked = {"candidates": 40, "keep": 2, "seed": 7} | options
        return await self.answered(await self.peer.command("dream", who=who, prompt=prompt, **asked))

    async def answered(self, interaction: str) -> Entry:
        """The acknowledgement's message."""
        ack = await self.peer.ack(interaction)
        assert ack["type"] in (4, 5), ack
        return await self.peer.shown(lambda message: not message["flags"] & 128, ack["n"])

    async def letters_closed(self) -> None:
        """Until no reply is owed any more."""
        every = Outbox(self.house.database, clock=lambda: 1e12)  # those that wait for their next try, too
        async with asyncio.timeout(self.house.patience_s):
            while await every.unsent(["discord"]):
                await self.house.feed.changed(0.2)

    async def result(self, job: str) -> Entry:
        """The message that says how a job ended."""
        return await self.peer.shown(lambda message: is_final(message, job))

    async def done(self, message: Entry) -> Entry:
        """The end of the job of this message."""
        return await self.result(job_named(message))


def job_named(message: Entry) -> str:
    """The job that a message is about; AssertionError if there is none."""
    job = job_of(message)
    assert job is not None, message
    return job


@asynccontextmanager
async def open_discord_house(home: Path, packs: Path, **environ: str) -> AsyncIterator[DiscordHouse]:
    """A peer and a home; the bot is not started yet."""
    async with open_peer(home.with_suffix(".ledger")) as peer:
        values = {
            "DREAMBOT_DISCORD_TOKEN": TOKEN,
            "DREAMBOT_DISCORD_API": peer.base,
            "DREAMBOT_ADMINS": f"discord:{ADA},discord:{BOB}",
            "DREAMBOT_PROGRESS_S": "0.2",
            **environ,
        }
        async with open_house(home, packs, **values) as house:
            await house.engines.publish_pack(TINY)
            yield DiscordHouse(house, peer)


__all__ = ["DiscordHouse", "buttons", "job_named", "open_discord_house"]
