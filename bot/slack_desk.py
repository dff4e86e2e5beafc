"""The desk: every request from Slack is answered here, in time, once, and without losing it.

First the work (a durable row takes milliseconds), then the ack; if the work takes longer than `ACK_S`, the ack says
"one moment" and the work goes on behind it. A request that Slack delivers again, for whatever reason, joins the work on
its first delivery, or is acknowledged if that is over. Knows when and where to answer; not what.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot import cards, slack_blocks, slack_trouble
from bot.adapter import TryLater, Undeliverable
from bot.cards import Card, Form, Tone
from bot.incident import sentence
from bot.slack_book import Book
from bot.slack_messages import Address, Messages
from bot.slack_workspaces import Workspaces

log = logging.getLogger(__name__)

ACK_S = 1.5  # of the three seconds that Slack waits
REMEMBERED = 1_000
MOMENT = "One moment …"

Ack = Callable[..., Awaitable[Any]]
Answer = Card | Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One delivery: where it came from, by what it is told from others, and what it may be answered by."""

    address: Address
    event_key: str
    response_url: str | None = None  # five answers within thirty minutes
    trigger_id: str | None = None  # one modal within three seconds
    inline: bool = False  # whether the ack may carry the answer: slash commands
    form: bool = False  # whether this is a modal that was sent in

    @property
    def reply_to(self) -> str:
        """Where the final reply goes."""
        return str(self.address)


class Desk:
    """Answers requests."""

    def __init__(self, book: Book, workspaces: Workspaces, messages: Messages, *, ack_s: float = ACK_S) -> None:
        self._book = book
        self._workspaces = workspaces
        self._messages = messages
        self._ack_s = ack_s
        self._recent: OrderedDict[str, asyncio.Task[Answer | None]] = OrderedDict()
        self._behind: set[asyncio.Task[Any]] = set()

    async def serve(self, ack: Ack, request: Request, work: Callable[[], Coroutine[Any, Any, Answer | None]]) -> None:
        """Do the work once, acknowledge in time, show the answer. Never raises."""
        first = request.event_key not in self._recent
        task = self._work(request, work)
        await asyncio.wait({task}, timeout=self._ack_s)
        in_time = task.done()
        try:
            shown = await self._acknowledge(ack, request, task.result() if in_time else None, in_time=in_time)
        except Exception:
            log.exception("an ack was not sent")
            shown = False
        if first and not shown:
            self.behind(self._show(request, task))
        if first:
            self.behind(self._hand_over(request, task))

    def behind(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work that goes on when the request is acknowledged."""
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def close(self) -> None:
        """Give what goes on a moment to end."""
        if self._behind:
            await asyncio.wait(set(self._behind), timeout=self._ack_s)
        left = {task for task in (*self._behind, *self._recent.values()) if not task.done()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _work(
        self, request: Request, work: Callable[[], Coroutine[Any, Any, Answer | None]]
    ) -> asyncio.Task[Answer | None]:
        found = self._recent.get(request.event_key)
        if found is None:
            found = asyncio.create_task(self._once(request, work))
            self._recent[request.event_key] = found
            while len(self._recent) > REMEMBERED and next(iter(self._recent.values())).done():
                self._recent.popitem(last=False)
        return found

    async def _once(self, request: Request, work: Callable[[], Coroutine[Any, Any, Answer | None]]) -> Answer | None:
        """The answer; None if an earlier process has dealt with this delivery."""
        try:
            if await self._book.was_handled(request.event_key):
                return None
            return await work()
        except Undeliverable as error:  # of a workspace that has removed us, say: nobody could read an answer
            log.warning("Slack: a request is left alone: %s", error)
            return None
        except Exception as error:
            return cards.error_card(sentence(error))

    async def _acknowledge(self, ack: Ack, request: Request, answer: Answer | None, *, in_time: bool) -> bool:
        """Send the ack; whether it carried the whole answer."""
        if request.form and isinstance(answer, Card) and answer.tone is Tone.WRONG:
            await ack(response_action="update", view=_refusal(answer))
            await self._book.is_handled(request.event_key)
            return True
        if request.inline and isinstance(answer, Card) and answer.private:
            await ack(response_type="ephemeral", **slack_blocks.message(answer, {}))
            await self._book.is_handled(request.event_key)
            return True
        if request.inline and not in_time:
            await ack(response_type="ephemeral", text=MOMENT)
        else:
            await ack()
        return False

    async def _show(self, request: Request, task: asyncio.Task[Answer | None]) -> None:
        """Bring the answer to where it belongs; what cannot be shown is in the log, a job is in the store anyway."""
        try:
            answer = await task
            if isinstance(answer, Form):
                client = await self._workspaces.client(request.address.team)
                asked = slack_blocks.view(answer, str(replace(request.address, key="-")))
                await client.views_open(trigger_id=request.trigger_id, view=asked)
            elif isinstance(answer, Card) and answer.private:
                await self._whisper(request, answer)
            elif isinstance(answer, Card):
                await self._messages.open(request.reply_to, answer)
            await self._book.is_handled(request.event_key)
        except (TryLater, Undeliverable) as error:
            log.warning("Slack: an answer was not shown: %s", error)
        except Exception as error:
            code = slack_trouble.code(error)  # what Slack names needs no traceback
            log.warning("Slack: an answer was not shown (%s)", code or error, exc_info=None if code else error)

    async def _whisper(self, request: Request, card: Card) -> None:
        """To one person: by the request's own address, else by the API, else directly."""
        said = slack_blocks.message(card, {})
        if request.response_url is not None and await self._responded(request.response_url, said):
            return
        address = request.address
        client = await self._workspaces.client(address.team)
        try:
            if address.channel == address.user:
                await client.chat_postMessage(channel=address.user, **said)
            else:
                await client.chat_postEphemeral(
                    channel=address.channel, user=address.user, thread_ts=address.thread, **said
                )
        except SlackApiError as error:
            if slack_trouble.code(error) not in slack_trouble.CLOSED:
                raise
            await client.chat_postMessage(channel=address.user, **said)

    async def _hand_over(self, request: Request, task: asyncio.Task[Answer | None]) -> None:
        """The file that goes with an answer, if there is one, to its person directly: a whisper cannot hold a file."""
        answer = await task
        if not isinstance(answer, Card) or answer.file is None:
            return
        try:
            await self._messages.hand_over(request.address, Path(answer.file), answer.title)
        except Exception as error:
            log.warning("Slack: a file was not handed over (%s)", slack_trouble.code(error) or error, exc_info=error)

    async def _responded(self, url: str, said: Mapping[str, Any]) -> bool:
        """Whether a response_url still took it: a used or expired one answers 404 and raises nothing."""
        try:
            body = {"response_type": "ephemeral", "replace_original": False, **said}
            return (await AsyncWebhookClient(url, retry_handlers=[]).send_dict(body)).status_code == 200
        except slack_trouble.NETWORK:
            return False


def _refusal(card: Card) -> dict[str, Any]:
    """A modal that says what was wrong in place of the form."""
    return {
        "type": "modal",
        "title": slack_blocks.plain(card.title, slack_blocks.TITLE),
        "close": slack_blocks.plain("Close", slack_blocks.TITLE),
        "blocks": [{"type": "section", "text": slack_blocks.plain(card.text or card.title, slack_blocks.SECTION)}],
    }
