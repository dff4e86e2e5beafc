"""The test's hand on the peer: people act, the ledger is waited for. Never sleeps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.fakes.slack.workspace import ADA, GENERAL

PATIENCE_S = 240.0  # what has not happened by then does not happen
ANSWER_S = 60.0  # the peer answers, and its clock stands still: a lost ack would wait for ever
Entry = dict[str, Any]


class Slack:
    """A running peer."""

    def __init__(self, base: str, session: aiohttp.ClientSession, patience_s: float = PATIENCE_S) -> None:
        self.base = base
        self._patience_s = patience_s
        self._session = session

    @property
    def api(self) -> str:
        """Where the Web API is."""
        return f"{self.base}/api/"

    async def control(self, verb: str, **asked: Any) -> Any:
        """One verb of the peer's control."""
        async with self._session.post(f"{self.base}/control/{verb}", json=asked) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def call(self, method: str, token: str, **given: Any) -> Any:
        """One call of the Web API, as any program might make it."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self._session.post(self.api + method, json=given, headers=headers) as answer:
            return await answer.json()

    async def slash(self, text: str, *, user: str = ADA, channel: str = GENERAL, command: str = "/dream") -> Any:
        """Somebody types a slash command; the ack."""
        return await self.control("slash", text=text, user=user, channel=channel, command=command)

    async def press(self, message: Entry, verb: str, *, user: str = ADA, **more: Any) -> Any:
        """Somebody presses the button of a verb under a message; the ack."""
        action_id = next(name for name in buttons(message["message"]) if name.startswith(f"v1:{verb}:"))
        if message["kind"] == "ephemeral":
            more |= {"message": message["message"]}
            message = {"ts": None} | message
        return await self.control(
            "press", user=user, channel=message["channel"], ts=message["ts"], action_id=action_id, **more
        )

    async def submit(self, view: Mapping[str, Any], values: Mapping[str, str], *, user: str = ADA) -> Any:
        """Somebody sends a modal in; the ack."""
        return await self.control("submit", user=user, view_id=view["id"], values=dict(values))

    async def mention(self, text: str, *, user: str = ADA, channel: str = GENERAL, **more: Any) -> Any:
        """Somebody writes to the bot by name."""
        return await self.control("mention", text=text, user=user, channel=channel, **more)

    async def until(self, seen: Callable[[Entry], bool], after: int = 0) -> Entry:
        """The first entry from number `after` on that satisfies `seen`."""
        async with asyncio.timeout(self._patience_s):
            while True:
                for entry in await self.control("ledger", after=after):
                    after = entry["n"] + 1
                    if seen(entry):
                        return entry
        raise AssertionError

    async def mark(self) -> int:
        """The number that the ledger's next entry will have."""
        return len((await self.control("state"))["ledger"])

    async def state(self) -> Any:
        """Everything."""
        return await self.control("state")

    async def problems(self) -> list[str]:
        """What the peer had to refuse or the contract did not allow."""
        return [entry["what"] for entry in (await self.state())["ledger"] if entry["kind"] == "problem"]

    async def picture(self, file: str) -> bytes:
        """The bytes of an upload."""
        return bytes.fromhex((await self.control("file", file=file))["content"])


def buttons(message: Mapping[str, Any]) -> list[str]:
    """The action ids of a message's buttons."""
    elements = [element for block in message.get("blocks", ()) for element in block.get("elements", ())]
    return [element["action_id"] for element in elements if element.get("type") == "button"]


def pictures(message: Mapping[str, Any]) -> list[str]:
    """The Slack files that a message shows."""
    return [block["slack_file"]["id"] for block in message.get("blocks", ()) if block["type"] == "image"]


@asynccontextmanager
async def running() -> AsyncIterator[Slack]:
    """A peer of one's own, in its own process."""
    command = [sys.executable, "-m", "tests.fakes.slack"]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        base = (await child.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session:
            yield Slack(base, session)
    finally:
        child.kill()
        await child.wait()
