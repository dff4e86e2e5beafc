"""Interactions answered in time: the row first, then the acknowledgement; after 1.5 s "one moment", the rest behind it.

Knows interactions and their three seconds. Which message shows a job is told to `landed`, so that progress and result
find it without the interaction's token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import discord

from bot.cards import Card, Form, Tone, error_card
from bot.discord_cards import Drawn, modal

PATIENCE_S = 1.5
UNKNOWN_INTERACTION, ACKNOWLEDGED = 10062, 40060
TOO_LATE = "That took too long to open a form; press once more."

log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]
Ask = Callable[[], Awaitable[Card | Form]]
Draw = Callable[[Card], Awaitable[Drawn]]


async def answer(
    interaction: Interaction, ask: Ask, draw: Draw, *, private: bool, patience_s: float = PATIENCE_S
) -> tuple[Card | None, int | None]:
    """Ask, and show the answer. Returns the card and the message that shows it, where there is one for everybody.

    `private`: what is shown while the answer is not there yet is for the asker only.
    """
    asked = asyncio.ensure_future(ask())
    await asyncio.wait({asked}, timeout=patience_s)
    deferred = False
    if not asked.done():
        deferred = await _defer(interaction, private)
    found = await asked
    if isinstance(found, Form):
        if not deferred:
            await _tried(interaction, interaction.response.send_modal(modal(found)))
            return None, None
        found = error_card(TOO_LATE)
    hidden = found.private or (found.tone is Tone.WRONG and found.job is None)
    drawn = await draw(found)
    message = await (_edit(interaction, drawn) if deferred else _respond(interaction, drawn, hidden))
    return found, None if hidden or (deferred and private) else message


async def _defer(interaction: Interaction, private: bool) -> bool:
    """Say "one moment"; True if it arrived, so that the answer is an edit."""
    return await _tried(interaction, interaction.response.defer(ephemeral=private, thinking=True)) is not None


async def _respond(interaction: Interaction, drawn: Drawn, hidden: bool) -> int | None:
    sent = await _tried(
        interaction,
        interaction.response.send_message(embed=drawn.embed, files=drawn.files, view=drawn.view, ephemeral=hidden),
    )
    return sent.message_id if isinstance(sent, discord.InteractionCallbackResponse) else sent


async def _edit(interaction: Interaction, drawn: Drawn) -> int | None:
    try:
        message = await interaction.edit_original_response(embed=drawn.embed, attachments=drawn.files, view=drawn.view)
    except (discord.HTTPException, OSError) as error:
        log.warning("the answer to %d was not shown: %s", interaction.id, error)
        return None
    return message.id


async def _tried(interaction: Interaction, response: Awaitable[Any]) -> Any:
    """What the first answer gave; the message's id where an earlier try or a double of this event has answered.

    None where it is too late: the job is in the store all the same, and its result comes as a message of its own.
    """
    try:
        return await response
    except discord.HTTPException as error:
        if error.code == ACKNOWLEDGED:
            return await _answered_before(interaction)
        log.warning("interaction %d was not answered: %s", interaction.id, error)
    except OSError as error:
        log.warning("interaction %d was not answered: %s", interaction.id, error)
    except discord.InteractionResponded:
        return await _answered_before(interaction)
    return None


async def _answered_before(interaction: Interaction) -> int | None:
    try:
        return (await interaction.original_response()).id
    except (discord.HTTPException, discord.ClientException, OSError) as error:
        log.warning("the earlier answer to %d was not found: %s", interaction.id, error)
        return None
