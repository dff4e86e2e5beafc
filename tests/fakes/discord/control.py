"""The test's side door: acts of people, faults, time, and the ledger."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.discord import acts
from tests.fakes.discord.clock import Clock
from tests.fakes.discord.faults import Fault, Faults, plain
from tests.fakes.discord.gateway import Gateway, settle
from tests.fakes.discord.ledger import Ledger
from tests.fakes.discord.schema import Contract
from tests.fakes.discord.world import GUILD, Channel, World


class Control:
    """Routes of /control."""

    def __init__(
        self, world: World, clock: Clock, ledger: Ledger, gateway: Gateway, switches: Faults, contract: Contract
    ) -> None:
        self._world, self._clock, self._ledger = world, clock, ledger
        self._gateway, self._faults, self._contract = gateway, switches, contract
        self._last: dict[str, Any] = {}

    def routes(self) -> list[web.RouteDef]:
        """One route a thing that a test can do."""
        return [
            web.post("/control/act", self.act),
            web.post("/control/again", self.again),
            web.post("/control/fault", self.fault),
            web.post("/control/clock", self.advance),
            web.post("/control/gateway", self.shake),
            web.post("/control/channel", self.channel),
            web.post("/control/delete", self.delete),
            web.post("/control/application", self.application),
            web.post("/control/faults_off", self.faults_off),
            web.get("/control/ledger", self.ledger),
            web.get("/control/state", self.state),
            web.get("/cdn/attachments/{channel}/{file}/{name}", self.file),
        ]

    async def act(self, request: web.Request) -> web.Response:
        """Somebody does something; with `late` the event only comes with the next resume."""
        act = await request.json()
        try:
            made, payload = acts.interaction(self._world, act)
        except LookupError as error:
            return plain({"error": str(error)}, 400)
        session = await settle(self._gateway, made.channel.guild)
        self._last = payload
        self._ledger.note("act", interaction=made.id, user=made.user, channel=made.channel.id, act=act)
        await session.send("INTERACTION_CREATE", payload)
        return plain({"id": made.id, "token": made.token})

    async def again(self, _: web.Request) -> web.Response:
        """The last interaction once more, word for word, as after a resume."""
        session = await settle(self._gateway, self._last.get("guild_id"))
        await session.send("INTERACTION_CREATE", self._last)
        return plain({"id": self._last["id"]})

    async def fault(self, request: web.Request) -> web.Response:
        """A fault for one of the next requests."""
        self._faults.on.append(Fault(**await request.json()))
        return plain({})

    async def faults_off(self, _: web.Request) -> web.Response:
        """No more faults."""
        self._faults.on.clear()
        return plain({})

    async def application(self, request: web.Request) -> web.Response:
        """Other rights in guilds, other scopes, other guilds."""
        for name, value in (await request.json()).items():
            setattr(self._world, name, value)
        return plain({})

    async def delete(self, request: web.Request) -> web.Response:
        """Somebody deletes a message."""
        message = (await request.json())["message"]
        del self._world.messages[message]
        self._ledger.note("delete", id=message)
        return plain({})

    async def advance(self, request: web.Request) -> web.Response:
        """Let time pass."""
        self._clock.advance((await request.json())["seconds"])
        return plain({"now": self._clock.now()})

    async def shake(self, request: web.Request) -> web.Response:
        """Op 7, op 9, a close code, or a cut."""
        how = await request.json()
        if how["do"] == "reconnect":
            await self._gateway.reconnect()
        elif how["do"] == "invalidate":
            await self._gateway.invalidate(how["resumable"])
        else:
            await self._gateway.cut(how.get("code"))
        return plain({})

    async def channel(self, request: web.Request) -> web.Response:
        """Change a channel: gone, bot_in, nsfw; one that is not known is made, in `guild` or in the usual one."""
        change = await request.json()
        name = change.pop("id")
        channel = self._world.channels.setdefault(name, Channel(name, change.get("guild", GUILD)))
        for name, value in change.items():
            setattr(channel, name, value)
        return plain({})

    async def ledger(self, request: web.Request) -> web.Response:
        """Entries after `n`; waits for one up to `wait` seconds."""
        wait = float(request.query.get("wait", "0"))
        return plain(await self._ledger.after(int(request.query.get("n", "0")), wait))

    async def state(self, _: web.Request) -> web.Response:
        """What exists."""
        return plain(
            {
                "messages": list(self._world.messages.values()),
                "commands": self._world.commands,
                "contract": self._contract.present,
                "sessions": len(self._gateway.sessions),
            }
        )

    async def file(self, request: web.Request) -> web.Response:
        """An attachment's bytes."""
        return web.Response(body=self._world.files[request.match_info["file"]], content_type="image/png")
