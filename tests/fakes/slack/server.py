"""The peer's routes: what an app calls (`api`, `link`, `upload`, `response`) and what a test steers (`control`)."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.fakes.slack import limits
from tests.fakes.slack.clock import Clock
from tests.fakes.slack.control import Control
from tests.fakes.slack.delivery import Sockets
from tests.fakes.slack.faults import Faults
from tests.fakes.slack.web_api import WebApi
from tests.fakes.slack.workspace import BOT_TOKEN, INSTALLED_TOKEN, Workspace


class Peer:
    """One Slack."""

    def __init__(self) -> None:
        self.workspace = Workspace(Clock())
        self.faults = Faults()
        self.sockets = Sockets(self.workspace)

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=32 * 2**20)
        api = WebApi(self.workspace, self.faults)
        control = Control(self.workspace, self.faults, self.sockets)
        app.router.add_route("*", "/api/{method}", api.handle)
        app.router.add_get("/link/", self.sockets.handle)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_get("/files-pri/{file}", self._file)
        app.router.add_post("/response/{name}", self._response)
        app.router.add_route("*", "/control/{verb}", control.handle)
        return app

    async def _upload(self, request: web.Request) -> web.Response:
        file = self.workspace.files.get(request.match_info["file"])
        if file is None:
            return web.Response(status=404)
        if request.content_type.startswith("multipart/"):
            form = await request.post()
            part = next(iter(form.values()))
            file.content = part.file.read() if isinstance(part, web.FileField) else str(part).encode()
        else:
            file.content = await request.read()
        await self.workspace.ledger.add("upload", file=file.id, size=len(file.content))
        return web.Response(text=f"OK - {len(file.content)}")

    async def _file(self, request: web.Request) -> web.Response:
        """url_private: for whoever has a token with files:read; everybody else is sent to the sign-in page."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        file = self.workspace.files.get(request.match_info["file"])
        may = token in (BOT_TOKEN, INSTALLED_TOKEN) and "files:read" in self.workspace.scopes
        await self.workspace.ledger.add("fetched", file=request.match_info["file"], allowed=may)
        if file is None or not may:
            raise web.HTTPFound("/sign-in")
        return web.Response(body=file.content, content_type="image/png")

    async def _response(self, request: web.Request) -> web.Response:
        """A response_url: five uses, thirty minutes."""
        right = self.workspace.responses.get(request.match_info["name"])
        expired = self.faults.take("response_url", "expired_url") is not None
        if right is None or expired or self.workspace.clock.now() > right["until"]:
            return web.json_response({"ok": False, "error": "expired_url"}, status=404)
        if right["left"] <= 0:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        right["left"] -= 1
        given: dict[str, Any] = json.loads(await request.text())
        problems = limits.of_blocks(given["blocks"]) if "blocks" in given else []
        if problems:
            await self.workspace.ledger.add("problem", what=f"response_url: {problems}")
            return web.json_response({"ok": False, "error": "invalid_blocks"}, status=404)
        kind = "ephemeral" if given.get("response_type", "ephemeral") == "ephemeral" else "post"
        shown = {"text": given.get("text", ""), "blocks": given.get("blocks", [])}
        await self.workspace.ledger.add(
            kind, channel=right["channel"], user=right["user"], message=shown, by="response_url", given=given
        )
        return web.Response(text="ok")
