"""Messages: one for each request, posted once, edited while the job runs, and again when it is over.

What answers a request is written down before it is posted. If nobody knows whether a post arrived (Slack broke, or we
did), the channel is searched for it, by metadata that people do not see, before anything is posted again. Knows
addresses, cards and Slack's calls; not where requests come from.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import slack_blocks, slack_trouble
from bot.cards import Card
from bot.slack_book import Book, Mark
from bot.slack_pictures import Pictures
from bot.slack_workspaces import Workspaces

log = logging.getLogger(__name__)

EVENT = "dreambot_reply"
LOOK_BACK_S = 60.0  # clocks differ
LOOKED_AT = 200  # messages


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request came from and its reply goes: `team/channel/thread/user/key`, the thread `-` if there is none."""

    team: str
    channel: str  # a person's id for a direct message
    thread: str | None
    user: str
    key: str  # of the request: each has one message

    def __str__(self) -> str:
        return "/".join((self.team, self.channel, self.thread or "-", self.user, self.key))

    @classmethod
    def read(cls, text: str) -> Address:
        """The inverse of `str`; ValueError for what this surface never wrote."""
        team, channel, thread, user, key = text.split("/")
        return cls(team, channel, None if thread == "-" else thread, user, key)

    @classmethod
    def of(cls, team: str, channel: str, thread: str | None, user: str, event_key: str) -> Address:
        """The address of a request."""
        return cls(team, channel, thread, user, hashlib.sha256(event_key.encode()).hexdigest()[:24])


class Messages:
    """Posting and editing."""

    def __init__(self, book: Book, workspaces: Workspaces, pictures: Pictures) -> None:
        self._book = book
        self._workspaces = workspaces
        self._pictures = pictures
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, reply_to: str, card: Card) -> str:
        """The request's message, if it has none yet; its ts. Never changes one that is there."""
        async with self._lock(reply_to):
            mark = await self._book.mark(reply_to)
            if mark is not None and mark.ts is not None:
                return mark.ts
            return await self._shown(Address.read(reply_to), card, mark)

    async def final(self, reply_to: str, card: Card) -> str:
        """The request's message says this from now on, whether there was one or not; its ts."""
        async with self._lock(reply_to):
            return await self._shown(Address.read(reply_to), card, await self._book.mark(reply_to))

    async def edit(self, reply_to: str, card: Card) -> None:
        """The request's message, if it is there, says this; nothing is posted where it is not."""
        async with self._lock(reply_to):
            mark = await self._book.mark(reply_to)
            if mark is None or mark.ts is None:
                return
            address = Address.read(reply_to)
            try:
                client = await self._workspaces.client(address.team)
                await self._updated(client, mark, await self._drawn(client, address, card))
            except Exception as error:
                raise slack_trouble.read(error) from error

    async def withdraw(self, reply_to: str, card: Card) -> None:
        """The request's message says this, and the uploads that it showed and does not show now are deleted."""
        await self.edit(reply_to, card)
        address = Address.read(reply_to)
        try:
            client = await self._workspaces.client(address.team)
            kept = await self._book.uploads(address.team, card.images)
            gone = [file for file in await self._book.shown(reply_to) if file not in kept.values()]
            await self._pictures.delete(client, gone)
        except Exception as error:
            raise slack_trouble.read(error) from error

    def _lock(self, reply_to: str) -> asyncio.Lock:
        return self._locks.setdefault(reply_to, asyncio.Lock())

    async def _shown(self, address: Address, card: Card, mark: Mark | None) -> str:
        """By an edit where the message is there, by a post where it is not."""
        try:
            client = await self._workspaces.client(address.team)
            said = await self._drawn(client, address, card)
            if mark is not None and mark.ts is None:
                mark = await self._looked_for(client, address, mark)
            if mark is not None and mark.ts is not None and await self._updated(client, mark, said):
                return mark.ts
            return await self._posted(client, address, said)
        except Exception as error:
            if "slack file" in slack_trouble.details(error):
                await self._pictures.forget(address.team, card.images)
            raise slack_trouble.read(error) from error

    async def _drawn(self, client: AsyncWebClient, address: Address, card: Card) -> dict[str, Any]:
        """The card as a message, its pictures uploaded."""
        images = () if card.spoiler else card.images
        files = await self._pictures.files(client, address.team, images, card.job or "dream")
        await self._book.shows(str(address), list(files.values()))
        return slack_blocks.message(card, files)

    async def _updated(self, client: AsyncWebClient, mark: Mark, said: Mapping[str, Any]) -> bool:
        """Whether the message was there to be edited."""
        try:
            await client.chat_update(channel=mark.channel, ts=mark.ts or "", **said)
        except SlackApiError as error:
            if slack_trouble.code(error) != "message_not_found":
                raise
            return False
        return True

    async def _posted(self, client: AsyncWebClient, address: Address, said: Mapping[str, Any]) -> str:
        """In the channel, else directly to the person."""
        try:
            return await self._post(client, address, address.channel, address.thread, said)
        except SlackApiError as error:
            if slack_trouble.code(error) not in slack_trouble.CLOSED or address.channel == address.user:
                raise
            log.info("Slack: %s is closed to us (%s); answering directly", address.channel, slack_trouble.code(error))
        return await self._post(client, address, address.user, None, said)

    async def _post(
        self, client: AsyncWebClient, address: Address, channel: str, thread: str | None, said: Mapping[str, Any]
    ) -> str:
        reply_to = str(address)
        await self._book.forget(reply_to)
        await self._book.begin(reply_to, channel)
        metadata = {"event_type": EVENT, "event_payload": {"key": address.key}}
        try:
            answer = await client.chat_postMessage(
                channel=channel,
                thread_ts=thread,
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
                link_names=False,
                **said,
            )
        except SlackApiError as error:
            if not slack_trouble.unknown_outcome(error):
                await self._book.forget(reply_to)
            raise
        await self._book.posted(reply_to, str(answer["channel"]), str(answer["ts"]))
        return str(answer["ts"])

    async def hand_over(self, address: Address, file: Path, title: str) -> None:
        """A file for one person, in their direct messages."""
        client = await self._workspaces.client(address.team)
        channel = str((await client.conversations_open(users=address.user))["channel"]["id"])
        await self._pictures.share(client, channel, file, title)

    async def _looked_for(self, client: AsyncWebClient, address: Address, mark: Mark) -> Mark | None:
        """The message whose fate was unknown, if it is there."""
        channel = mark.channel
        if channel == address.user:
            channel = str((await client.conversations_open(users=address.user))["channel"]["id"])
        oldest = f"{mark.at - LOOK_BACK_S:.6f}"
        asked: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": LOOKED_AT}
        try:
            if address.thread is not None and channel == address.channel:
                found = await client.conversations_replies(ts=address.thread, oldest=oldest, **asked)
            else:
                found = await client.conversations_history(oldest=oldest, **asked)
        except SlackApiError as error:
            if slack_trouble.code(error) in ("", "ratelimited"):
                raise
            log.warning("Slack does not let us search %s: %s", channel, slack_trouble.code(error))
            return None
        for message in found["messages"]:
            if (message.get("metadata") or {}).get("event_payload", {}).get("key") == address.key:
                await self._book.posted(str(address), channel, str(message["ts"]))
                return Mark(channel, str(message["ts"]), mark.at)
        return None
