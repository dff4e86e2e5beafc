"""Slack over HTTP: signed requests in, and the two pages by which workspaces install the app.

bolt checks each request's signature and age (`v0`, five minutes) before anything of ours sees it. Knows routes; nothing
of what the requests mean.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.settings import BotSettings
from bot.slack_book import Book

log = logging.getLogger(__name__)

EVENTS, INSTALL, REDIRECT = "/slack/events", "/slack/install", "/slack/oauth_redirect"
SCOPES = (
    "app_mentions:read",
    "channels:history",
    "chat:write",
    "chat:write.public",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "im:history",
    "im:write",
    "users:read",
)

Handler = Callable[[AsyncBoltRequest], Awaitable[BoltResponse]]


async def oauth(settings: BotSettings, book: Book, client: AsyncWebClient) -> AsyncOAuthFlow | None:
    """How workspaces install the app, where client id and secret are set."""
    if settings.slack_client_id is None or settings.slack_client_secret is None:
        return None
    own = AsyncOAuthSettings(
        client_id=settings.slack_client_id,
        client_secret=settings.slack_client_secret.get_secret_value(),
        scopes=list(SCOPES),
        redirect_uri=settings.slack_redirect_url,
        install_path=INSTALL,
        redirect_uri_path=REDIRECT,
        installation_store=await book.installations(settings.slack_client_id),
        state_store=await book.states(),
    )
    return AsyncOAuthFlow(client=client, settings=own)


class Door:
    """The listening server."""

    def __init__(self, app: AsyncApp, flow: AsyncOAuthFlow | None) -> None:
        routes = web.Application(client_max_size=2**20)
        routes.router.add_post(EVENTS, _route(app.async_dispatch))
        if flow is not None:
            routes.router.add_get(INSTALL, _route(flow.handle_installation))
            routes.router.add_get(REDIRECT, _route(flow.handle_callback))
        self._runner = web.AppRunner(routes, access_log=None)

    async def open(self, host: str, port: int) -> None:
        """Listen from now on."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def _route(handle: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            read = await to_bolt_request(request)
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # of anybody: no signature was seen yet
            log.warning("a request over HTTP is none of Slack's: %s", type(error).__name__)
            return web.Response(status=400)
        return await to_aiohttp_response(await handle(read))

    return answer
