"""The peer as a test holds it: starts the process, acts for people, waits for what the ledger shows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.discord.overlay import EPHEMERAL
from tests.fakes.discord.world import ALL_RIGHTS

Entry = dict[str, Any]
ADA, BOB, EVE = "300000000000000001", "300000000000000002", "300000000000000003"
MODERATOR_RIGHTS = str(int(ALL_RIGHTS) | 1 << 13)  # Manage Messages
PATIENCE_S = 240.0


class Peer:
    """A running peer."""

    def __init__(self, base: str, session: aiohttp.ClientSession, patience_s: float = PATIENCE_S) -> None:
        self.base, self.patience_s = base, patience_s
        self._session = session
        self.entries: list[Entry] = []

    async def control(self, what: str, **body: Any) -> Any:
        """One thing a test can do; AssertionError if it makes no sense."""
        async with self._session.post(f"{self.base}/control/{what}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def command(self, name: str, verb: str | None = None, *, who: Entry | None = None, **options: Any) -> str:
        """Somebody uses a slash command; returns the interaction's id. `top_k` is written `top-k`."""
        given = {key.replace("_", "-"): value for key, value in options.items()}
        return await self._act(who, kind="command", name=name, verb=verb, options=given)

    async def suggest(self, name: str, verb: str | None, focused: str, typed: str) -> list[str]:
        """What autocomplete offers for a half-typed option."""
        act = await self._act(
            None, kind="autocomplete", name=name, verb=verb, options={focused: typed}, focused=focused
        )
        ack = await self.ack(act)
        return [choice["value"] for choice in ack["data"]["choices"]]

    async def menu(self, name: str, content: str, *, who: Entry | None = None, picture: str | None = None) -> str:
        """Somebody uses a command of a message's menu; `picture`: base64 of a PNG beside its words."""
        return await self._act(who, kind="menu", name=name, content=content, picture=picture)

    async def press(self, message: Entry, verb: str, *, who: Entry | None = None) -> str:
        """Somebody presses a button under a message."""
        (custom_id,) = [one for one in buttons(message) if one.split(":")[1] == verb]
        return await self._act(who, kind="component", message=message["id"], custom_id=custom_id)

    async def fill_in(self, form: Entry, *, who: Entry | None = None, **values: str) -> str:
        """Somebody sends the form in that an acknowledgement opened."""
        given = {one["custom_id"]: one.get("value") or "" for one in inputs(form)} | values
        return await self._act(who, kind="modal", custom_id=form["data"]["custom_id"], values=given)

    async def _act(self, who: Entry | None, **act: Any) -> str:
        return str((await self.control("act", **act, **(who or {})))["id"])

    async def fault(self, operation: str, kind: str, **how: Any) -> None:
        """Something goes wrong with the next request of that operation."""
        await self.control("fault", operation=operation, kind=kind, **how)

    async def look(self, wait_s: float = 0.0) -> list[Entry]:
        """Read what is new; returns the new entries."""
        query = {"n": str(len(self.entries)), "wait": str(wait_s)}
        async with self._session.get(f"{self.base}/control/ledger", params=query) as response:
            found: list[Entry] = await response.json()
        new = [entry for entry in found if entry["n"] > len(self.entries)]  # others may have looked meanwhile
        self.entries += new
        return new

    async def until(self, seen: Callable[[Entry], bool], since: int = 0) -> Entry:
        """The first entry after number `since` that satisfies `seen`."""
        async with asyncio.timeout(self.patience_s):
            at = since
            while True:
                for entry in self.entries[at:]:
                    if seen(entry):
                        return entry
                at = max(at, len(self.entries))
                await self.look(5.0)

    async def ack(self, interaction: str, since: int = 0) -> Entry:
        """The acknowledgement of an interaction, looked for after entry number `since`."""
        return await self.until(lambda entry: entry["what"] == "ack" and entry["interaction"] == interaction, since)

    async def shown(self, seen: Callable[[Entry], bool], since: int = 0) -> Entry:
        """The first message, new or edited, that satisfies `seen`."""
        entry = await self.until(lambda e: e["what"] in ("message", "edit") and seen(e["message"]), since)
        return dict(entry["message"])

    async def ready(self, since: int = 0) -> None:
        """Until the bot listens."""
        await self.until(lambda entry: entry["what"] == "ready", since)

    async def state(self) -> Entry:
        """What exists at the peer."""
        async with self._session.get(f"{self.base}/control/state") as response:
            return dict(await response.json())

    async def file(self, url: str) -> bytes:
        """An attachment."""
        async with self._session.get(url) as response:
            return await response.read()

    async def finals(self, job: str) -> list[Entry]:
        """The messages that everybody sees and that tell how a job ended."""
        return [one for one in (await self.state())["messages"] if is_final(one, job)]

    async def problems(self) -> list[Any]:
        """Every schema problem, and every mention that reached somebody."""
        await self.look()
        return [found for entry in self.entries for found in (*entry.get("problems", ()), *entry.get("pings", ()))]


def buttons(message: Entry) -> list[str]:
    """The ids of a message's buttons."""
    return [one["custom_id"] for row in message["components"] for one in row["components"]]


def inputs(form: Entry) -> list[Entry]:
    """The text inputs of a form."""
    parts = form["data"]["components"]
    return [one.get("component") or one["components"][0] for one in parts]


def job_of(message: Entry) -> str | None:
    """The job that a message is about."""
    fields = [field for embed in message["embeds"] for field in embed.get("fields", ())]
    return next((field["value"].strip("`") for field in fields if field["name"] == "job"), None)


def is_final(message: Entry, job: str) -> bool:
    """Whether everybody sees here how this job ended."""
    waits = any(one.startswith("v1:cancel:") for one in buttons(message))
    return job_of(message) == job and not waits and not message["flags"] & EPHEMERAL


def text_of(message: Entry) -> str:
    """All words of a message."""
    words = [message.get("content") or ""]
    for embed in message["embeds"]:
        words += [embed.get("title") or "", embed.get("description") or ""]
        words += [f"{field['name']}: {field['value']}" for field in embed.get("fields", ())]
    return "\n".join(words)


@asynccontextmanager
async def open_peer(ledger: Path | None = None) -> AsyncIterator[Peer]:
    """A peer process, ended at the end."""
    command = [sys.executable, "-m", "tests.fakes.discord", *(["--ledger", str(ledger)] if ledger else [])]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        base = (await process.stdout.readline()).decode().strip()
        assert base, "the peer did not start"
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Peer(base, session)
    finally:
        process.terminate()
        await process.wait()
