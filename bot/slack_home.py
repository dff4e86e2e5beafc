"""The App Home: a person's own queue and best pictures, on one tab. Knows the view; asks the house for the cards."""

from __future__ import annotations

import logging
from dataclasses import replace

from bot import boards, cards, slack_blocks, slack_trouble
from bot.adapter import TryLater, Undeliverable
from bot.cards import Card
from bot.house import House
from bot.incident import sentence
from bot.slack_pictures import Pictures
from bot.slack_workspaces import Workspaces
from storage.job import Caller

log = logging.getLogger(__name__)

PICTURES = 6
WELCOME = "Type /dream and what you would like to see. In threads, write to me by name."


class Home:
    """Publishes home tabs."""

    def __init__(self, house: House, workspaces: Workspaces, pictures: Pictures) -> None:
        self._house, self._workspaces, self._pictures = house, workspaces, pictures

    async def show(self, team: str, caller: Caller) -> None:
        """Make the tab of one person new; a failure is logged and changes nothing."""
        try:
            client = await self._workspaces.client(team)
            parts = []
            for card in await self._cards(caller):
                files = await self._pictures.files(client, team, card.images, card.job or "best")
                parts.append((card, files))
            await client.views_publish(user_id=caller.user, view=slack_blocks.home(parts))
        except (TryLater, Undeliverable, *slack_trouble.FAILURES) as error:
            log.warning("Slack: a home tab was not shown: %s", slack_trouble.code(error) or error)

    async def _cards(self, caller: Caller) -> list[Card]:
        try:
            return [cards.notice("Dreams", WELCOME), *await self._own(caller)]
        except Exception as error:
            return [cards.error_card(sentence(error))]

    async def _own(self, caller: Caller) -> list[Card]:
        history = await self._house.commands.history(caller)
        waiting = [row for row in history.rows if row["state"] in ("queued", "running")]
        done = [row for row in history.rows if row["score"] is not None]
        best = sorted(done, key=lambda row: -(row["score"] or 0.0))[:PICTURES]
        columns = ("job", "state", "prompt")
        queue = boards.table_card("Your queue", waiting, empty="Nothing of yours waits or runs.", columns=columns)
        shown = [await self._house.commands.show(caller, row["job"]) for row in best]
        return [queue, *(_small(card) for card in shown)]


def _small(card: Card) -> Card:
    """One picture, and the button that tells the rest."""
    return replace(card, images=card.images[:1], buttons=tuple(b for b in card.buttons if b.verb == "show"))
