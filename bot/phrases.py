"""A line of text into a command: `/dream a blue dog --seed 3`, `/cancel k7f3q2`, `/admin pause`.

Knows every verb and how its words are read; used wherever people type, and by adapters whose options are few. The
answer is always a Card: an error is one too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from bot import arguments, cards
from bot.admin import Admin
from bot.admin_lines import AdminLines
from bot.arguments import Value
from bot.cards import Card
from bot.commands import Commands
from bot.incident import sentence
from storage.errors import UserError
from storage.job import Caller

DREAM = (
    "PROMPT [--method NAME] [--pack NAME] [--seed N] [--candidates N] [--top-k N] [--steps N] [--keep N]"
    " [--parity NAME]"
)
NOT_IN_A_SLASH = ("dream", "admin")  # `/dream dream` is a dream of a dream; admins have a command of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What follows the verb, who said it, where an answer may go later, and which event it was."""

    caller: Caller
    text: str
    reply_to: str | None = None
    event_key: str | None = None


class Takes(Enum):
    """What the words after a verb are, options aside."""

    NOTHING = auto()
    JOB = auto()  # and for some verbs further words
    WORDS = auto()


@dataclass(frozen=True, slots=True)
class Verb:
    """A word that starts a command."""

    usage: str
    what: str  # it does, in a sentence
    takes: Takes
    say: Callable[[Line], Awaitable[Card]]


class Phrases:
    """What people type, understood."""

    def __init__(self, commands: Commands, admin: Admin, *, keep: int = arguments.KEEP_IN_CHAT) -> None:
        self._commands = commands
        self._admin = AdminLines(admin)
        self._keep = keep
        nothing, job, words = Takes.NOTHING, Takes.JOB, Takes.WORDS
        self.verbs: dict[str, Verb] = {
            "dream": Verb(DREAM, "Dream of a prompt.", words, self._dream),
            "again": Verb("JOB", "Run a job's recipe once more and compare the pixels.", job, self._again),
            "anew": Verb("JOB [PROMPT] [--seed N]", "Dream it with a new seed, or other words.", job, self._anew),
            "vary": Verb("JOB", "Dream near a job's best picture.", job, self._vary),
            "rerank": Verb(
                "JOB [PROMPT] [--by clip|augclip|judge]", "Re-order a job's stored candidates.", job, self._rerank
            ),
            "show": Verb("JOB", "Show all that is known of a job.", job, self._show),
            "queue": Verb("", "Show who runs and who waits.", nothing, self._queue),
            "cancel": Verb("JOB", "Stop a job; tells what was observed.", job, self._cancel),
            "history": Verb("", "Show your own jobs.", nothing, self._history),
            "leaderboard": Verb("[--by score|person]", "Show the guild's best.", nothing, self._leaderboard),
            "admin": Verb("VERB …", "Steer the queue and its people.", words, self._say_admin),
            "help": Verb("[COMMAND]", "Show the commands, or one of them.", nothing, self._help),
        }

    async def answer(
        self, caller: Caller, line: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """The card that answers a line, its first word the verb; never raises for what a person typed."""
        first, _, rest = line.strip().removeprefix("/").partition(" ")
        try:
            verb = self.verbs.get(first.lower())
            if verb is None:
                known = ", ".join(f"/{name}" for name in self.verbs)
                raise UserError(f"A line starts with one of {known}; {first[:40]!r} is not one.")
            return await verb.say(Line(caller=caller, text=rest.strip(), reply_to=reply_to, event_key=event_key))
        except Exception as error:
            return cards.error_card(sentence(error))

    async def slash(
        self, caller: Caller, text: str, *, reply_to: str | None = None, event_key: str | None = None
    ) -> Card:
        """The text after a slash command that dreams and does all else, too.

        A verb with a job or with nothing behind it is that verb; anything else is a prompt, and so is what follows a
        lone `--`: `-- queue` dreams of a queue.
        """
        try:
            line = text if await self._is_verb(caller, text) else f"dream {text}"
        except Exception as error:
            return cards.error_card(sentence(error))
        return await self.answer(caller, line or "help", reply_to=reply_to, event_key=event_key)

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
        try:
            params = await self._commands.params(caller, prompt, options, keep=self._keep)
            return await self._commands.dream(caller, params, reply_to=reply_to, event_key=event_key)
        except Exception as error:
            return cards.error_card(sentence(error))

    async def _is_verb(self, caller: Caller, text: str) -> bool:
        first, _, rest = text.strip().partition(" ")
        verb = self.verbs.get(first.lower())
        if not text.strip():
            return True
        if verb is None or first.lower() in NOT_IN_A_SLASH:
            return False
        word = next((word for word in rest.split() if not arguments.OPTION.fullmatch(word)), "")
        if not rest.strip() or arguments.OPTION.fullmatch(rest.split()[0]):
            return rest.strip() != "--"
        return verb.takes is Takes.JOB and await self._commands.is_job(caller, word)

    async def _dream(self, line: Line) -> Card:
        words = arguments.words(line.text)
        params = await self._commands.params(line.caller, words.text, words.options, keep=self._keep)
        return await self._commands.dream(line.caller, params, reply_to=line.reply_to, event_key=line.event_key)

    async def _again(self, line: Line) -> Card:
        return await self._commands.again(line.caller, line.text, reply_to=line.reply_to, event_key=line.event_key)

    async def _anew(self, line: Line) -> Card:
        words = arguments.words(line.text, ("seed",))
        job, _, prompt = words.text.partition(" ")
        return await self._commands.anew(
            line.caller,
            job,
            prompt=prompt.strip() or None,
            seed=words.options.get("seed"),
            reply_to=line.reply_to,
            event_key=line.event_key,
        )

    async def _vary(self, line: Line) -> Card:
        return await self._commands.vary(line.caller, line.text, reply_to=line.reply_to, event_key=line.event_key)

    async def _rerank(self, line: Line) -> Card:
        words = arguments.words(line.text, ("by",))
        job, _, prompt = words.text.partition(" ")
        return await self._commands.rerank(
            line.caller,
            job,
            prompt=prompt.strip() or None,
            by=words.options.get("by", "clip"),
            reply_to=line.reply_to,
            event_key=line.event_key,
        )

    async def _show(self, line: Line) -> Card:
        return await self._commands.show(line.caller, line.text)

    async def _queue(self, line: Line) -> Card:
        return replace(await self._commands.queue(line.caller), private=True)

    async def _cancel(self, line: Line) -> Card:
        return replace(await self._commands.cancel(line.caller, line.text), private=True)

    async def _history(self, line: Line) -> Card:
        return replace(await self._commands.history(line.caller), private=True)

    async def _leaderboard(self, line: Line) -> Card:
        by = arguments.words(line.text, ("by",)).options.get("by", "score")
        return await self._commands.leaderboard(line.caller, by=by)

    async def _say_admin(self, line: Line) -> Card:
        return replace(await self._admin.answer(line.caller, line.text), private=True)

    async def _help(self, line: Line) -> Card:
        wanted = line.text.lower().removeprefix("/")
        if wanted and wanted not in self.verbs:
            raise UserError(f"help is about one of {', '.join(self.verbs)}; {line.text[:40]!r} is not.")
        shown = {name: verb for name, verb in self.verbs.items() if wanted in ("", name)}
        rows = [{"command": f"/{name}", "arguments": verb.usage, "what": verb.what} for name, verb in shown.items()]
        return replace(cards.table_card("Help", rows, empty="", columns=("command", "arguments", "what")), private=True)
