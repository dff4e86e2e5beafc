"""What exists at the peer: guilds, channels, people, messages, interactions, commands. Knows no HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.discord.clock import Clock
from tests.fakes.discord.overlay import EPHEMERAL, File

APP = "900000000000000001"
TOKEN = "fake-token"
GUILD, OTHER_GUILD, FOREIGN_GUILD = "100000000000000001", "100000000000000002", "100000000000000003"
CHANNEL, OTHER_CHANNEL, NSFW_CHANNEL = "200000000000000001", "200000000000000002", "200000000000000003"
FOREIGN_CHANNEL, DM_CHANNEL = "200000000000000004", "200000000000000005"
ALL_RIGHTS = str(1 << 10 | 1 << 11 | 1 << 14 | 1 << 15 | 1 << 16)  # view, send, embed, attach, history
ACK_S, TOKEN_S, NONCE_S = 3.0, 900.0, 300.0
FILE_LIMIT = 10 << 20
LOADING = 1 << 7  # "is thinking…"


@dataclass
class Channel:
    """A place to write. The bot sits in it or was only brought along by a person who installed it."""

    id: str
    guild: str | None
    nsfw: bool = False
    bot_in: bool = True
    gone: bool = False

    def payload(self) -> dict[str, Any]:
        """As an interaction carries it."""
        if self.guild is None:
            return {"id": self.id, "type": 1, "last_message_id": None, "flags": 0, "recipients": []}
        about = {"id": self.id, "type": 0, "guild_id": self.guild, "name": f"room-{self.id[-1]}", "nsfw": self.nsfw}
        rest = {"permissions": ALL_RIGHTS, "flags": 0, "parent_id": None, "position": 0, "topic": None}
        return about | rest | {"last_message_id": None, "rate_limit_per_user": 0, "permission_overwrites": []}


@dataclass
class Interaction:
    """One act of a person, and what became of it."""

    id: str
    token: str
    type: int
    channel: Channel
    user: str
    created_at: float
    user_install: bool = False
    limit: int = FILE_LIMIT
    acknowledged: int | None = None  # the callback's type
    ephemeral: bool = False
    original: str | None = None  # the message that the callback made
    followups: int = 0


@dataclass
class World:
    """Everything, and the rules of who may touch what."""

    clock: Clock
    guilds: dict[str, str] = field(default_factory=lambda: {GUILD: "The Guild", OTHER_GUILD: "The Other Guild"})
    channels: dict[str, Channel] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    interactions: dict[str, Interaction] = field(default_factory=dict)  # by token
    commands: list[dict[str, Any]] = field(default_factory=list)
    rights: dict[str, str] = field(default_factory=dict)  # of the bot, by guild; all of them where none are named
    scopes: list[str] = field(default_factory=lambda: ["applications.commands", "bot"])
    nonces: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    base: str = ""

    def __post_init__(self) -> None:
        known = [
            Channel(CHANNEL, GUILD),
            Channel(OTHER_CHANNEL, OTHER_GUILD),
            Channel(NSFW_CHANNEL, GUILD, nsfw=True),
            Channel(FOREIGN_CHANNEL, FOREIGN_GUILD, bot_in=False),
            Channel(DM_CHANNEL, None),
        ]
        self.channels = {channel.id: channel for channel in known}

    def bot(self) -> dict[str, Any]:
        """The bot as a user."""
        return {"id": APP, "username": "dreambot", "discriminator": "0000", "avatar": None, "bot": True, "flags": 0}

    def user(self, user: str) -> dict[str, Any]:
        """A person; their name follows from their id."""
        name = f"person{user[-1]}"
        return {"id": user, "username": name, "global_name": name.title(), "discriminator": "0", "avatar": None}

    def member(self, user: str, permissions: str) -> dict[str, Any]:
        """A person within a guild."""
        rest = {"roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "deaf": False, "mute": False, "flags": 0}
        return {"user": self.user(user), "permissions": permissions, "nick": None, "avatar": None, **rest}

    def add(self, channel: Channel, body: dict[str, Any], files: list[File], **more: Any) -> dict[str, Any]:
        """A new message of the bot."""
        message: dict[str, Any] = {
            "id": self.clock.snowflake(),
            "type": 0,
            "channel_id": channel.id,
            "author": self.bot(),
            "content": "",
            "embeds": [],
            "components": [],
            "attachments": [],
            "mentions": [],
            "mention_roles": [],
            "mention_everyone": False,
            "pinned": False,
            "tts": False,
            "flags": 0,
            "timestamp": self._stamp(),
            "edited_timestamp": None,
            **more,
        }
        self.messages[message["id"]] = message
        self._fill(message, body, files)
        return message

    def change(self, message: dict[str, Any], body: dict[str, Any], files: list[File]) -> dict[str, Any]:
        """An edit: what is named is replaced; attachments stay only where they are named."""
        message["flags"] &= ~LOADING
        message["edited_timestamp"] = self._stamp()
        self._fill(message, body, files)
        return message

    def _fill(self, message: dict[str, Any], body: dict[str, Any], files: list[File]) -> None:
        for name in ("content", "embeds", "components"):
            if name in body:
                message[name] = body[name] or type(message[name])()
        if message["edited_timestamp"] and "flags" in body:
            message["flags"] = (body["flags"] or 0) | (message["flags"] & EPHEMERAL)
        if "attachments" in body or files:
            kept = {str(one["id"]) for one in body.get("attachments") or ()}
            old = [one for one in message["attachments"] if one["id"] in kept]
            message["attachments"] = old + [self._attachment(message, file) for file in files]
        for embed in message["embeds"]:
            embed.setdefault("type", "rich")

    def _attachment(self, message: dict[str, Any], file: File) -> dict[str, Any]:
        number = self.clock.snowflake()
        self.files[number] = file.data
        url = f"{self.base}/cdn/attachments/{message['channel_id']}/{number}/{file.name}"
        return {"id": number, "filename": file.name, "size": len(file.data), "url": url, "proxy_url": url}

    def posted_before(self, channel: str, nonce: str | None) -> dict[str, Any] | None:
        """The message of the same nonce in the last few minutes."""
        at, message = self.nonces.get((channel, str(nonce)), (-1e18, ""))
        return self.messages.get(message) if nonce and self.clock.now() - at <= NONCE_S else None

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.clock.now(), UTC).isoformat()
