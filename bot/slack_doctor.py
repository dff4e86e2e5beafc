"""What `dreambot doctor` says of Slack: tokens, permissions, the way commands come in; each fault with what mends it.

Asks Slack and changes nothing there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot import slack_trouble
from bot.doctor import Finding
from bot.settings import BotSettings
from bot.slack_adapter import check
from bot.slack_http import SCOPES
from bot.slack_workspaces import Workspaces
from storage.errors import UserError

ANEW = "paste deploy/slack-manifest.yaml under App Manifest, then OAuth & Permissions, Reinstall"


async def examine(settings: BotSettings) -> list[Finding]:
    """Every finding about Slack; none if neither a token nor a client id is set."""
    if settings.slack_bot_token is None and settings.slack_client_id is None:
        return []
    try:
        check(settings)
    except UserError as error:
        return [Finding("slack", str(error), False)]
    async with aiohttp.ClientSession() as session:
        workspaces = Workspaces(settings, session, None)
        return [finding async for finding in _ask(settings, workspaces)]


async def _ask(settings: BotSettings, workspaces: Workspaces) -> AsyncIterator[Finding]:
    if settings.slack_bot_token is not None:
        async for finding in _bot(workspaces.made(settings.slack_bot_token.get_secret_value())):
            yield finding
    if settings.slack_app_token is not None:
        yield await _socket(workspaces.made(settings.slack_app_token.get_secret_value()))
    if settings.slack_http_port is not None:
        where = f"{settings.slack_http_host}:{settings.slack_http_port}"
        yield Finding("slack http", f"listens at {where}; an https address must lead there", True)
    if settings.slack_client_id is not None:
        yield Finding("slack installations", "workspaces install the app at /slack/install", True)


async def _bot(client: AsyncWebClient) -> AsyncIterator[Finding]:
    try:
        told = await client.auth_test()
    except slack_trouble.FAILURES as error:
        yield _refused("slack bot token", error, "OAuth & Permissions, Bot User OAuth Token")
        return
    yield Finding("slack bot token", f"of {told['user']} in {told['team']}", True)
    granted = {scope.strip() for scope in told.headers.get("x-oauth-scopes", "").split(",")}
    missing = sorted(set(SCOPES) - granted)
    text = f"lacks {', '.join(missing)}: {ANEW}" if missing else "all that the manifest asks for"
    yield Finding("slack permissions", text, not missing)


async def _socket(client: AsyncWebClient) -> Finding:
    try:
        await client.apps_connections_open(app_token=client.token or "")
    except slack_trouble.FAILURES as error:
        return _refused("slack app token", error, "Basic Information, App-Level Tokens, with connections:write")
    return Finding("slack app token", "opens Socket Mode", True)


def _refused(name: str, error: BaseException, where: str) -> Finding:
    word = slack_trouble.code(error)
    if not word:
        return Finding(name, f"Slack cannot be reached: {type(error).__name__}", False)
    return Finding(name, f"Slack says {word}; {where} has the right one", False)
