"""Messages of the bot's own: a job's message is edited while it runs and when it is over, however old its interaction.

An edit changes nothing when it is made twice, so a final reply is an edit of the message that shows the job; where that
message is not known or gone, it is a new one whose nonce Discord accepts once. Knows Discord's errors, and which of
them pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import discord

from bot.adapter import TryLater, Undeliverable
from bot.cards import Card
from bot.discord_address import Address
from bot.discord_cards import Drawn

Draw = Callable[[Card, int, bool], Awaitable[Drawn]]  # the card, bytes a file, whether the channel is age-restricted

UNKNOWN_MESSAGE, TOO_LARGE, DEAD_TOKEN = 10008, 40005, 50027
OUTAGE_S = 5.0
LANDING_S = 15.0  # how long a result waits for the acknowledgement that is under way
REMEMBERED = 10_000
REASONS = {
    10003: "the channel is gone",
    50001: "the bot may not see the channel",
    50007: "this person takes no direct messages from the bot",
    50013: "the bot may not write in the channel",
    DEAD_TOKEN: "the bot is not in this channel, and the 15 minutes for an answer are over; `/dreams show` has it",
}

log = logging.getLogger(__name__)


class Mail:
    """Posts and edits by address."""

    def __init__(self, client: discord.Client, draw: Draw) -> None:
        self._client = client
        self._draw = draw
        self._landed: OrderedDict[int, asyncio.Future[int | None]] = OrderedDict()
        self._busy: dict[int, asyncio.Lock] = {}

    def expect(self, interaction: int) -> None:
        """An interaction is being answered; its message is told by `landed`."""
        self._landed.setdefault(interaction, asyncio.get_running_loop().create_future())
        while len(self._landed) > REMEMBERED:
            self._landed.popitem(last=False)

    def landed(self, interaction: int, message: int | None) -> None:
        """The message that shows the answer; None if there is none for everybody."""
        known = self._landed.get(interaction)
        if known is not None and not known.done():
            known.set_result(message)

    async def post(self, address: Address, card: Card, nonce: str) -> int:
        """The final reply; returns the message that holds it."""
        async with self._alone(address):  # a progress edit that is under way must not come after the result
            message = await self._message(address)
            with _known_errors():
                return await self._smaller(address, card, lambda drawn: self._put(address, message, drawn, nonce))

    async def edit(self, address: Address, card: Card) -> None:
        """Progress; left out while another edit of this message is under way."""
        if (lock := self._busy.get(address.interaction)) is not None and lock.locked():
            return
        async with self._alone(address):
            message = await self._message(address)
            if message is not None:
                drawn = await self._draw(card, address.limit, address.nsfw)
                with _known_errors():
                    await self._change(address, message, drawn)

    async def replace(self, address: Address, message: int, card: Card) -> None:
        """A final reply reads like this from now on."""
        drawn = await self._draw(card, address.limit, address.nsfw)
        with _known_errors():
            await self._change(address, message, drawn)

    async def _message(self, address: Address) -> int | None:
        if address.message is not None:
            return address.message
        known = self._landed.get(address.interaction)
        if known is None:
            return None
        await asyncio.wait({known}, timeout=LANDING_S)
        return known.result() if known.done() else None

    async def _smaller(self, address: Address, card: Card, send: Callable[[Drawn], Awaitable[int]]) -> int:
        """Send; where Discord finds it too large, with smaller and smaller pictures, in the end with none."""
        limit = address.limit
        while True:
            drawn = await self._draw(card, limit, address.nsfw)
            try:
                return await send(drawn)
            except discord.HTTPException as error:
                if not drawn.pictures or (error.status != 413 and error.code != TOO_LARGE):
                    raise
                limit = min(limit, max(len(picture.data) for picture in drawn.pictures)) // 2

    async def _put(self, address: Address, message: int | None, drawn: Drawn, nonce: str) -> int:
        if message is not None:
            try:
                return await self._change(address, message, drawn)
            except discord.NotFound as error:
                if error.code != UNKNOWN_MESSAGE:
                    raise
        if address.token is not None:
            webhook = self._webhook(address, address.token)
            sent = await webhook.send(embed=drawn.embed, files=drawn.files, view=drawn.view, wait=True)
            return sent.id
        channel = self._client.get_partial_messageable(address.channel)
        posted = await channel.send(embed=drawn.embed, files=drawn.files, view=drawn.view, nonce=nonce)
        return posted.id

    async def _change(self, address: Address, message: int, drawn: Drawn) -> int:
        if address.token is not None:
            webhook = self._webhook(address, address.token)
            await webhook.edit_message(message, embed=drawn.embed, attachments=drawn.files, view=drawn.view)
        else:
            ours = self._client.get_partial_messageable(address.channel).get_partial_message(message)
            await ours.edit(embed=drawn.embed, attachments=drawn.files, view=drawn.view)
        return message

    def _webhook(self, address: Address, token: str) -> discord.Webhook:
        return discord.Webhook.partial(address.application, token, client=self._client)

    @contextlib.asynccontextmanager
    async def _alone(self, address: Address) -> AsyncIterator[None]:
        lock = self._busy.setdefault(address.interaction, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._busy.pop(address.interaction, None)


@contextlib.contextmanager
def _known_errors() -> Iterator[None]:
    """Discord's errors as the seam's: those that pass, and those that stay."""
    try:
        yield
    except discord.RateLimited as error:
        raise TryLater(error.retry_after, "Discord asked for a pause") from error
    except discord.HTTPException as error:
        if error.status == 429:
            raise TryLater(_retry_after(error), "Discord asked for a pause") from error
        if error.status >= 500:
            raise TryLater(OUTAGE_S, "Discord is out of order") from error
        if error.code in REASONS or error.status in (401, 403, 404):
            raise Undeliverable(REASONS.get(error.code, error.text or f"Discord answered {error.status}")) from error
        raise
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TryLater(OUTAGE_S, "Discord cannot be reached") from error


def _retry_after(error: discord.HTTPException) -> float:
    try:
        return float(error.response.headers.get("Retry-After", ""))
    except ValueError:
        return OUTAGE_S
