"""One workspace as the peer keeps it: people, channels, messages, files, views, and the ledger of what happened."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.slack.clock import Clock

TEAM, TEAM_NAME, APP = "T0DREAMERS", "dreamers", "A0DREAMBOT"
BOT, BOT_USER = "B0DREAMBOT", "U0DREAMBOT"
BOT_TOKEN, APP_TOKEN, SECRET = "xoxb-of-the-fake", "xapp-of-the-fake", "signing-secret-of-the-fake"
CLIENT_ID, CLIENT_SECRET, CODE = "111.222", "client-secret-of-the-fake", "code-of-the-fake"
INSTALLED_TOKEN = "xoxb-installed-by-oauth"

ADA, BEN, EVE = "U0ADA", "U0BEN", "U0EVE"  # an admin, a member, and somebody of another workspace
GHOST = "U0GHOST"  # somebody of whom users.info tells nothing
GENERAL, PRIVATE, ARCHIVED, QUIET = "C0GENERAL", "G0PRIVATE", "C0ARCHIVED", "C0QUIET"
SCOPES = (
    "app_mentions:read",
    "channels:history",
    "chat:write",
    "chat:write.public",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "im:history",
    "im:write",
    "users:read",
)


@dataclass
class Channel:
    """A place for messages. In a private one the bot may not speak unless it is a member."""

    id: str
    private: bool = False
    member: bool = True
    archived: bool = False
    direct: str | None = None  # the person, where this is a direct message
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class File:
    """An upload. It is usable only after it was asked about `polls_left` times, as Slack's processing takes a while."""

    id: str
    name: str
    length: int
    content: bytes = b""
    title: str = ""
    complete: bool = False
    polls_left: int = 2
    shares: dict[str, str] = field(default_factory=dict)  # channel -> message
    share_with: dict[str, Any] = field(default_factory=dict)  # what is to be shared once it is ready

    @property
    def ready(self) -> bool:
        """Whether blocks may show it."""
        return self.complete and self.polls_left <= 0


class Ledger:
    """Everything that happened, in order, for those who wait for something."""

    def __init__(self, clock: Clock) -> None:
        self.entries: list[dict[str, Any]] = []
        self._clock = clock
        self._grown = asyncio.Condition()

    async def add(self, kind: str, **facts: Any) -> None:
        """Write down."""
        async with self._grown:
            self.entries.append({"n": len(self.entries), "at": self._clock.now(), "kind": kind} | facts)
            self._grown.notify_all()

    async def after(self, n: int, patience_s: float = 20.0) -> list[dict[str, Any]]:
        """What was written after the first `n` entries; waits for something to be."""
        try:
            async with asyncio.timeout(patience_s), self._grown:
                await self._grown.wait_for(lambda: len(self.entries) > n)
        except TimeoutError:
            return []
        return self.entries[n:]


class Workspace:
    """All state of the peer."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ledger = Ledger(clock)
        self.names = itertools.count(1)
        self.users: dict[str, dict[str, Any]] = {
            ADA: user(ADA, "ada", admin=True),
            BEN: user(BEN, "ben"),
            EVE: user(EVE, "eve", admin=True, team="T0ELSEWHERE"),
            BOT_USER: user(BOT_USER, "dreambot") | {"is_bot": True},
        }
        self.channels = {
            GENERAL: Channel(GENERAL),
            PRIVATE: Channel(PRIVATE, private=True, member=False),
            ARCHIVED: Channel(ARCHIVED, archived=True),
            QUIET: Channel(QUIET, member=False),
        }
        self.files: dict[str, File] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.homes: dict[str, dict[str, Any]] = {}
        self.triggers: dict[str, float] = {}  # trigger_id -> until when it opens a view
        self.responses: dict[str, dict[str, Any]] = {}  # response_url's last part -> who, where, until, left
        self.base = ""
        self.scopes = list(SCOPES)

    def name(self, prefix: str) -> str:
        """A fresh id."""
        return f"{prefix}0{next(self.names):06d}"

    def trigger(self) -> str:
        """A trigger_id: three seconds, one view."""
        made = f"{self.name('1')}.{TEAM}"
        self.triggers[made] = self.clock.now() + 3.0
        return made

    def response_url(self, user_id: str, channel: str) -> str:
        """Five answers within thirty minutes."""
        name = self.name("R")
        self.responses[name] = {"user": user_id, "channel": channel, "until": self.clock.now() + 1_800.0, "left": 5}
        return f"{self.base}/response/{name}"

    def direct(self, user_id: str) -> Channel:
        """The conversation of the bot and a person."""
        return self.channels.setdefault(f"D{user_id[1:]}", Channel(f"D{user_id[1:]}", direct=user_id))


def user(user_id: str, name: str, *, admin: bool = False, team: str = TEAM) -> dict[str, Any]:
    """A person as users.info tells."""
    return {
        "id": user_id,
        "team_id": team,
        "name": name,
        "real_name": name.capitalize(),
        "deleted": False,
        "is_admin": admin,
        "is_owner": False,
        "is_primary_owner": False,
        "is_restricted": False,
        "is_bot": False,
        "profile": {"display_name": name, "real_name": name.capitalize()},
    }
