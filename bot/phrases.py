"""A line of text into a command: `/dream a blue dog --seed 3`, `/cancel k7f3q2`, `/admin pause`.

Knows every verb and how its words are read; used wherever people type (the chat terminal, later Slack's text). The
answer is always a Card: an error is one too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot import arguments, cards
from bot.admin import Admin
from bot.cards import Card
from bot.commands import Commands
from bot.incident import sentence
from storage.errors import UserError
from storage.job import Caller

Say = Callable[[Caller, str, str | None], Awaitable[Card]]


@dataclass(frozen=True, slots=True)
class Verb:
    """A word that starts a command."""

    usage: str
    say: Say


class Phrases:
    """What people type, understood."""

    def __init__(self, commands: Commands, admin: Admin, *, keep: int = arguments.KEEP_IN_CHAT) -> None:
        self._commands = commands
        self._admin = admin
        self._keep = keep
        self.verbs: dict[str, Verb] = {
            "dream": Verb(
                "PROMPT [--seed N] [--candidates N] [--top-k N] [--keep N] [--method NAME] [--pack NAME]", self._dream
            ),
            "again": Verb("JOB", self._again),
            "rerank": Verb("JOB [PROMPT] [--by clip|augclip|judge]", self._rerank),
            "show": Verb("JOB", lambda caller, text, _: commands.show(caller, text)),
            "queue": Verb("", lambda caller, _text, _: commands.queue(caller)),
            "cancel": Verb("JOB", lambda caller, text, _: commands.cancel(caller, text)),
            "history": Verb("", lambda caller, _text, _: commands.history(caller)),
            "leaderboard": Verb("[--by score|person]", self._leaderboard),
            "admin": Verb("VERB …", self._say_admin),
            "help": Verb("", self._help),
        }

    async def answer(self, caller: Caller, line: str, *, reply_to: str | None = None) -> Card:
        """The card that answers a line; never raises for what a person typed."""
        first, _, rest = line.strip().removeprefix("/").partition(" ")
        try:
            verb = self.verbs.get(first.lower())
            if verb is None:
                known = ", ".join(f"/{name}" for name in self.verbs)
                raise UserError(f"A line starts with one of {known}; {first[:40]!r} is not one.")
            return await verb.say(caller, rest.strip(), reply_to)
        except Exception as error:
            return cards.error_card(sentence(error))

    async def _dream(self, caller: Caller, text: str, reply_to: str | None) -> Card:
        words = arguments.words(text)
        params = arguments.dream(words.text, words.options, keep=self._keep)
        return await self._commands.dream(caller, params, reply_to=reply_to)

    async def _again(self, caller: Caller, text: str, reply_to: str | None) -> Card:
        return await self._commands.again(caller, text, reply_to=reply_to)

    async def _rerank(self, caller: Caller, text: str, reply_to: str | None) -> Card:
        words = arguments.words(text, ("by",))
        job, _, prompt = words.text.partition(" ")
        by = words.options.get("by", "clip")
        return await self._commands.rerank(caller, job, prompt=prompt.strip() or None, by=by, reply_to=reply_to)

    async def _leaderboard(self, caller: Caller, text: str, _reply_to: str | None) -> Card:
        return await self._commands.leaderboard(caller, by=arguments.words(text, ("by",)).options.get("by", "score"))

    async def _say_admin(self, caller: Caller, text: str, _reply_to: str | None) -> Card:
        verb, *rest = text.split() or [""]
        acts: dict[str, Callable[..., Awaitable[Card]]] = {
            "pause": self._admin.pause,
            "resume": self._admin.resume,
            "drain": self._admin.drain,
            "rescue": self._admin.rescue,
            "audit": self._admin.audit,
            "stats": self._admin.stats,
        }
        about: dict[str, Callable[..., Awaitable[Card]]] = {"ban": self._admin.ban, "unban": self._admin.unban}
        if verb in acts and not rest:
            return await acts[verb](caller)
        if verb in about and len(rest) == 1:
            return await about[verb](caller, caller.surface, rest[0])
        if verb == "limit" and len(rest) == 2:
            return await self._admin.limit(caller, caller.surface, *rest)
        if verb == "purge" and len(rest) <= 1:
            return await self._admin.purge(caller, *(rest or ["7"]))
        known = f"{', '.join(acts)}, ban USER, unban USER, limit USER N, purge DAYS"
        raise UserError(f"/admin takes one of {known}; {text[:40]!r} is not.")

    async def _help(self, _caller: Caller, _text: str, _reply_to: str | None) -> Card:
        rows = [{"command": f"/{name}", "arguments": verb.usage} for name, verb in self.verbs.items()]
        return cards.table_card("Help", rows, empty="", columns=("command", "arguments"))
