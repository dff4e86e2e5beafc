"""The connection to Discord: a client with the one intent it needs, its command tree, and presses found by their ids.

Knows discord.py. Decides nothing: what happens is told to `Ears`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

import discord
import yarl
from discord import app_commands

from storage.errors import UserError

LONGEST_PAUSE_S = 30.0  # a longer rate limit is handed up; discord.py waits for the others itself
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PRESS = r"v1:(?P<verb>[a-z]+):(?P<job>[a-z0-9]+)"

Interaction = discord.Interaction[Any]


class Ears(Protocol):
    """What the client tells."""

    async def prepare(self) -> None:
        """Logged in, not yet connected."""

    async def pressed(self, interaction: Interaction, custom_id: str) -> None:
        """A button."""

    async def sent_in(self, interaction: Interaction, custom_id: str) -> None:
        """A form."""


class _Hooks(discord.Client):
    ears: Ears

    async def setup_hook(self) -> None:
        """discord.py calls this once, after the login."""
        self.add_dynamic_items(Press)
        await self.ears.prepare()

    async def on_interaction(self, interaction: Interaction) -> None:
        """Forms are found by their ids, not by objects in memory, so that they survive a restart."""
        if interaction.type is discord.InteractionType.modal_submit:
            data: Mapping[str, Any] = interaction.data or {}
            await self.ears.sent_in(interaction, str(data.get("custom_id", "")))


class OneShard(_Hooks):
    """For up to 2,500 guilds."""


class ManyShards(_Hooks, discord.AutoShardedClient):
    """For more."""


class Press(discord.ui.DynamicItem[discord.ui.Button[Any]], template=PRESS):
    """A button of any message, however old, of this process or another."""

    def __init__(self, custom_id: str) -> None:
        super().__init__(discord.ui.Button(label="…", custom_id=custom_id))

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """discord.py calls this for an id that matches."""
        return cls(match.string)

    async def callback(self, interaction: Interaction) -> None:
        """Pressed."""
        await interaction.client.ears.pressed(interaction, self.item.custom_id or "")


@dataclass(frozen=True, slots=True)
class Connection:
    """A client and the tree of its commands."""

    client: _Hooks
    tree: app_commands.CommandTree[Any]


def connection(ears: Ears, *, shards: int | None, api: str | None) -> Connection:
    """A client that is not logged in yet. `api`: a Discord on this machine instead of the real one."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody speaks here
    if api is not None:
        _point_at(api)
    options: dict[str, Any] = {
        "intents": discord.Intents(guilds=True),
        "allowed_mentions": discord.AllowedMentions.none(),
        "max_messages": None,
        "max_ratelimit_timeout": LONGEST_PAUSE_S,
    }
    client: _Hooks = OneShard(**options) if shards is None else ManyShards(shard_count=shards, **options)
    client.ears = ears
    everywhere = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
    anybody = app_commands.AppInstallationType(guild=True, user=True)
    return Connection(client, app_commands.CommandTree(client, allowed_contexts=everywhere, allowed_installs=anybody))


def _point_at(api: str) -> None:
    """discord.py has no option for it: its routes and its gateway are class attributes."""
    parts = urlsplit(api)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise UserError(f"DREAMBOT_DISCORD_API is http://127.0.0.1:PORT, for tests; {api!r} is not.")
    discord.http.Route.BASE = f"{api.rstrip('/')}/api/v10"
    gateway = yarl.URL(f"ws://{parts.netloc}/gateway")
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = gateway
