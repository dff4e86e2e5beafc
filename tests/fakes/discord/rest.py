"""The peer's HTTP side for bots: every request is checked, written into the ledger, and served or refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.fakes.discord import faults, overlay
from tests.fakes.discord.faults import plain
from tests.fakes.discord.ledger import Ledger
from tests.fakes.discord.overlay import EPHEMERAL, File, Refusal
from tests.fakes.discord.schema import BASE, Contract
from tests.fakes.discord.world import (
    ACK_S,
    ALL_RIGHTS,
    APP,
    FILE_LIMIT,
    LOADING,
    TOKEN,
    TOKEN_S,
    Channel,
    Interaction,
    World,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NEEDS_NO_BOT = ("/interactions/", "/webhooks/")


class Refused(Exception):
    """The platform says no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Rest:
    """Routes of /api/v10."""

    def __init__(self, world: World, ledger: Ledger, contract: Contract, switches: faults.Faults) -> None:
        self.world, self.ledger, self.contract, self.faults = world, ledger, contract, switches

    def routes(self) -> list[web.RouteDef]:
        """Path templates as in the published document."""
        hook, channel = "/webhooks/{webhook_id}/{webhook_token}", "/channels/{channel_id}"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/users/@me", self.me),
            ("GET", "/users/@me/guilds", self.guilds),
            ("GET", "/oauth2/applications/@me", self.application),
            ("GET", "/applications/@me", self.application),
            ("GET", "/gateway", self.gateway),
            ("GET", "/gateway/bot", self.gateway),
            ("GET", "/applications/{application_id}/commands", self.commands),
            ("PUT", "/applications/{application_id}/commands", self.put_commands),
            ("POST", "/interactions/{interaction_id}/{interaction_token}/callback", self.callback),
            ("POST", hook, self.followup),
            ("GET", hook + "/messages/@original", self.original),
            ("PATCH", hook + "/messages/@original", self.edit_original),
            ("DELETE", hook + "/messages/@original", self.delete_original),
            ("PATCH", hook + "/messages/{message_id}", self.edit_by_token),
            ("POST", channel + "/messages", self.create),
            ("GET", channel + "/messages/{message_id}", self.message),
            ("PATCH", channel + "/messages/{message_id}", self.edit),
            ("DELETE", channel + "/messages/{message_id}", self.delete),
        ]
        return [web.route(method, BASE + path, self._guarded(handler)) for method, path, handler in table]

    def _guarded(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            resource = request.match_info.route.resource
            assert resource is not None
            template = resource.canonical.removeprefix(BASE)
            body, files = await _read(request)
            request["body"], request["files"], request["at"] = body, files, self.world.clock.now()
            problems = self.contract.problems(request.method, template, request.query, body)
            fault = self.faults.take(faults.OPERATIONS.get((request.method, template)), body)
            response = await self._answer(request, handler, fault, template)
            self.ledger.note(
                "request",
                method=request.method,
                path=request.path.removeprefix(BASE),
                status=response.status,
                problems=problems,
                refused=getattr(response, "refused", None),
                fault=fault.kind if fault else None,
                agent=request.headers.get("User-Agent"),
            )
            return response

        return serve

    async def _answer(
        self, request: web.Request, handler: Handler, fault: faults.Fault | None, template: str
    ) -> web.StreamResponse:
        if fault and fault.kind == "before":
            return faults.answer(fault)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        try:
            if not template.startswith(NEEDS_NO_BOT) and request.headers.get("Authorization") != f"Bot {TOKEN}":
                raise Refused(Refusal(0, "401: Unauthorized", 401))
            response = await handler(request)
        except Refused as error:
            response = plain({"message": str(error), "code": error.refusal.code}, error.refusal.status)
            response.refused = error.refusal.code  # type: ignore[attr-defined]
        if fault and fault.kind == "hang":
            self.ledger.note("hang", path=request.path)
            await asyncio.Event().wait()
        return faults.answer(fault) if fault and fault.kind == "after" else response

    async def me(self, _: web.Request) -> web.Response:
        """Who the token belongs to."""
        return plain(self.world.bot() | {"verified": True, "mfa_enabled": True, "locale": "en-GB"})

    async def guilds(self, _: web.Request) -> web.Response:
        """The guilds the bot is in."""
        rest: dict[str, Any] = {"icon": None, "owner": False, "features": []}
        found = [{"id": guild, "name": name, **rest} for guild, name in self.world.guilds.items()]
        return plain([one | {"permissions": self.world.rights.get(one["id"], ALL_RIGHTS)} for one in found])

    async def application(self, _: web.Request) -> web.Response:
        """The application behind the bot."""
        about: dict[str, Any] = {
            "id": APP,
            "name": "dreambot",
            "icon": None,
            "description": "",
            "bot_public": True,
            "summary": "",
        }
        install = {"scopes": self.world.scopes, "permissions": "117760"}
        kinds = {"0": {"oauth2_install_params": install}, "1": {"oauth2_install_params": install}}
        rest = {"bot_public": True, "bot_require_code_grant": False, "verify_key": "0" * 64, "flags": 0, "hook": True}
        return plain(about | rest | {"integration_types_config": kinds, "owner": self.world.user("300000000000000009")})

    async def gateway(self, _: web.Request) -> web.Response:
        """Where the gateway is."""
        left = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 16}
        url = self.world.base.replace("http:", "ws:") + "/gateway"
        return plain({"url": url, "shards": 1, "session_start_limit": left})

    async def commands(self, _: web.Request) -> web.Response:
        """The commands as registered."""
        return plain(self.world.commands)

    async def put_commands(self, request: web.Request) -> web.Response:
        """Replace all commands."""
        wanted = request["body"]
        _refuse(overlay.commands(wanted))
        extra = {"application_id": APP, "version": "1", "nsfw": False, "description": ""}
        number = self.world.clock.snowflake
        self.world.commands = [{"type": 1, **extra, **command, "id": number()} for command in wanted]
        for command in self.world.commands:
            rights = command.get("default_member_permissions")
            command["default_member_permissions"] = None if rights is None else str(rights)
        self.ledger.note("commands", names=[command["name"] for command in wanted])
        return plain(self.world.commands)

    async def callback(self, request: web.Request) -> web.Response:
        """The first answer to an interaction."""
        interaction = self.world.interactions.get(request.match_info["interaction_token"])
        after_s = request["at"] - interaction.created_at if interaction else 0.0
        if interaction is None or interaction.id != request.match_info["interaction_id"] or after_s > ACK_S:
            raise Refused(Refusal(10062, "Unknown interaction", 404))
        if interaction.acknowledged is not None:
            raise Refused(Refusal(40060, "Interaction has already been acknowledged."))
        body, data = request["body"], request["body"].get("data") or {}
        self._check_callback(interaction, body["type"], data, request["files"])
        interaction.acknowledged = body["type"]
        interaction.ephemeral = bool((data.get("flags") or 0) & EPHEMERAL)
        self.ledger.note("ack", interaction=interaction.id, type=body["type"], after_s=round(after_s, 4), data=data)
        if body["type"] in (4, 5):
            data = data if body["type"] == 4 else {**data, "flags": (data.get("flags") or 0) | LOADING}
            interaction.original = self._add(interaction.channel, data, request["files"], "callback", interaction)["id"]
        return self._called_back(request, interaction)

    def _check_callback(self, interaction: Interaction, kind: int, data: dict[str, Any], files: list[File]) -> None:
        if (kind == 8) != (interaction.type == 4):
            raise Refused(Refusal(50035, "Invalid Form Body: type"))
        if kind == 4:
            _refuse(overlay.message(data, files, interaction.limit))
        if (kind == 5 and set(data) - {"flags"}) or (kind == 5 and (data.get("flags") or 0) & ~EPHEMERAL):
            raise Refused(Refusal(50035, "Invalid Form Body: a deferred answer has no flag but ephemeral"))
        if kind == 8:
            _refuse(overlay.choices(data))
        if kind == 9:
            _refuse(overlay.modal(data, to_modal=interaction.type == 5))

    def _called_back(self, request: web.Request, interaction: Interaction) -> web.Response:
        if request.query.get("with_response") not in ("1", "true"):
            return web.Response(status=204)
        about = {"id": interaction.id, "type": interaction.type, "response_message_ephemeral": interaction.ephemeral}
        if interaction.original:
            about["response_message_id"] = interaction.original
        resource: dict[str, Any] = {"type": interaction.acknowledged}
        if interaction.original:
            resource["message"] = self.world.messages[interaction.original]
        return plain({"interaction": about, "resource": resource})

    async def followup(self, request: web.Request) -> web.Response:
        """One more message to an interaction; the webhook has no nonce, so a retry is a second message."""
        interaction = self._open(request)
        if interaction.user_install and interaction.followups >= 5:
            raise Refused(Refusal(40094, "Maximum number of follow-up messages reached (5)"))
        body, files = request["body"], request["files"]
        _refuse(overlay.message(body, files, interaction.limit))
        interaction.followups += 1
        if interaction.original and self.world.messages.get(interaction.original, {}).get("flags", 0) & LOADING:
            return plain(self._change(self._original(interaction), body, files, "webhook"))
        return plain(self._add(interaction.channel, body, files, "webhook", interaction))

    async def original(self, request: web.Request) -> web.Response:
        """The message that the callback made."""
        return plain(self._original(self._open(request)))

    async def edit_original(self, request: web.Request) -> web.Response:
        """Edit it; after a deferral this makes it."""
        interaction, body, files = self._open(request), request["body"], request["files"]
        _refuse(overlay.message(body, files, interaction.limit, edit=True))
        return plain(self._change(self._original(interaction), body, files, "webhook"))

    async def edit_by_token(self, request: web.Request) -> web.Response:
        """Edit one of an interaction's messages while its token lives, wherever it is."""
        interaction, message = self._open(request), self.world.messages.get(request.match_info["message_id"])
        if message is None or message["channel_id"] != interaction.channel.id:
            raise Refused(Refusal(10008, "Unknown Message", 404))
        _refuse(overlay.message(request["body"], request["files"], interaction.limit, edit=True))
        return plain(self._change(message, request["body"], request["files"], "webhook"))

    async def delete_original(self, request: web.Request) -> web.Response:
        """Take it back."""
        return self._delete(self._original(self._open(request)))

    async def create(self, request: web.Request) -> web.Response:
        """A message of the bot's own; the same enforced nonce within minutes is the first message again."""
        channel, body, files = self._channel(request), request["body"], request["files"]
        _refuse(overlay.message(body, files, FILE_LIMIT))
        nonce = str(body["nonce"]) if body.get("nonce") is not None and body.get("enforce_nonce") else None
        before = self.world.posted_before(channel.id, nonce)
        if before is not None:
            self.ledger.note("same_nonce", id=before["id"], nonce=nonce)
            return plain(before)
        return plain(self._add(channel, body, files, "bot"))

    async def message(self, request: web.Request) -> web.Response:
        """One message."""
        return plain(self._own(request))

    async def edit(self, request: web.Request) -> web.Response:
        """Edit a message of the bot's own, however old its interaction is."""
        message = self._own(request)
        _refuse(overlay.message(request["body"], request["files"], FILE_LIMIT, edit=True))
        return plain(self._change(message, request["body"], request["files"], "bot"))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a message of the bot's own."""
        return self._delete(self._own(request))

    def _add(
        self, channel: Channel, body: dict[str, Any], files: list[File], via: str, by: Interaction | None = None
    ) -> dict[str, Any]:
        hidden = EPHEMERAL if by and by.ephemeral else 0
        more: dict[str, Any] = {"flags": (body.get("flags") or 0) | hidden}
        if by:
            more |= {"webhook_id": APP, "application_id": APP}
        if body.get("nonce") is not None:
            more["nonce"] = body["nonce"]
        message = self.world.add(channel, body, files, **more)
        if body.get("nonce") is not None:
            self.world.nonces[channel.id, str(body["nonce"])] = (self.world.clock.now(), message["id"])
        self._tell("message", message, body, via, by.id if by else None)
        return message

    def _change(self, message: dict[str, Any], body: dict[str, Any], files: list[File], via: str) -> dict[str, Any]:
        self.world.change(message, body, files)
        self._tell("edit", message, body, via)
        return message

    def _tell(
        self, what: str, message: dict[str, Any], body: dict[str, Any], via: str, interaction: str | None = None
    ) -> None:
        self.ledger.note(
            what,
            id=message["id"],
            via=via,
            by=interaction,
            pings=overlay.pings(body),
            message=json.loads(json.dumps(message)),
        )

    def _delete(self, message: dict[str, Any]) -> web.Response:
        del self.world.messages[message["id"]]
        self.ledger.note("delete", id=message["id"])
        return web.Response(status=204)

    def _open(self, request: web.Request) -> Interaction:
        """The interaction of a token that still lives and was acknowledged."""
        interaction = self.world.interactions.get(request.match_info["webhook_token"])
        if interaction is None or self.world.clock.now() - interaction.created_at > TOKEN_S:
            raise Refused(Refusal(50027, "Invalid Webhook Token", 401))
        if interaction.acknowledged is None:
            raise Refused(Refusal(10015, "Unknown Webhook", 404))
        return interaction

    def _original(self, interaction: Interaction) -> dict[str, Any]:
        message = self.world.messages.get(interaction.original or "")
        if message is None:
            raise Refused(Refusal(10008, "Unknown Message", 404))
        return message

    def _channel(self, request: web.Request) -> Channel:
        channel = self.world.channels.get(request.match_info["channel_id"])
        if channel is None or channel.gone:
            raise Refused(Refusal(10003, "Unknown Channel", 404))
        if not channel.bot_in:
            raise Refused(Refusal(50001, "Missing Access", 403))
        return channel

    def _own(self, request: web.Request) -> dict[str, Any]:
        channel, message = self._channel(request), self.world.messages.get(request.match_info["message_id"])
        if message is None or message["channel_id"] != channel.id or message["flags"] & EPHEMERAL:
            raise Refused(Refusal(10008, "Unknown Message", 404))
        return message


def _refuse(found: Any) -> None:
    for refusal in found:
        raise Refused(refusal)


async def _read(request: web.Request) -> tuple[Any, list[File]]:
    """The JSON body, and the files beside it."""
    if not request.can_read_body:
        return None, []
    if not request.content_type.startswith("multipart/"):
        return await request.json(), []
    body: Any = {}
    files: list[File] = []
    async for part in await request.multipart():
        data = await part.read()
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files.append(File(part.name or "", part.filename or "", bytes(data)))
    return body, files
