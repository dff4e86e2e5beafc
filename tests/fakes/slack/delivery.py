"""Deliveries to the app, over Socket Mode or signed HTTP, with Slack's three seconds for the answer and its retries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.slack.workspace import SECRET, Workspace

ACK_S = 3.0
KINDS = {"slash": "slash_commands", "interactive": "interactive", "event": "events_api"}


class Ack:
    """What the app answered, or that it did not in time."""

    def __init__(self, *, acked: bool, body: Any = None, status: int | None = None) -> None:
        self.acked, self.body, self.status = acked, body, status
        self.after_s: float | None = None  # by the machine's clock, from sent to answered

    def to_json(self) -> dict[str, Any]:
        """For the test."""
        return {"acked": self.acked, "body": self.body, "status": self.status, "after_s": self.after_s}


class Sockets:
    """Open Socket Mode connections; each envelope goes to one of them, in turn."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.open: list[web.WebSocketResponse] = []
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._turn = 0
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """GET /link: hello, then envelopes out and acks in."""
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": len(self.open) + 1, "debug_info": {}})
        await self._join(socket)
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(json.loads(message.data))
        finally:
            await self._leave(socket)
        return socket

    async def deliver(self, kind: str, payload: dict[str, Any], retry: int = 0) -> Ack:
        """One envelope and its ack; waits for a socket first."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.open)
            self._turn += 1
            socket = self.open[self._turn % len(self.open)]
        envelope_id = self._workspace.name("E")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = future
        envelope = {
            "envelope_id": envelope_id,
            "type": KINDS[kind],
            "payload": payload,
            "accepts_response_payload": kind != "event",
        }
        if kind == "event":
            envelope |= {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
        began = time.perf_counter()
        await socket.send_json(envelope)
        return await _in_time(self._workspace, future, began)

    async def refresh(self) -> None:
        """Ask every client to come again, and hang up once a new one is there."""
        old = list(self.open)
        for socket in old:
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}})
        async with self.changed:
            await self.changed.wait_for(lambda: any(socket not in old for socket in self.open))
        for socket in old:
            await socket.close()

    async def cut(self) -> None:
        """Drop every connection without a word."""
        for socket in list(self.open):
            transport = socket._req.transport if socket._req is not None else None  # there is no public door to it
            if transport is not None:
                transport.abort()
        async with self.changed:
            await self.changed.wait_for(lambda: not self.open)

    def _take(self, answer: dict[str, Any]) -> None:
        future = self._waiting.pop(answer.get("envelope_id", ""), None)
        if future is not None and not future.done():
            future.set_result(Ack(acked=True, body=answer.get("payload") or None))

    async def _join(self, socket: web.WebSocketResponse) -> None:
        async with self.changed:
            self.open.append(socket)
            self.changed.notify_all()
        await self._workspace.ledger.add("socket", what="opened", count=len(self.open))

    async def _leave(self, socket: web.WebSocketResponse) -> None:
        async with self.changed:
            self.open.remove(socket)
            self.changed.notify_all()
        await self._workspace.ledger.add("socket", what="closed", count=len(self.open))


class SignedHttp:
    """Requests as Slack signs them."""

    def __init__(self, workspace: Workspace, url: str) -> None:
        self._workspace = workspace
        self._url = url

    async def deliver(self, kind: str, payload: dict[str, Any], retry: int = 0) -> Ack:
        """One request and its answer."""
        return await self.send(*encoded(kind, payload), retry=retry)

    async def send(
        self, body: bytes, content_type: str, *, retry: int = 0, at: float | None = None, secret: str = SECRET
    ) -> Ack:
        """Signed bytes; the test may lie about the time and the secret."""
        stamp = str(int(time.time() if at is None else at))  # the app compares with its own clock
        headers = {"Content-Type": content_type} | signature(body, stamp, secret)
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        began = time.perf_counter()
        return await _in_time(self._workspace, asyncio.ensure_future(self._post(body, headers)), began)

    async def _post(self, body: bytes, headers: dict[str, str]) -> Ack:
        async with aiohttp.ClientSession() as session, session.post(self._url, data=body, headers=headers) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json" and text
            return Ack(
                acked=200 <= answer.status < 300, body=json.loads(text) if is_json else text, status=answer.status
            )


def encoded(kind: str, payload: dict[str, Any]) -> tuple[bytes, str]:
    """A payload as Slack's HTTP requests carry it."""
    if kind == "event":
        return json.dumps(payload).encode(), "application/json"
    form = payload if kind == "slash" else {"payload": json.dumps(payload)}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"


def signature(body: bytes, stamp: str, secret: str = SECRET) -> dict[str, str]:
    """`v0`: HMAC-SHA256 of `v0:timestamp:body`."""
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


async def _in_time(workspace: Workspace, work: asyncio.Future[Any], began: float) -> Ack:
    """The answer, and how soon it came since `began`, unless the clock has moved on by three seconds before it came."""
    late = asyncio.ensure_future(workspace.clock.until(workspace.clock.now() + ACK_S))
    try:
        await asyncio.wait({work, late}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            return Ack(acked=False)
        try:
            ack: Ack = work.result()
            ack.after_s = time.perf_counter() - began
            return ack
        except (aiohttp.ClientError, OSError):
            return Ack(acked=False)
    finally:
        late.cancel()
