"""The Discord surface: slash commands, buttons and forms in; cards out.

Knows discord.py by its own modules only, and the house by its seam. Every act of a person goes the same way: who and
where, then the house, then an answer within three seconds (`discord_answers`); what comes later is a message of the
bot's own (`discord_mail`), never an interaction's token that has died.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import discord

from bot.adapter import TryLater, Undeliverable
from bot.cards import Card, Form, error_card
from bot.discord_address import Address
from bot.discord_answers import answer
from bot.discord_cards import Drawn, draw, filled_in
from bot.discord_client import connection
from bot.discord_commands import Doors, Options, plant
from bot.discord_mail import Mail
from bot.discord_sync import sync
from bot.hand_in import ALLOWED, MAX_BYTES
from bot.house import House
from bot.incident import sentence
from bot.settings import BotSettings
from storage.errors import UserError
from storage.job import DIRECT, Caller

SURFACE = "discord"
FOR_ALL = frozenset({"dream", "again", "anew", "vary", "rerank", "edit", "show", "leaderboard", "gallery"})
LOGIN_S, RETRY_S = 5.0, 5.0
TOKEN_WRONG = (
    "Discord does not accept DREAMBOT_DISCORD_TOKEN; copy it anew from the developer portal, Bot, Reset Token."
)

log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]
Ask = Callable[[Caller, str, str], Awaitable[Card | Form]]  # caller, reply_to, event_key


class DiscordAdapter:
    """One bot on Discord."""

    surface = SURFACE

    def __init__(self, settings: BotSettings, house: House) -> None:
        self._settings, self._house = settings, house
        made = connection(self, shards=settings.discord_shards, api=settings.discord_api)
        self._client, self._tree = made.client, made.tree
        self._mail = Mail(self._client, self._draw)
        self._logged_in = asyncio.Event()
        plant(self._tree, house.phrases.verbs, Doors(dream=self._dream, say=self._say, suggest=self._suggest))

    async def run(self) -> None:
        """Log in, and listen until `close`; UserError if Discord does not know the token."""
        token = self._settings.discord_token
        if token is None:
            raise UserError("DREAMBOT_DISCORD_TOKEN is not set.")
        await self._log_in(token.get_secret_value())
        await self._client.connect()

    async def _log_in(self, token: str) -> None:
        """A wrong token is said in words, an outage waited for."""
        while True:
            try:
                await self._client.login(token)
            except discord.LoginFailure:
                raise UserError(TOKEN_WRONG) from None
            except (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordServerError) as error:
                log.warning("Discord does not answer: %s", error or type(error).__name__)
            else:
                return
            await self._client.http.close()
            self._client.http.connector = discord.utils.MISSING  # closed with its session; the next login makes one
            await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """End `run`."""
        await self._client.close()

    async def prepare(self) -> None:
        """Register the commands if they have changed."""
        application = self._client.application_id
        assert application is not None
        if await sync(self._tree, self._settings.home, application):
            log.info("the commands were registered with Discord")
        self._logged_in.set()

    def channel(self, reply_to: str) -> str:
        """Edits of one channel share a rate limit."""
        return str(_read(reply_to).channel)

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        """A final reply: the job's message, edited; a new message with that nonce where there is none."""
        await self._connected()
        return str(await self._mail.post(_read(reply_to), card, nonce))

    async def edit(self, reply_to: str, card: Card) -> None:
        """Progress."""
        await self._connected()
        await self._mail.edit(_read(reply_to), card)

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None:
        """A final reply reads like this from now on."""
        await self._connected()
        await self._mail.replace(_read(reply_to), int(message_id), card)

    async def pressed(self, interaction: Interaction, custom_id: str) -> None:
        """A button under any message."""

        async def ask(caller: Caller, reply_to: str, event_key: str) -> Card | Form:
            return await self._house.gestures.press(caller, custom_id, reply_to=reply_to, event_key=event_key)

        await self._answer(interaction, ask, custom_id.split(":")[1])

    async def sent_in(self, interaction: Interaction, custom_id: str) -> None:
        """A form."""
        data: Mapping[str, Any] = interaction.data or {}
        values = filled_in(data.get("components") or [])

        async def ask(caller: Caller, reply_to: str, event_key: str) -> Card | Form:
            return await self._house.gestures.submit(caller, custom_id, values, reply_to=reply_to, event_key=event_key)

        await self._answer(interaction, ask, custom_id.partition(":")[2].partition(":")[0])

    async def _dream(
        self, interaction: Interaction, prompt: str, options: Options, picture: discord.Attachment | None
    ) -> None:
        async def ask(caller: Caller, reply_to: str, event_key: str) -> Card | Form:
            try:
                given = options if picture is None else {**options, "image": await self._handed_in(picture)}
            except Exception as error:
                return error_card(sentence(error))
            return await self._house.phrases.dream(caller, prompt, given, reply_to=reply_to, event_key=event_key)

        await self._answer(interaction, ask, "dream")

    async def _handed_in(self, picture: discord.Attachment) -> str:
        """The digest of a picture that came with a command."""
        if picture.size > MAX_BYTES:
            raise UserError(f"{ALLOWED}; this one is larger.")
        return await asyncio.to_thread(self._house.hand_in, await picture.read())

    async def _say(self, interaction: Interaction, line: str) -> None:
        async def ask(caller: Caller, reply_to: str, event_key: str) -> Card | Form:
            return await self._house.phrases.answer(caller, line, reply_to=reply_to, event_key=event_key)

        await self._answer(interaction, ask, line.partition(" ")[0])

    async def _suggest(self, interaction: Interaction, what: str, typed: str) -> list[str]:
        found: Sequence[str] = await self._house.commands.suggest(self._caller(interaction), what, typed)
        return list(found)

    async def _answer(self, interaction: Interaction, ask: Ask, verb: str) -> None:
        """Who and where, then the house, then the answer; and where the job's message is, for what comes later."""
        caller, address = self._caller(interaction), _address(interaction)
        self._mail.expect(interaction.id)
        message: int | None = None
        try:
            card, message = await answer(
                interaction,
                lambda: ask(caller, address.write(), f"{SURFACE}:{interaction.id}"),
                lambda card: self._draw(card, address.limit, address.nsfw),
                private=verb not in FOR_ALL,
            )
            if card is not None and card.job is not None and message is not None:
                known = replace(address, message=message)
                await self._house.readdress(card.job, address.write(), known.write())
        except Exception:
            log.exception("interaction %d was not served", interaction.id)
        finally:
            self._mail.landed(interaction.id, message)

    def _caller(self, interaction: Interaction) -> Caller:
        user = str(interaction.user.id)
        in_guild = interaction.guild_id is not None
        return Caller(
            user=user,
            name=interaction.user.display_name,
            guild=str(interaction.guild_id) if in_guild else DIRECT,
            surface=SURFACE,
            admin=self._settings.is_admin(SURFACE, user),
            moderator=in_guild and interaction.permissions.manage_messages,
            roles=tuple(f"{SURFACE}:{role.id}" for role in getattr(interaction.user, "roles", ())),
        )

    async def _draw(self, card: Card, limit: int, nsfw: bool) -> Drawn:
        drawing = functools.partial(draw, card, self._house.picture, side=self._settings.shown_side)
        return await asyncio.to_thread(drawing, limit=limit, nsfw=nsfw)

    async def _connected(self) -> None:
        """TryLater as long as nobody is logged in."""
        try:
            await asyncio.wait_for(self._logged_in.wait(), LOGIN_S)
        except TimeoutError:
            raise TryLater(LOGIN_S, "not logged in to Discord yet") from None


def _address(interaction: Interaction) -> Address:
    """Where the answer's message will be; with the token only where the bot itself may not write."""
    ours = interaction.is_guild_integration() and interaction.app_permissions.view_channel
    ours = ours or interaction.context.dm_channel
    restricted = getattr(interaction.channel, "is_nsfw", None)
    return Address(
        interaction=interaction.id,
        channel=interaction.channel_id or 0,
        application=interaction.application_id,
        nsfw=bool(restricted and restricted()),
        limit=interaction.filesize_limit,
        token=None if ours else interaction.token,
    )


def _read(reply_to: str) -> Address:
    try:
        return Address.read(reply_to)
    except ValueError as error:
        raise Undeliverable(str(error)) from error
