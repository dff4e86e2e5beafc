"""A dreambot on Slack: the peer, the bot and an engine, each its own process, on one temporary home."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.slack import driver
from tests.fakes.slack.driver import Entry, Slack
from tests.fakes.slack.workspace import APP_TOKEN, BOT_TOKEN, SECRET
from tests.scenarios.house import House, open_house

TINY = "--pack tiny --candidates 40 --keep 2 --seed 7"


@dataclass
class Scene:
    """What a scenario plays on."""

    slack: Slack
    house: House
    http: bool = False

    async def start_bot(self) -> subprocess.Popen[bytes]:
        """The bot, listening to Slack."""
        since = await self.slack.mark()
        bot = self.house.start_engine("bot")
        await self.heard(since)
        return bot

    async def heard(self, since: int = 0) -> None:
        """Until a bot listens."""
        if self.http:
            await self._listening()
        else:
            await self.slack.until(lambda entry: entry["kind"] == "socket" and entry["what"] == "opened", since)

    async def _listening(self) -> None:
        port = int(self.house.environ["DREAMBOT_SLACK_HTTP_PORT"])
        await self.slack.control("http", url=f"http://127.0.0.1:{port}/slack/events")
        async with asyncio.timeout(driver.PATIENCE_S):
            while not await accepts(port):
                await self.house.feed.changed(0.2)

    def end(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
        """End a process at once."""
        process.send_signal(number)
        process.wait()

    async def result(self, after: int, *, channel: str | None = None) -> Entry:
        """The message that shows a result: pictures, and a button for another seed."""

        def seen(entry: Entry) -> bool:
            here = entry["kind"] in ("post", "update") and channel in (None, entry["channel"])
            return here and any(name.startswith("v1:anew:") for name in driver.buttons(entry["message"]))

        return await self.slack.until(seen, after)

    async def queued(self, line: str, **who: Any) -> Entry:
        """Somebody dreams; the message that tells their place."""
        since = await self.slack.mark()
        ack = await self.slack.slash(line, **who)
        assert ack["acked"], ack
        return await self.slack.until(lambda entry: entry["kind"] == "post", since)

    async def until_says(self, message: Entry, words: str) -> Entry:
        """The message once it says this."""

        def seen(entry: Entry) -> bool:
            return entry.get("ts") == message["ts"] and words in str(entry.get("message"))

        return await self.slack.until(seen, message["n"])

    async def answered(self, act: Awaitable[Any]) -> Entry:
        """Words for one person that follow on what they do."""
        since = await self.slack.mark()
        ack = await act
        assert ack["acked"], ack
        return await self.slack.until(lambda entry: entry["kind"] == "ephemeral", since)

    async def filled_in(self, result: Entry, verb: str, values: Mapping[str, str]) -> Entry:
        """Somebody presses for a form, fills it in and sends it; the result of that."""
        since = await self.slack.mark()
        await self.slack.press(result, verb)
        view = (await self.slack.until(lambda entry: entry["kind"] == "view", since))["view"]
        ack = await self.slack.submit(view, values)
        assert (ack["acked"], ack["body"]) in ((True, None), (True, "")), ack
        return await self.result(since)

    async def dreamt(self, text: str = f"a lemon {TINY}", **who: Any) -> Entry:
        """Somebody dreams; the result."""
        since = await self.slack.mark()
        ack = await self.slack.slash(text, **who)
        assert ack["acked"], ack
        return await self.result(since)

    async def final_messages(self) -> dict[str, int]:
        """How many messages stand in the channels that show each job's end, by job."""
        counts: dict[str, int] = {}
        for messages in (await self.slack.state())["channels"].values():
            for message in messages:
                for name in driver.buttons(message):
                    if name.startswith("v1:anew:"):
                        job = name.rpartition(":")[2]
                        counts[job] = counts.get(job, 0) + 1
        return counts


@asynccontextmanager
async def scene(home: Path, packs: Path, *, http: bool = False, **environ: str) -> AsyncIterator[Scene]:
    """The peer and an empty home; bot and engine are started by the test. No schema problem may be left at the end."""
    async with driver.running() as slack:
        values = {
            "DREAMBOT_SLACK_BOT_TOKEN": BOT_TOKEN,
            "DREAMBOT_SLACK_API_URL": slack.api,
            "DREAMBOT_PROGRESS_S": "0",
        }
        if http:
            values |= {"DREAMBOT_SLACK_SIGNING_SECRET": SECRET, "DREAMBOT_SLACK_HTTP_PORT": str(free_port())}
        else:
            values |= {"DREAMBOT_SLACK_APP_TOKEN": APP_TOKEN}
        async with open_house(home, packs, **(values | environ)) as house:
            playing = Scene(slack, house, http)
            yield playing
            assert await slack.problems() == []


async def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])
