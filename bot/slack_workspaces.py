"""Workspaces: whose token speaks where. One workspace by a token in the settings, or many that installed the app.

Knows tokens and clients; nothing of messages. Slack is asked once who we are, never between a command and its ack.
"""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapter import Undeliverable
from bot.settings import BotSettings

TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Who we are in a workspace."""

    team: str
    token: str
    bot_id: str | None
    bot_user: str | None


class Workspaces:
    """Clients by workspace."""

    def __init__(
        self, settings: BotSettings, session: aiohttp.ClientSession, installations: AsyncInstallationStore | None
    ) -> None:
        self._settings = settings
        self._session = session
        self._installations = installations
        self._own: Ourselves | None = None

    @property
    def single(self) -> bool:
        """Whether one workspace's token is in the settings: its admins are ours."""
        return self._settings.slack_bot_token is not None

    async def begin(self) -> None:
        """Ask once who the settings' token is."""
        if self._settings.slack_bot_token is not None:
            token = self._settings.slack_bot_token.get_secret_value()
            told = await self.made(token).auth_test()
            self._own = Ourselves(str(told["team_id"]), token, told.get("bot_id"), told.get("user_id"))

    def made(self, token: str | None) -> AsyncWebClient:
        """A client. It never repeats a call by itself: whether a lost answer means a lost message is our business."""
        return AsyncWebClient(
            token=token,
            base_url=self._settings.slack_api_url,
            session=self._session,
            timeout=TIMEOUT_S,
            retry_handlers=[],
        )

    async def client(self, team: str) -> AsyncWebClient:
        """The client of a workspace; Undeliverable where the app is not installed any more."""
        return self.made((await self.ourselves(team)).token)

    async def ourselves(self, team: str, enterprise: str | None = None) -> Ourselves:
        """Who we are there."""
        if self._own is not None and team == self._own.team:
            return self._own
        if self._installations is not None:
            bot = await self._installations.async_find_bot(enterprise_id=enterprise, team_id=team)
            if bot is not None and bot.bot_token:
                return Ourselves(team, bot.bot_token, bot.bot_id, bot.bot_user_id)
        raise Undeliverable("the app is not installed in that workspace")

    async def authorize(self, enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
        """For bolt: who we are where this came from; None makes bolt refuse the request in words."""
        try:
            found = await self.ourselves(team_id or "", enterprise_id)
        except Undeliverable:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=found.team,
            bot_token=found.token,
            bot_id=found.bot_id,
            bot_user_id=found.bot_user,
        )

    async def gone(self, team: str, enterprise: str | None) -> None:
        """A workspace has removed the app: forget its token."""
        if self._installations is not None:
            await self._installations.async_delete_all(enterprise_id=enterprise, team_id=team)
