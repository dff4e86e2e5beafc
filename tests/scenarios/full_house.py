"""Everything at once: a Discord and a Slack on loopback, one bot on both, and stub engines that need no torch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.discord.peer import ADA, BOB, EVE, Entry, Peer, buttons, open_peer
from tests.fakes.discord.world import CHANNEL, NSFW_CHANNEL, OTHER_CHANNEL, TOKEN
from tests.fakes.slack import driver
from tests.fakes.slack.driver import Slack
from tests.fakes.slack.workspace import APP_TOKEN, BOT_TOKEN
from tests.scenarios.house import House, open_house

ENGINE = "tests.fakes.engine"
PATIENCE_S = 15.0  # of a person whose command meets no bot
PAUSE_S = 3.0  # in which a person looks at the answer: a channel takes an edit a second, and all of it must be told


@dataclass
class FullHouse:
    """Both peers, one home."""

    house: House
    discord: Peer
    slack: Slack
    asked: int = 0
    answered: set[str] = field(default_factory=set)  # prompts whose command was acknowledged in time

    async def ask_discord(self, prompt: str, *, who: Entry | None = None, twice: bool = False) -> None:
        """Somebody (a user, in a channel) dreams on Discord; the gateway may deliver it twice."""
        before = len(self.discord.entries)
        interaction = await self.discord.command("dream", who=who, prompt=prompt)
        if twice:
            await self.discord.control("again")
        await self.discord.ack(interaction, before)

    async def ask_slack(self, prompt: str, *, twice: bool = False) -> None:
        """Somebody dreams on Slack."""
        answer = await self.slack.control(
            "slash", text=prompt, user=driver.ADA, channel=driver.GENERAL, command="/dream", copies=1 + twice
        )
        if answer["acked"]:
            self.answered.add(prompt)

    async def person(self, name: str, people: Iterable[Any], until: asyncio.Event, twice: Iterable[bool]) -> None:
        """Dreams one dream after the other, with a look at each answer; a command that meets no bot is lost."""
        for number, (ask, again) in enumerate(zip(people, twice, strict=False)):
            if until.is_set():
                return
            self.asked += 1
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, AssertionError):
                async with asyncio.timeout(PATIENCE_S):
                    await ask(f"{name} {number}", twice=again)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), PAUSE_S)

    async def clocks(self, until: asyncio.Event) -> None:
        """Slack's time goes on with ours; Discord's does so by itself."""
        while not until.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), 1.0)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self.slack.control("advance", seconds=1.0)

    async def named(self) -> set[str]:
        """Every job that a person was told of, on either platform."""
        await self.discord.look()
        shown = [one["message"] for one in self.discord.entries if one["what"] in ("message", "edit")]
        names = {name for message in shown for name in buttons(message)}
        for entry in (await self.slack.state())["ledger"]:
            message = entry.get("message")
            names |= set(driver.buttons(message)) if isinstance(message, dict) else set()
        return {name.split(":")[2] for name in names if name.startswith("v1:") and name.count(":") >= 2}

    async def finals(self) -> dict[str, int]:
        """How many messages show each job's pictures."""
        shown = [set(buttons(message)) for message in (await self.discord.state())["messages"]]
        for channel in (await self.slack.state())["channels"].values():
            shown += [set(driver.buttons(message)) for message in channel]
        found = Counter(name.split(":")[2] for names in shown for name in names if name.startswith("v1:anew:"))
        return dict(found)


@asynccontextmanager
async def open_full_house(home: Path, **environ: str) -> AsyncIterator[FullHouse]:
    """Peers and home; no bot and no engine yet."""
    async with open_peer() as discord, driver.running() as slack:
        values = {
            "DREAMBOT_DISCORD_TOKEN": TOKEN,
            "DREAMBOT_DISCORD_API": discord.base,
            "DREAMBOT_SLACK_BOT_TOKEN": BOT_TOKEN,
            "DREAMBOT_SLACK_APP_TOKEN": APP_TOKEN,
            "DREAMBOT_SLACK_API_URL": slack.api,
            "DREAMBOT_ADMINS": f"discord:{ADA},discord:{BOB}",
            "DREAMBOT_MAX_STRIKES": "1000",
            **environ,
        }
        async with open_house(home, home.with_name("no packs"), **values) as house:
            yield FullHouse(house, discord, slack)


PEOPLE = (ADA, BOB, EVE)
CHANNELS = (CHANNEL, OTHER_CHANNEL, NSFW_CHANNEL)
