"""What pressing a button or filling in a form does.

A button's id is `v1:<verb>:<job>` and all that is remembered, so it works after any restart, next month too. Knows the
verbs and who may press them; no chat library. Never raises for what a person did: the answer is an error card.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from bot import arguments, cards
from bot.cards import Card, Form, Input
from bot.commands import Commands
from bot.incident import sentence
from storage.errors import UserError
from storage.job import By, Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """Somebody pressed, or sent a form in: who, about which job, and where an answer may go later."""

    caller: Caller
    job: str
    reply_to: str | None
    event_key: str | None


class Gestures:
    """Buttons and forms, by their verbs."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._pressed: Mapping[str, Callable[[Press], Awaitable[Card | Form]]] = {
            "again": self._again,
            "anew": self._anew,
            "vary": self._vary,
            "rerank": self._rerank_form,
            "edit": self._edit_form,
            "show": self._show,
            "cancel": self._cancel,
            "vote": self._vote,
            "delete": self._ask_to_delete,
            "erase": self._delete,
            "forget": self._forget,
        }
        self._submitted: Mapping[str, Callable[[Press, Mapping[str, str]], Awaitable[Card]]] = {
            "rerank": self._rerank,
            "edit": self._edit,
        }

    async def press(
        self, caller: Caller, custom_id: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card | Form:
        """What a button answers: a card, or a form to be filled in first."""
        try:
            verb, job = arguments.button(custom_id)
            if verb not in self._pressed:
                raise UserError(arguments.OTHER_VERSION)
            return await self._pressed[verb](Press(caller=caller, job=job, reply_to=reply_to, event_key=event_key))
        except Exception as error:
            return cards.error_card(sentence(error))

    async def submit(
        self,
        caller: Caller,
        form_id: str,
        values: Mapping[str, str],
        *,
        reply_to: str | None = None,
        event_key: str | None = None,
    ) -> Card:
        """What a filled-in form answers."""
        try:
            verb, job = arguments.button(form_id)
            if verb not in self._submitted:
                raise UserError(arguments.OTHER_VERSION)
            press = Press(caller=caller, job=job, reply_to=reply_to, event_key=event_key)
            return await self._submitted[verb](press, values)
        except Exception as error:
            return cards.error_card(sentence(error))

    async def _again(self, press: Press) -> Card:
        return await self._commands.again(press.caller, press.job, reply_to=press.reply_to, event_key=press.event_key)

    async def _anew(self, press: Press) -> Card:
        return await self._commands.anew(press.caller, press.job, reply_to=press.reply_to, event_key=press.event_key)

    async def _vary(self, press: Press) -> Card:
        return await self._commands.vary(press.caller, press.job, reply_to=press.reply_to, event_key=press.event_key)

    async def _show(self, press: Press) -> Card:
        return replace(await self._commands.show(press.caller, press.job), private=True)

    async def _cancel(self, press: Press) -> Card:
        return replace(await self._commands.cancel(press.caller, press.job), private=True)

    async def _vote(self, press: Press) -> Card:
        return await self._commands.vote(press.caller, press.job)

    async def _ask_to_delete(self, press: Press) -> Card:
        job = await self._commands.deletable(press.caller, press.job)
        return cards.sure_card(job)

    async def _delete(self, press: Press) -> Card:
        return await self._commands.delete(press.caller, press.job)

    async def _forget(self, press: Press) -> Card:
        return await self._commands.personal.forget(press.caller, sure=True)

    async def _rerank_form(self, press: Press) -> Form:
        job = await self._commands.visible(press.caller, press.job)
        by = Input(name="by", label=f"By {', '.join(By)}", value=By.CLIP.value, required=False)
        words = Input(name="prompt", label="By these words", value=job.params.prompt, long=True, required=False)
        return Form(id=f"v1:rerank:{job.id}", title="Re-rank", inputs=(words, by))

    async def _rerank(self, press: Press, values: Mapping[str, str]) -> Card:
        return await self._commands.rerank(
            press.caller,
            press.job,
            prompt=values.get("prompt", "").strip() or None,
            by=values.get("by", "").strip().lower() or By.CLIP.value,
            reply_to=press.reply_to,
            event_key=press.event_key,
        )

    async def _edit_form(self, press: Press) -> Form:
        job = await self._commands.visible(press.caller, press.job)
        prompt = Input(name="prompt", label="Prompt", value=job.params.prompt, long=True)
        seed = Input(name="seed", label="Seed (empty: a new one)", value=str(job.params.seed), required=False)
        return Form(id=f"v1:edit:{job.id}", title="Edit prompt", inputs=(prompt, seed))

    async def _edit(self, press: Press, values: Mapping[str, str]) -> Card:
        return await self._commands.anew(
            press.caller,
            press.job,
            prompt=values.get("prompt", ""),
            seed=values.get("seed", "").strip() or None,
            reply_to=press.reply_to,
            event_key=press.event_key,
        )
