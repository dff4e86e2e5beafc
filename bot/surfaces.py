"""The surfaces: the local one, and each chat platform whose token is set; its library is imported only then.

The only module that knows which adapters there are. A surface that cannot be served says so once, in the log and at
`/ready`, and leaves the others alone: one platform's wrong token must not silence the other. Its replies stay owed.
"""

from __future__ import annotations

import asyncio
import importlib
import logging

from bot.adapter import Adapter
from bot.house import House
from bot.local_adapter import LocalAdapter
from bot.settings import BotSettings
from storage.errors import UserError

log = logging.getLogger(__name__)


class Surfaces:
    """`adapters` are those that could be made; `troubles` says in a sentence why another is not served."""

    def __init__(self, settings: BotSettings, house: House) -> None:
        self.adapters: list[Adapter] = [LocalAdapter(settings.home)]
        self.troubles: dict[str, str] = {}
        if settings.discord_token is not None:
            self._make("discord", "bot.discord_adapter", "DiscordAdapter", settings, house)
        if settings.slack_bot_token is not None or settings.slack_client_id is not None:
            self._make("slack", "bot.slack_adapter", "SlackAdapter", settings, house)

    def _make(self, surface: str, module: str, name: str, settings: BotSettings, house: House) -> None:
        try:
            self.adapters.append(getattr(importlib.import_module(module), name)(settings, house))
        except UserError as error:
            self._given_up(surface, error)

    async def serve(self, adapter: Adapter) -> None:
        """Run one until it is closed; for ever if it is given up."""
        try:
            await adapter.run()
        except UserError as error:
            self._given_up(adapter.surface, error)
            await asyncio.Event().wait()

    def _given_up(self, surface: str, error: UserError) -> None:
        self.troubles[surface] = str(error)
        log.error("%s is not served until that is mended and the bot is started again: %s", surface, error)

    def unready(self) -> str:
        """Which surfaces are not served, and why; empty if all are."""
        return " ".join(f"{surface} is not served: {why}" for surface, why in self.troubles.items())
