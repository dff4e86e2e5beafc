"""What Slack may send, and which of the house's doors it leads to. Nothing that arrives is left without an ack.

Knows Slack's payloads; turns each into a request and a question to the house.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from slack_bolt.async_app import AsyncApp

from bot import arguments, cards, slack_blocks
from bot.cards import Card
from bot.house import House
from bot.slack_desk import Answer, Desk, Request
from bot.slack_gate import WRITTEN
from bot.slack_home import Home
from bot.slack_messages import Address
from bot.slack_people import People
from bot.slack_uploads import Uploads
from bot.slack_workspaces import Workspaces

Body = Mapping[str, Any]
Ack = Callable[..., Awaitable[Any]]
Next = Callable[[], Awaitable[Any]]

ANY = re.compile(r"(?s).*")
BUTTON = re.compile(r"v1:[a-z]+:[a-z0-9]+")
SHORTCUT = "dream_this"
ENTITY = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


class Listeners:
    """The app's listeners."""

    def __init__(
        self, house: House, desk: Desk, people: People, workspaces: Workspaces, home: Home, uploads: Uploads
    ) -> None:
        self._house, self._desk, self._people = house, desk, people
        self._workspaces, self._home, self._uploads = workspaces, home, uploads

    def register(self, app: AsyncApp) -> None:
        """Everything, the catch-alls last."""
        app.command("/dream")(self.dream)
        app.command("/dream-admin")(self.admin)
        app.command(ANY)(self.unknown_command)
        app.action(BUTTON)(self.button)
        app.action(ANY)(_acknowledge)
        app.view(BUTTON)(self.form)
        app.view(ANY)(_acknowledge)
        app.shortcut(SHORTCUT)(self.shortcut)
        app.shortcut(ANY)(_acknowledge)
        # bolt acknowledges an event before its listener runs; a middleware runs before that, and the row comes first.
        app.event("app_mention", middleware=[self.mention])(_nothing)
        app.event("message", middleware=[self.direct])(_nothing)
        app.event("app_home_opened")(self.home)
        app.event("app_uninstalled")(self.gone)
        app.event("tokens_revoked")(self.gone)
        app.event(ANY)(_nothing)

    async def dream(self, ack: Ack, body: Body) -> None:
        """`/dream PROMPT`, `/dream VERB …`."""
        await self._slash(ack, body, self._house.phrases.slash)

    async def admin(self, ack: Ack, body: Body) -> None:
        """`/dream-admin VERB …`."""

        async def ask(caller: Any, text: str, **where: Any) -> Card:
            return await self._house.phrases.answer(caller, f"admin {text}", **where)

        await self._slash(ack, body, ask, admin=True)

    async def unknown_command(self, ack: Ack, body: Body) -> None:
        """A command that the manifest has and we do not."""
        text = f"{str(body.get('command'))[:40]} is not a command of mine; /dream and /dream-admin are."
        await ack(response_type="ephemeral", **slack_blocks.message(cards.error_card(text), {}))

    async def button(self, ack: Ack, body: Body) -> None:
        """A button under a card, wherever the card stands."""
        action, user = body["actions"][0], str(body["user"]["id"])
        channel = str((body.get("channel") or {}).get("id") or user)
        thread = (body.get("message") or {}).get("thread_ts")
        key = f"slack:{body.get('trigger_id')}"
        request = Request(
            address=Address.of(_team(body), channel, thread, user, key),
            event_key=key,
            response_url=body.get("response_url"),
            trigger_id=body.get("trigger_id"),
        )

        async def work() -> Answer:
            caller = await self._people.caller(_team(body), user, channel)
            return await self._house.gestures.press(
                caller, str(action["action_id"]), reply_to=request.reply_to, event_key=key
            )

        await self._desk.serve(ack, request, work)

    async def form(self, ack: Ack, body: Body) -> None:
        """A modal that was sent in; where its button stood comes back in `private_metadata`."""
        view, user = body["view"], str(body["user"]["id"])
        key = f"slack:{_team(body)}:{view['id']}"
        stood = Address.read(view["private_metadata"])
        request = Request(
            address=Address.of(stood.team, stood.channel, stood.thread, user, key), event_key=key, form=True
        )

        async def work() -> Answer:
            caller = await self._people.caller(_team(body), user, stood.channel)
            typed = slack_blocks.values(view["state"]["values"])
            return await self._house.gestures.submit(
                caller, view["callback_id"], typed, reply_to=request.reply_to, event_key=key
            )

        await self._desk.serve(ack, request, work)

    async def shortcut(self, ack: Ack, body: Body) -> None:
        """The entry "Dream this" in a message's menu; the answer goes into its thread."""
        message, user, channel = body["message"], str(body["user"]["id"]), str(body["channel"]["id"])
        key = f"slack:{body.get('trigger_id')}"
        thread = str(message.get("thread_ts") or message["ts"])
        request = Request(
            address=Address.of(_team(body), channel, thread, user, key),
            event_key=key,
            response_url=body.get("response_url"),
        )

        async def work() -> Answer:
            caller = await self._people.caller(_team(body), user, channel)
            prompt = readable(str(message.get("text") or ""))
            beside = {"image": await self._uploads.picture(_team(body), message)}
            return await self._house.phrases.dream(caller, prompt, beside, reply_to=request.reply_to, event_key=key)

        await self._desk.serve(ack, request, work)

    async def mention(self, body: Body, next: Next) -> None:
        """`@dreambot PROMPT`, in threads too, where slash commands do not work."""
        await self._said(body, body["event"], threaded=True)
        await next()

    async def direct(self, body: Body, next: Next) -> None:
        """What a person writes to us directly; what we, other bots or edits write is nothing."""
        event = body["event"]
        written = event.get("subtype") in WRITTEN
        if event.get("channel_type") == "im" and event.get("user") and written and "bot_id" not in event:
            await self._said(body, event, threaded=False)
        await next()

    async def home(self, body: Body) -> None:
        """Somebody looks at our home tab."""
        event = body["event"]
        if event.get("tab") == "home":
            caller = await self._people.caller(_team(body), str(event["user"]), str(event["user"]))
            self._desk.behind(self._home.show(_team(body), caller))

    async def gone(self, body: Body) -> None:
        """A workspace has removed us."""
        await self._workspaces.gone(_team(body), body.get("enterprise_id"))

    async def _slash(self, ack: Ack, body: Body, ask: Callable[..., Awaitable[Card]], *, admin: bool = False) -> None:
        team, user, channel = str(body["team_id"]), str(body["user_id"]), str(body["channel_id"])
        key = f"slack:{body['trigger_id']}"
        request = Request(
            address=Address.of(team, channel, None, user, key),
            event_key=key,
            response_url=body.get("response_url"),
            inline=True,
        )

        async def work() -> Answer:
            caller = await self._people.caller(team, user, channel, admin_command=admin)
            text = readable(str(body.get("text") or ""))
            return await ask(caller, text, reply_to=request.reply_to, event_key=key)

        await self._desk.serve(ack, request, work)

    async def _said(self, body: Body, event: Body, *, threaded: bool) -> None:
        """A sentence to us. The same one under two event ids is one: its place and time tell."""
        team, user, channel = _team(body), str(event["user"]), str(event["channel"])
        key = f"slack:{team}:{channel}:{event['ts']}:{user}"
        thread = str(event.get("thread_ts") or event["ts"]) if threaded else event.get("thread_ts")
        request = Request(address=Address.of(team, channel, thread, user, key), event_key=key)

        async def work() -> Answer:
            ourselves = await self._workspaces.ourselves(team, body.get("enterprise_id"))
            caller = await self._people.caller(team, user, channel)
            text = readable(str(event.get("text") or "").replace(f"<@{ourselves.bot_user}>", " "))
            where = {"reply_to": request.reply_to, "event_key": key}
            if (picture := await self._uploads.picture(team, event)) is None:
                return await self._house.phrases.slash(caller, text, **where)
            words = arguments.words(text)  # whoever sends a picture along means a dream
            return await self._house.phrases.dream(caller, words.text, {**words.options, "image": picture}, **where)

        await self._desk.serve(_no_ack, request, work)


def readable(text: str) -> str:
    """What a person meant: entities as letters, `<@U1|ada>` as U1, `<https://a|b>` as the address."""

    def plain(found: re.Match[str]) -> str:
        sign, what, label = found.groups()
        return label or what if sign in ("#", "!") else what

    whole = ENTITY.sub(plain, text)
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        whole = whole.replace(entity, letter)
    return whole.strip()


def _team(body: Body) -> str:
    """The workspace that this happened in."""
    team = body.get("team_id") or (body.get("team") or {}).get("id") or (body.get("user") or {}).get("team_id")
    return str(team)


async def _acknowledge(ack: Ack) -> None:
    """Nothing to do, but say so."""
    await ack()


async def _nothing() -> None:
    """Nothing to do; bolt has acknowledged."""


async def _no_ack(**_: Any) -> None:
    """An event's ack is bolt's, once its middleware is through."""
