"""The peer's gateway: hello, identify, heartbeat, resume, reconnect, invalid session, and cut sockets."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord.ledger import Ledger
from tests.fakes.discord.world import APP, TOKEN, World

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 6, 7, 9, 10, 11
PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15
MOST_BYTES, MOST_SENDS = 4_096, 120


@dataclass
class Session:
    """A session outlives its socket: what it has been sent can be sent again."""

    id: str
    shard: tuple[int, int]
    events: list[dict[str, Any]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None
    over: bool = False

    async def send(self, kind: str, data: dict[str, Any]) -> None:
        """Dispatch an event now, or on resume."""
        event = {"op": DISPATCH, "t": kind, "s": len(self.events) + 1, "d": data}
        self.events.append(event)
        await self.put(event)

    async def put(self, frame: dict[str, Any]) -> None:
        """One frame, if somebody listens."""
        if self.socket is not None and not self.socket.closed:
            await self.socket.send_str(json.dumps(frame))


class Gateway:
    """All sessions."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world, self._ledger = world, ledger
        self.sessions: dict[str, Session] = {}
        self._more = asyncio.Event()

    async def identified(self) -> None:
        """Until there is one more session."""
        await self._more.wait()

    def serving(self, guild: str | None) -> Session | None:
        """The newest session whose shard has this guild; direct messages go to shard 0."""
        for session in reversed(self.sessions.values()):
            number, count = session.shard
            if not session.over and (int(guild or 0) >> 22) % count == number:
                return session
        return None

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """One socket from hello to its end."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"op": HELLO, "d": {"heartbeat_interval": 41_250}}))
        session: Session | None = None
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            self._ledger.note("gateway", op=frame["op"])
            if len(message.data) > MOST_BYTES:
                await socket.close(code=4002)
            elif frame["op"] == HEARTBEAT:
                await socket.send_str(json.dumps({"op": ACK}))
            elif frame["op"] == IDENTIFY:
                session = await self._identify(socket, frame["d"])
            elif frame["op"] == RESUME:
                session = await self._resume(socket, frame["d"])
        if session is not None and session.socket is socket:
            session.socket = None
        return socket

    async def _identify(self, socket: web.WebSocketResponse, about: dict[str, Any]) -> Session | None:
        if about["token"] != TOKEN:
            await socket.close(code=4004)
            return None
        if about["intents"] & PRIVILEGED:
            await socket.close(code=4014)
            return None
        number, count = about.get("shard", (0, 1))
        session = Session(id=secrets.token_hex(8), shard=(number, count), socket=socket)
        self.sessions[session.id] = session
        self._more.set()
        self._more = asyncio.Event()
        mine = [guild for guild in self._world.guilds if (int(guild) >> 22) % count == number]
        ready = {
            "v": 10,
            "user": self._world.bot(),
            "guilds": [{"id": guild, "unavailable": True} for guild in mine],
            "session_id": session.id,
            "resume_gateway_url": self._world.base.replace("http:", "ws:") + "/gateway",
            "application": {"id": APP, "flags": 0},
            "shard": [number, count],
        }
        await session.send("READY", ready)
        for guild in mine:
            await session.send("GUILD_CREATE", self._guild(guild))
        self._ledger.note("ready", session=session.id, shard=[number, count], intents=about["intents"])
        return session

    async def _resume(self, socket: web.WebSocketResponse, about: dict[str, Any]) -> Session | None:
        session = self.sessions.get(about["session_id"])
        if session is None or session.over:
            await socket.send_str(json.dumps({"op": INVALID, "d": False}))
            return None
        session.socket = socket
        for event in session.events[about["seq"] :]:
            await session.put(event)
        await session.send("RESUMED", {})
        self._ledger.note("resumed", session=session.id)
        return session

    async def reconnect(self) -> None:
        """Op 7 to everybody."""
        for session in self._live():
            await session.put({"op": RECONNECT, "d": None})

    async def invalidate(self, resumable: bool) -> None:
        """Op 9 to everybody."""
        for session in self._live():
            session.over = not resumable
            await session.put({"op": INVALID, "d": resumable})

    async def cut(self, code: int | None) -> None:
        """Close every socket with a code; without one, drop the connection without a word."""
        for session in self._live():
            socket, session.socket = session.socket, None
            assert socket is not None
            if code is not None:
                await socket.close(code=code)
            elif (transport := socket._req.transport if socket._req else None) is not None:
                transport.abort()

    def _live(self) -> list[Session]:
        return [one for one in self.sessions.values() if one.socket is not None and not one.socket.closed]

    def _guild(self, guild: str) -> dict[str, Any]:
        rooms = [room.payload() for room in self._world.channels.values() if room.guild == guild and room.bot_in]
        lists: dict[str, Any] = {name: [] for name in ("roles", "emojis", "features", "stickers", "threads")}
        more = {
            name: [] for name in ("members", "presences", "voice_states", "stage_instances", "guild_scheduled_events")
        }
        about = {"id": guild, "name": self._world.guilds[guild], "owner_id": "300000000000000009", "unavailable": False}
        numbers = {"verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0}
        rest = {"mfa_level": 0, "premium_tier": 0, "nsfw_level": 0, "system_channel_flags": 0, "afk_timeout": 60}
        return (
            about | lists | more | numbers | rest | {"channels": rooms, "member_count": 3, "preferred_locale": "en-GB"}
        )


async def settle(gateway: Gateway, guild: str | None, patience_s: float = 10.0) -> Session:
    """The session that serves a guild, once there is one."""
    async with asyncio.timeout(patience_s):
        while (session := gateway.serving(guild)) is None:
            await gateway.identified()
    return session
