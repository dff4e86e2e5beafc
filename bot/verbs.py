"""The words that start a command, and how what follows them is read.

Knows words; the work is in `commands` and `admin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from bot import arguments, boards
from bot.admin import Admin
from bot.admin_lines import AdminLines
from bot.cards import Card
from bot.commands import Commands
from bot.personal import OWN, SURE
from storage.errors import UserError
from storage.job import Caller

DREAM = (
    "PROMPT [--method NAME] [--pack NAME] [--seed N] [--candidates N] [--top-k N] [--steps N] [--keep N]"
    " [--parity NAME] [--box left|centre|right|bottom]"
)
SETTINGS = " ".join(f"[--{option} VALUE]" for option in OWN)
PERIOD = "[--period week|month|ever]"
YES = "yes"


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


class Verbs:
    """Every verb, by its word in `known`."""

    def __init__(self, commands: Commands, admin: Admin, *, keep: int) -> None:
        self._commands = commands
        self._admin = AdminLines(admin)
        self._keep = keep
        nothing, job, words = Takes.NOTHING, Takes.JOB, Takes.WORDS
        by = "[--by clip|augclip|judge]"
        self.known: dict[str, Verb] = {
            "dream": Verb(DREAM, "Dream of a prompt.", words, self._dream),
            "again": Verb("JOB", "Run a job's recipe once more and compare the pixels.", job, self._again),
            "anew": Verb("JOB [PROMPT] [--seed N]", "Dream it with a new seed, or with other words.", job, self._anew),
            "vary": Verb("JOB", "Dream near a job's best picture.", job, self._vary),
            "rerank": Verb(f"JOB [PROMPT] {by}", "Re-order a job's stored candidates.", job, self._rerank),
            "show": Verb("JOB", "Show all that is known of a job.", job, self._show),
            "vote": Verb("JOB", "Vote for a job's pictures, or take the vote back.", job, self._vote),
            "delete": Verb("JOB", "Delete a job's pictures for good.", job, self._delete),
            "queue": Verb("", "Show who runs and who waits.", nothing, self._queue),
            "cancel": Verb("JOB", "Stop a job; tells what was observed.", job, self._cancel),
            "history": Verb("", "Show your own jobs.", nothing, self._history),
            "gallery": Verb(
                f"[--of NAME] {PERIOD}",
                "Show the best pictures: yours, of the guild, or of NAME.",
                nothing,
                self._gallery,
            ),
            "leaderboard": Verb(f"[--by score|votes|person] {PERIOD}", "Show the best.", nothing, self._leaderboard),
            "settings": Verb(
                SETTINGS, "Show your own defaults, or change them; none takes one back.", nothing, self._settings
            ),
            "export": Verb("", "Get your jobs, recipes, scores and pictures as a file.", nothing, self._export),
            "forget-me": Verb("[--sure yes]", "Delete all that is known of you.", nothing, self._forget),
            "admin": Verb("VERB …", "Steer the queue and its people.", words, self._say_admin),
            "help": Verb("[COMMAND]", "Show the commands, or one of them.", nothing, self._help),
        }

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

    async def _vote(self, line: Line) -> Card:
        return await self._commands.vote(line.caller, line.text)

    async def _delete(self, line: Line) -> Card:
        return await self._commands.delete(line.caller, line.text)

    async def _queue(self, line: Line) -> Card:
        return replace(await self._commands.queue(line.caller), private=True)

    async def _cancel(self, line: Line) -> Card:
        return replace(await self._commands.cancel(line.caller, line.text), private=True)

    async def _history(self, line: Line) -> Card:
        return replace(await self._commands.history(line.caller), private=True)

    async def _gallery(self, line: Line) -> Card:
        given = _options(line, "of", "period")
        return await self._commands.gallery(line.caller, of=given.get("of", "me"), period=given.get("period", "ever"))

    async def _leaderboard(self, line: Line) -> Card:
        given = _options(line, "by", "period")
        return await self._commands.leaderboard(
            line.caller, by=given.get("by", "score"), period=given.get("period", "ever")
        )

    async def _settings(self, line: Line) -> Card:
        return await self._commands.personal.settings(line.caller, _options(line, *OWN))

    async def _export(self, line: Line) -> Card:
        _options(line)
        return await self._commands.personal.export(line.caller)

    async def _forget(self, line: Line) -> Card:
        sure = _options(line, SURE).get(SURE, "")
        return await self._commands.personal.forget(line.caller, sure=sure.lower() == YES)

    async def _say_admin(self, line: Line) -> Card:
        return replace(await self._admin.answer(line.caller, line.text), private=True)

    async def _help(self, line: Line) -> Card:
        wanted = line.text.lower().removeprefix("/")
        if wanted and wanted not in self.known:
            raise UserError(f"help is about one of {', '.join(self.known)}; {line.text[:40]!r} is not.")
        shown = {name: verb for name, verb in self.known.items() if wanted in ("", name)}
        rows = [{"command": f"/{name}", "arguments": verb.usage, "what": verb.what} for name, verb in shown.items()]
        card = boards.table_card("Help", rows, empty="", columns=("command", "arguments", "what"))
        return replace(card, private=True)


def _options(line: Line, *allowed: str) -> dict[str, str]:
    """The options of a verb that takes nothing else."""
    words = arguments.words(line.text, allowed)
    if words.text:
        known = ", ".join(f"--{option}" for option in allowed) or "no options"
        raise UserError(f"This command takes {known} and nothing else; {words.text[:40]!r} is not one.")
    return dict(words.options)
