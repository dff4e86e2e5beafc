"""Slack: the surface as the rest of the bot sees it. Puts the `slack_*` modules together and runs them.

Socket Mode where there is an app token, else HTTP. Knows how the parts are connected; the parts know the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import aiohttp
from slack_bolt.authorization import AuthorizeResult

from bot import slack_trouble
from bot.adapter import Undeliverable
from bot.cards import Card
from bot.house import House
from bot.settings import BotSettings
from bot.slack_book import Book
from bot.slack_desk import ACK_S, Desk
from bot.slack_gate import Gate, Socket
from bot.slack_home import Home
from bot.slack_http import Door, oauth
from bot.slack_listeners import Listeners
from bot.slack_messages import Address, Messages
from bot.slack_people import People
from bot.slack_pictures import Pictures
from bot.slack_uploads import Uploads
from bot.slack_workspaces import Workspaces
from storage.errors import UserError

log = logging.getLogger(__name__)

FILE = "slack.db"
RETRY_S = 5.0


class SlackAdapter:
    """One bot, one workspace or many."""

    surface = "slack"

    def __init__(self, settings: BotSettings, house: House, *, ack_s: float = ACK_S) -> None:
        self._settings = settings
        self._ack_s = ack_s
        self._house = house
        self._closed = asyncio.Event()
        self._ready = asyncio.Event()
        self._listening = asyncio.Event()
        self._messages: Messages | None = None
        check(settings)

    async def run(self) -> None:
        """Listen until `close`."""
        async with contextlib.AsyncExitStack() as stack:
            book = await Book.open(self._settings.home / FILE)
            stack.push_async_callback(book.close)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            await self._serve(stack, book, session)

    async def _serve(self, stack: contextlib.AsyncExitStack, book: Book, session: aiohttp.ClientSession) -> None:
        client_id = self._settings.slack_client_id
        workspaces = Workspaces(self._settings, session, await book.installations(client_id) if client_id else None)
        await _insisted("DREAMBOT_SLACK_BOT_TOKEN", workspaces.begin)
        pictures = Pictures(book, self._house.picture, self._settings.shown_side)
        messages = Messages(book, workspaces, pictures)
        desk = Desk(book, workspaces, messages, ack_s=self._ack_s)
        stack.push_async_callback(desk.close)
        app = self._app(workspaces)
        home = Home(self._house, workspaces, pictures)
        people = People(self._settings, workspaces)
        uploads = Uploads(workspaces, session, self._house.hand_in, self._settings.slack_api_url)
        Listeners(self._house, desk, people, workspaces, home, uploads).register(app)
        self._messages = messages
        self._ready.set()
        if self._settings.slack_app_token is not None:
            await self._socket(stack, app, workspaces, self._settings.slack_app_token.get_secret_value())
        if self._settings.slack_http_port is not None:
            door = Door(app, await oauth(self._settings, book, workspaces.made(None)))
            stack.push_async_callback(door.close)
            await door.open(self._settings.slack_http_host, self._settings.slack_http_port)
            log.info("Slack: HTTP at %s:%d", self._settings.slack_http_host, self._settings.slack_http_port)
        self._listening.set()
        await self._closed.wait()

    async def _socket(self, stack: contextlib.AsyncExitStack, app: Gate, workspaces: Workspaces, token: str) -> None:
        handler = Socket(app, token)
        stack.push_async_callback(handler.close_async)

        async def permit() -> None:  # slack_sdk would ask for this itself, and for ever where the token is wrong
            answer = await workspaces.made(token).apps_connections_open(app_token=token)
            handler.client.wss_uri = str(answer["url"])

        await _insisted("DREAMBOT_SLACK_APP_TOKEN", permit)
        await handler.connect_async()  # type: ignore[no-untyped-call]
        log.info("Slack: Socket Mode")

    def _app(self, workspaces: Workspaces) -> Gate:
        secret = self._settings.slack_signing_secret

        async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
            return await workspaces.authorize(enterprise_id, team_id)  # bolt takes no method here

        return Gate(
            client=workspaces.made(None),
            signing_secret=secret.get_secret_value() if secret else "",
            authorize=authorize,  # type: ignore[arg-type]  # None is how bolt is told no
            request_verification_enabled=True,
        )

    async def listening(self) -> None:
        """Until commands would be heard."""
        await self._listening.wait()

    def channel(self, reply_to: str) -> str:
        """Slack counts by channel."""
        address = Address.read(reply_to)
        return f"{address.team}/{address.channel}"

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """The final reply: the request's own message says it, posted now if it was not. The same again is an edit."""
        return await (await self._speaking()).final(reply_to, card)

    async def edit(self, reply_to: str, card: Card) -> None:
        """Show progress in the request's message."""
        await (await self._speaking()).edit(reply_to, card)

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None:
        """Write over a final reply, its uploads included; one that somebody has deleted stays away."""
        await (await self._speaking()).withdraw(reply_to, card)

    async def close(self) -> None:
        """End `run`."""
        self._closed.set()

    async def _speaking(self) -> Messages:
        await self._ready.wait()
        assert self._messages is not None
        return self._messages


async def _insisted(token: str, call: Callable[[], Awaitable[None]]) -> None:
    """Until Slack answers; UserError if it does not accept the token that the setting holds."""
    while True:
        try:
            return await call()
        except Exception as error:
            read = slack_trouble.read(error)
            if isinstance(read, Undeliverable):
                raise UserError(f"Slack does not accept {token}: {read}.") from error
            log.warning("Slack does not answer: %s", read)
            await asyncio.sleep(RETRY_S)


def check(settings: BotSettings) -> None:
    """UserError where something is missing that this surface cannot do without."""
    if settings.slack_app_token is None and settings.slack_signing_secret is None:
        raise UserError(
            "Slack needs DREAMBOT_SLACK_APP_TOKEN (Socket Mode) or DREAMBOT_SLACK_SIGNING_SECRET (HTTP), too."
        )
    if settings.slack_app_token is None and settings.slack_http_port is None:
        raise UserError("Slack over HTTP needs DREAMBOT_SLACK_HTTP_PORT, the port to listen on.")
    if settings.slack_http_port is not None and settings.slack_signing_secret is None:
        raise UserError("DREAMBOT_SLACK_HTTP_PORT needs DREAMBOT_SLACK_SIGNING_SECRET: nothing unsigned gets in.")
    if settings.slack_client_id is not None and settings.slack_client_secret is None:
        raise UserError("DREAMBOT_SLACK_CLIENT_ID needs DREAMBOT_SLACK_CLIENT_SECRET, too.")
