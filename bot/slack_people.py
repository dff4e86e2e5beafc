"""People of a workspace as callers: their name, and what they may.

A person whom the settings name (`DREAMBOT_ADMINS=slack:U123`) is an admin. The admins and owners of the one workspace
whose token is in the settings are admins, too; those of a workspace that merely installed the app moderate its jobs and
no more. Whatever Slack does not tell counts as no.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from bot import slack_trouble
from bot.adapter import Undeliverable
from bot.settings import BotSettings
from bot.slack_workspaces import Workspaces
from storage.job import DIRECT, Caller

log = logging.getLogger(__name__)

FRESH_S, OLD_S = 60.0, 600.0  # how long we believe what Slack said of a person, for an admin's command and otherwise
REMEMBERED = 10_000
RANKS = ("is_admin", "is_owner", "is_primary_owner")


class People:
    """Callers by user and workspace."""

    def __init__(
        self, settings: BotSettings, workspaces: Workspaces, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._workspaces = workspaces
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = {}

    async def caller(self, team: str, user: str, channel: str, *, admin_command: bool = False) -> Caller:
        """The person, as policy sees them."""
        told = await self._told(team, user, FRESH_S if admin_command else OLD_S)
        leads = told.get("team_id") == team and any(told.get(rank) is True for rank in RANKS)
        named = self._settings.is_admin("slack", user)
        profile = told.get("profile") or {}
        return Caller(
            user=user,
            name=str(profile.get("display_name") or told.get("real_name") or told.get("name") or user),
            guild=DIRECT if channel.startswith("D") else team,
            surface="slack",
            admin=named or (leads and self._workspaces.single),
            moderator=leads,
        )

    async def _told(self, team: str, user: str, patience_s: float) -> Mapping[str, Any]:
        now = self._monotonic()
        at, known = self._known.get((team, user), (-1e9, {}))
        if now - at < patience_s:
            return known
        try:
            fresh: Mapping[str, Any] = (await (await self._workspaces.client(team)).users_info(user=user))["user"]
        except (*slack_trouble.FAILURES, Undeliverable) as error:
            log.warning("Slack tells nothing of %s: %s", user, slack_trouble.code(error) or type(error).__name__)
            return {"name": known.get("name", user)}
        if len(self._known) >= REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[team, user] = (now, fresh)
        return fresh
