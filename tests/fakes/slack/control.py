"""What a test may do to the peer: act as people, break things, move the clock, read the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from tests.fakes.slack import limits, payloads
from tests.fakes.slack.delivery import Ack, SignedHttp, Sockets
from tests.fakes.slack.faults import Fault, Faults
from tests.fakes.slack.workspace import ADA, GENERAL, Channel, Workspace, user

Asked = dict[str, Any]


class Deliverer(Protocol):
    """Socket Mode or HTTP."""

    async def deliver(self, kind: str, payload: dict[str, Any], retry: int = 0) -> Ack:
        """One delivery and its answer."""


class Control:
    """POST /control/{verb} with JSON in and JSON out."""

    def __init__(self, workspace: Workspace, faults: Faults, sockets: Sockets) -> None:
        self._workspace, self._faults, self._sockets = workspace, faults, sockets
        self._deliverer: Deliverer = sockets
        self._verbs: dict[str, Callable[[Asked], Awaitable[Any]]] = {
            "advance": self._advance,
            "channel": self._channel,
            "event": self._event,
            "fault": self._fault,
            "file": self._file,
            "http": self._http,
            "ledger": self._ledger,
            "mention": self._mention,
            "message": self._message,
            "person": self._person,
            "press": self._press,
            "raw": self._raw,
            "remove": self._remove,
            "scopes": self._scopes,
            "shortcut": self._shortcut,
            "slash": self._slash,
            "socket": self._socket,
            "state": self._state,
            "submit": self._submit,
            "trigger": self._trigger,
        }

    async def handle(self, request: web.Request) -> web.Response:
        """One verb."""
        asked = await request.json() if request.can_read_body else {}
        return web.json_response(await self._verbs[request.match_info["verb"]](asked))

    async def _slash(self, asked: Asked) -> Any:
        payload = payloads.slash(self._workspace, asked["user"], asked["channel"], asked["command"], asked["text"])
        return await self._deliver("slash", payload, asked.get("copies", 1), user=asked["user"])

    async def _press(self, asked: Asked) -> Any:
        if "message" in asked:
            where = asked["user"], asked["channel"], asked["message"], asked["action_id"]
            payload = payloads.press_ephemeral(self._workspace, *where)
        elif "ts" in asked:
            payload = payloads.press(self._workspace, asked["user"], asked["channel"], asked["ts"], asked["action_id"])
        else:
            payload = payloads.press_home(self._workspace, asked["user"], asked["action_id"])
        return await self._deliver("interactive", payload, asked.get("copies", 1), user=asked["user"])

    async def _submit(self, asked: Asked) -> Any:
        payload = payloads.submit(self._workspace, asked["user"], asked["view_id"], asked["values"])
        return await self._deliver("interactive", payload, asked.get("copies", 1), user=asked["user"])

    async def _shortcut(self, asked: Asked) -> Any:
        payload = payloads.shortcut(self._workspace, asked["user"], asked["channel"], asked["ts"], asked["callback_id"])
        return await self._deliver("interactive", payload, user=asked["user"])

    async def _message(self, asked: Asked) -> Any:
        """Somebody writes; in a direct message the app hears of it."""
        if asked.get("direct"):
            asked = asked | {"channel": self._workspace.direct(asked["user"]).id}
        where = asked["user"], asked["channel"], payloads.escaped(asked["text"]), asked.get("thread")
        said = payloads.said(self._workspace, *where, asked.get("picture"))
        if asked.get("direct"):
            inner = said | {"channel": asked["channel"], "channel_type": "im", "event_ts": said["ts"]}
            inner |= {"subtype": "file_share"} if "files" in said else {}
            await self._retried(payloads.event(self._workspace, inner), asked.get("copies", 1))
        return said

    async def _mention(self, asked: Asked) -> Any:
        """Somebody writes to the app by name."""
        where = asked["user"], asked["channel"], asked["text"], asked.get("thread")
        said = payloads.said(self._workspace, *where, asked.get("picture"))
        inner = said | {"type": "app_mention", "channel": asked["channel"], "event_ts": said["ts"]}
        outer = payloads.event(self._workspace, inner)
        return said | {"ack": await self._retried(outer, asked.get("copies", 1))}

    async def _event(self, asked: Asked) -> Any:
        return await self._retried(payloads.event(self._workspace, asked["event"]), asked.get("copies", 1))

    async def _retried(self, outer: dict[str, Any], copies: int) -> Any:
        """The same event, once or with Slack's retries of it."""
        acks = [await self._deliverer.deliver("event", outer, retry) for retry in range(copies)]
        for ack in acks:
            await self._workspace.ledger.add("ack", what="event", acked=ack.acked)
        return acks[-1].to_json()

    async def _deliver(self, kind: str, payload: dict[str, Any], copies: int = 1, *, user: str) -> Any:
        deliveries = [self._deliverer.deliver(kind, payload) for _ in range(copies)]
        ack = (await asyncio.gather(*deliveries))[0]
        shown = ack.body if isinstance(ack.body, dict) else {"text": ack.body} if ack.body else None
        if not ack.acked:
            shown = {"text": "operation_timeout"}
        elif kind == "slash" and shown and "blocks" in shown:
            for problem in limits.of_blocks(shown["blocks"]):
                await self._workspace.ledger.add("problem", what=f"ack: {problem}")
        await self._workspace.ledger.add("ack", what=kind, user=user, acked=ack.acked, message=shown)
        return ack.to_json()

    async def _raw(self, asked: Asked) -> Any:
        """A request signed as the test says."""
        assert isinstance(self._deliverer, SignedHttp)
        body, kind = asked["body"].encode(), "application/x-www-form-urlencoded"
        how = {name: asked[name] for name in ("at", "secret") if name in asked}
        return (await self._deliverer.send(body, kind, **how)).to_json()

    async def _http(self, asked: Asked) -> Any:
        self._deliverer = SignedHttp(self._workspace, asked["url"])
        return {}

    async def _socket(self, asked: Asked) -> Any:
        await {"cut": self._sockets.cut, "refresh": self._sockets.refresh}[asked["do"]]()
        return {}

    async def _fault(self, asked: Asked) -> Any:
        self._faults.arm(Fault(**asked))
        return {}

    async def _advance(self, asked: Asked) -> Any:
        await self._workspace.clock.advance(asked["seconds"])
        return {}

    async def _channel(self, asked: Asked) -> Any:
        """Change a channel: archive it, take the bot out; one that is not there is made."""
        name = asked.pop("channel")
        channel = self._workspace.channels.setdefault(name, Channel(name))
        for name, value in asked.items():
            setattr(channel, name, value)
        return {}

    async def _person(self, asked: Asked) -> Any:
        """Somebody joins."""
        self._workspace.users[asked["user"]] = user(asked["user"], asked["name"])
        return {}

    async def _remove(self, asked: Asked) -> Any:
        """Somebody deletes a message."""
        del self._workspace.channels[asked["channel"]].messages[asked["ts"]]
        return {}

    async def _ledger(self, asked: Asked) -> Any:
        return await self._workspace.ledger.after(asked.get("after", 0))

    async def _state(self, _asked: Asked) -> Any:
        channels = {name: list(channel.messages.values()) for name, channel in self._workspace.channels.items()}
        files = {name: {**asdict(file), "content": len(file.content)} for name, file in self._workspace.files.items()}
        return {
            "channels": channels,
            "files": files,
            "homes": self._workspace.homes,
            "ledger": self._workspace.ledger.entries,
            "sockets": len(self._sockets.open),
            "now": self._workspace.clock.now(),
        }

    async def _scopes(self, asked: Asked) -> Any:
        """What the app was granted."""
        self._workspace.scopes = asked["scopes"]
        return {}

    async def _trigger(self, _asked: Asked) -> Any:
        """What an interaction of somebody would bring along."""
        url = self._workspace.response_url(ADA, GENERAL)
        return {"trigger_id": self._workspace.trigger(), "response_url": url}

    async def _file(self, asked: Asked) -> Any:
        return {"content": self._workspace.files[asked["file"]].content.hex()}
