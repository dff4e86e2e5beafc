"""A line of text into a command: `/dream a blue dog --seed 3`, `/cancel k7f3q2`, `/admin pause`.

Knows where the verb is; used wherever people type, and by adapters whose options are few. The answer is always a Card:
an error is one too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from bot import arguments, cards
from bot.admin import Admin
from bot.arguments import Value
from bot.cards import Card
from bot.commands import Commands
from bot.incident import sentence
from bot.verbs import Line, Takes, Verbs
from storage.job import Caller

NOT_IN_A_SLASH = ("dream", "admin")  # `/dream dream` is a dream of a dream; admins have a command of their own


class Phrases:
    """What people type, understood."""

    def __init__(self, commands: Commands, admin: Admin, *, keep: int = arguments.KEEP_IN_CHAT) -> None:
        self._commands = commands
        self._keep = keep
        self.verbs = Verbs(commands, admin, keep=keep).known

    async def answer(
        self, caller: Caller, line: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """The card that answers a line, its first word the verb; never raises for what a person typed."""
        first, rest = _parted(line.strip().removeprefix("/"))
        verb = self.verbs.get(first.lower())
        if verb is None:
            known = ", ".join(f"/{name}" for name in self.verbs)
            return cards.error_card(f"A line starts with one of {known}; {first[:40]!r} is not one.")
        return await answered(verb.say(Line(caller=caller, text=rest, reply_to=reply_to, event_key=event_key)))

    async def slash(
        self, caller: Caller, text: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """The text after a slash command that dreams and does all else, too.

        A verb with a job, with options or with nothing behind it is that verb; anything else is a prompt, and so is
        what follows a lone `--`: `-- queue` dreams of a queue. Without any text it is `help`.
        """
        try:
            line = text if await self._is_verb(caller, text) else f"dream {text}"
        except Exception as error:
            return cards.error_card(sentence(error))
        return await self.answer(caller, line if line.strip() else "help", reply_to=reply_to, event_key=event_key)

    async def dream(
        self,
        caller: Caller,
        prompt: str,
        options: Mapping[str, Value],
        *,
        reply_to: str | None = None,
        event_key: str | None = None,
    ) -> Card:
        """A dream by typed options (names as in `arguments.OPTIONS`; None is not given); never raises."""

        async def asked() -> Card:
            params = await self._commands.params(caller, prompt, options, keep=self._keep)
            return await self._commands.dream(caller, params, reply_to=reply_to, event_key=event_key)

        return await answered(asked())

    async def _is_verb(self, caller: Caller, text: str) -> bool:
        first, rest = _parted(text.strip())
        verb = self.verbs.get(first.lower())
        if not first:
            return True
        if verb is None or first.lower() in NOT_IN_A_SLASH:
            return False
        second, _ = _parted(rest)
        if not second or (second != "--" and arguments.OPTION.fullmatch(second)):
            return True
        if first.lower() == "help":
            return second.lower() in self.verbs and second == rest
        return verb.takes is Takes.JOB and await self._commands.is_job(caller, second)


async def answered(work: Awaitable[Card]) -> Card:
    """The answer, or the card that says why there is none."""
    try:
        return await work
    except Exception as error:
        return cards.error_card(sentence(error))


def _parted(text: str) -> tuple[str, str]:
    """The first word, and the rest without the space between."""
    first, *rest = text.split(maxsplit=1) or [""]
    return first, rest[0] if rest else ""
