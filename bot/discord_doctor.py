"""What `dreambot doctor` says of Discord: token, scopes, intents, permissions, commands; each fault with what mends it.

Asks Discord and changes nothing there. Does not connect to the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiohttp
import discord
from discord.http import Route

from bot.discord_client import connection
from bot.discord_commands import ADMIN_COMMAND, DREAM_COMMAND, MENU, VERBS_COMMAND
from bot.doctor import Finding
from bot.settings import BotSettings

SCOPES = ("bot", "applications.commands")
PERMISSIONS = discord.Permissions(
    view_channel=True, send_messages=True, embed_links=True, attach_files=True, read_message_history=True
)
PORTAL = "the developer portal"


class _Deaf:
    """Ears for a client that never listens."""

    async def prepare(self) -> None: ...

    async def pressed(self, interaction: discord.Interaction[Any], custom_id: str) -> None: ...

    async def sent_in(self, interaction: discord.Interaction[Any], custom_id: str) -> None: ...


async def examine(settings: BotSettings) -> list[Finding]:
    """Every finding about Discord; none if no token is set."""
    if settings.discord_token is None:
        return []
    client = connection(_Deaf(), shards=None, api=settings.discord_api).client
    try:
        await client.login(settings.discord_token.get_secret_value().strip())
        return [finding async for finding in _ask(client)]
    except discord.LoginFailure:
        text = f"Discord does not know it; {PORTAL}, Bot, Reset Token, makes a new one for DREAMBOT_DISCORD_TOKEN"
        return [Finding("discord token", text, False)]
    except (aiohttp.ClientError, OSError, discord.HTTPException) as error:
        return [Finding("discord", f"cannot be reached: {error}", False)]
    finally:
        await client.close()


async def _ask(client: discord.Client) -> Any:
    application = await client.http.request(Route("GET", "/applications/@me"))
    yield Finding("discord token", f"of the application {application['name']}", True)
    yield Finding("discord intents", "only GUILDS, which needs no approval", True)
    yield _scopes(application)
    commands = await client.http.request(
        Route("GET", "/applications/{application_id}/commands", application_id=int(application["id"]))
    )
    yield _commands([str(command["name"]) for command in commands])
    guilds = await client.http.request(Route("GET", "/users/@me/guilds"))
    for finding in _guilds(guilds, int(application["id"])):
        yield finding


def _scopes(application: Mapping[str, Any]) -> Finding:
    kinds = application.get("integration_types_config") or {}
    given = ((kinds.get("0") or {}).get("oauth2_install_params") or {}).get("scopes") or []
    missing = [scope for scope in SCOPES if scope not in given]
    if not missing:
        return Finding("discord scopes", ", ".join(given), True)
    text = f"the install link lacks {', '.join(missing)}: {PORTAL}, Installation, Guild Install; or use the link below"
    return Finding("discord scopes", text, None)


def _commands(names: Sequence[str]) -> Finding:
    missing = [name for name in (DREAM_COMMAND, VERBS_COMMAND, ADMIN_COMMAND, MENU) if name not in names]
    if not missing:
        return Finding("discord commands", ", ".join(names), True)
    text = f"{', '.join(missing)} not registered yet; the bot does it when it starts"
    return Finding("discord commands", text, None)


def _guilds(guilds: Sequence[Mapping[str, Any]], application: int) -> Iterator[Finding]:
    link = invite(application)
    if not guilds:
        yield Finding("discord servers", f"none yet; invite the bot by {link}", None)
    for guild in guilds:
        has = discord.Permissions(int(guild["permissions"]))
        missing = [name for name, needed in PERMISSIONS if needed and not (getattr(has, name) or has.administrator)]
        words = ", ".join(name.replace("_", " ") for name in missing)
        text = f"the bot may not: {words}; give its role these in the server's settings, or invite it anew by {link}"
        yield Finding(f"discord server {guild['name']}", text if missing else "all permissions", not missing)


def invite(application: int) -> str:
    """The link by which somebody takes the bot into their server."""
    return discord.utils.oauth_url(application, permissions=PERMISSIONS, scopes=SCOPES)
