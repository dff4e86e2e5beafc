"""The Web API: a call is checked against the contract, may run into a fault, and is answered by its method."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fakes.slack import contract
from tests.fakes.slack.faults import Faults
from tests.fakes.slack.methods import METHODS, Refused
from tests.fakes.slack.workspace import APP_TOKEN, BOT_TOKEN, INSTALLED_TOKEN, Workspace

STRUCTURES = frozenset({"blocks", "metadata", "view", "files", "attachments"})
NO_TOKEN = frozenset({"oauth.v2.access"})


class WebApi:
    """POST or GET /api/{method}."""

    def __init__(self, workspace: Workspace, faults: Faults) -> None:
        self._workspace = workspace
        self._faults = faults

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call, from the wire to the wire."""
        method = request.match_info["method"]
        if fault := self._faults.take(method, "429"):
            await self._workspace.ledger.add("call", method=method, status=429)
            headers = {"Retry-After": str(int(fault.seconds))}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        if self._faults.take(method, "503"):
            await self._workspace.ledger.add("call", method=method, status=503)
            return web.Response(status=503, text="upstream connect error")
        given = await _arguments(request)
        answer = await self._answer(request, method, given)
        await self._workspace.ledger.add("call", method=method, status=200, ok=answer["ok"], error=answer.get("error"))
        if fault := self._faults.take(method, "slow"):
            await asyncio.sleep(fault.seconds)
        if self._faults.take(method, "502_after_store"):
            return web.Response(status=502, text="bad gateway")
        if self._faults.take(method, "cut_after_store") and request.transport is not None:
            request.transport.abort()
        return web.json_response(answer, headers={"X-OAuth-Scopes": ",".join(self._workspace.scopes)})

    async def _answer(self, request: web.Request, method: str, given: dict[str, Any]) -> dict[str, Any]:
        token = given.pop("token", None) or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if fault := self._faults.take(method, "error"):
            return {"ok": False, "error": fault.error}
        if method not in METHODS:
            return {"ok": False, "error": "unknown_method"}
        if method not in NO_TOKEN:
            expected = (APP_TOKEN,) if method == "apps.connections.open" else (BOT_TOKEN, INSTALLED_TOKEN)
            if token not in expected:
                return {"ok": False, "error": "invalid_auth"}
        for problem in contract.problems(method, given):
            await self._workspace.ledger.add("problem", what=problem)
        try:
            return {"ok": True} | await METHODS[method](self._workspace, _understood(given), self._faults)
        except Refused as refusal:
            await self._workspace.ledger.add("problem" if refusal.ours else "refusal", what=f"{method}: {refusal}")
            return refusal.answer()


async def _arguments(request: web.Request) -> dict[str, Any]:
    """From the query, a form or JSON, whichever the client chose."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        given |= await request.json()
    elif request.can_read_body:
        given |= dict(await request.post())
    if (how := request.headers.get("Authorization", "")).startswith("Basic "):
        pair = base64.b64decode(how.removeprefix("Basic ")).decode().partition(":")
        given |= {"client_id": pair[0], "client_secret": pair[2]}
    return {name: value for name, value in given.items() if value is not None}


def _understood(given: Mapping[str, Any]) -> dict[str, Any]:
    """Structures may come as JSON in a string."""
    made = dict(given)
    for name in STRUCTURES & made.keys():
        if isinstance(made[name], str):
            with contextlib.suppress(ValueError):
                made[name] = json.loads(made[name])
    return made
