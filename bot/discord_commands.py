"""The commands that Discord knows of: `/dream`, `/dreams VERB`, `/dream-admin VERB`, and "Dream this" under a message.

The verbs and their options come from the usages of `bot.phrases`, so a verb that is added there appears here by itself.
Does not know how an answer is sent.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import discord
from discord import app_commands

from bot.verbs import Verb
from storage.job import MAX_PROMPT, MAX_SEED, RANGES

DREAM_COMMAND, VERBS_COMMAND, ADMIN_COMMAND, MENU = "dream", "dreams", "dream-admin", "Dream this"
NOT_HERE = ("dream", "admin")  # they have commands of their own
DESCRIPTION = 100
CANDIDATES, TOP_K, STEPS = (RANGES[name][1] for name in ("candidates", "top_k", "steps"))
PIECE = re.compile(r"\[--(?P<name>[a-z-]+)(?: (?P<values>[^\]]+))?\]|\[(?P<may>[A-Z]+)\]|(?P<must>[A-Z]+)")
SUGGESTED = {"job": "job", "method": "method", "pack": "pack"}  # option to what `Commands.suggest` calls it
ADMIN: Mapping[str, tuple[str, str]] = {
    "queue": ("", "Show every guild's queue, with who."),
    "pause": ("", "Hand out nothing until resume."),
    "resume": ("", "Hand out jobs again."),
    "drain": ("", "Let every engine finish and leave."),
    "rescue": ("", "Give back the jobs of dead engines."),
    "ban": ("USER", "Accept nothing more from a person."),
    "unban": ("USER", "Accept a person's jobs again."),
    "limit": ("USER N", "Bound what waits, or as running=2 something else, of a person, role:NAME or guild:ID."),
    "weight": ("USER SHARE", "Set a person's share of the engine."),
    "purge": ("[DAYS]", "Forget old events."),
    "audit": ("", "Show what admins did."),
    "withhold": ("JOB", "Show a result's pictures to moderators only."),
    "release": ("JOB", "Show a withheld result's pictures again."),
    "stats": ("", "Show numbers of queue, people and engines."),
}

Interaction = discord.Interaction[Any]
Options = Mapping[str, str | int | None]
Dream = Callable[[Interaction, str, Options, discord.Attachment | None], Awaitable[None]]
Say = Callable[[Interaction, str], Awaitable[None]]
Suggest = Callable[[Interaction, str, str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the commands call: a dream by typed options, a line of text, a line of an admin, names while typing."""

    dream: Dream
    say: Say
    suggest: Suggest


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a verb, read off its usage."""

    name: str
    required: bool
    flag: bool  # written as --name value
    values: tuple[str, ...] = ()


def options_of(usage: str) -> tuple[Option, ...]:
    """`JOB [PROMPT] [--by clip|judge]` as options."""
    found = []
    for piece in PIECE.finditer(usage):
        if piece["name"]:
            values = piece["values"] or ""
            found.append(Option(piece["name"], False, True, () if values.isupper() else tuple(values.split("|"))))
        else:
            word = piece["may"] or piece["must"]
            found.append(Option(word.lower(), bool(piece["must"]), False))
    return tuple(found)


def line(verb: str, options: tuple[Option, ...], given: Mapping[str, str | None]) -> str:
    """The line that a person would have typed. What they wrote freely stands behind a lone --, so it is no option."""
    flags = [f"--{one.name} {given[one.name]}" for one in options if one.flag and given.get(one.name) is not None]
    words = [str(given[one.name]).strip() for one in options if not one.flag and given.get(one.name) is not None]
    free = [f"-- {words.pop()}"] if flags and len(words) > 1 else []
    return " ".join([verb, *words, *flags, *free])


def plant(tree: app_commands.CommandTree[Any], verbs: Mapping[str, Verb], doors: Doors) -> None:
    """Put every command into the tree."""
    tree.add_command(_dream(doors))
    tree.add_command(_menu(doors))
    everyone = app_commands.Group(name=VERBS_COMMAND, description="Everything about dreams, except to dream.")
    for name, verb in verbs.items():
        if name not in NOT_HERE:
            everyone.add_command(_verb(name, verb.usage, verb.what, "", doors))
    tree.add_command(everyone)
    admins = app_commands.Group(
        name=ADMIN_COMMAND,
        description="Steer the queue and its people.",
        default_permissions=discord.Permissions(manage_messages=True),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )
    for name, (usage, what) in ADMIN.items():
        admins.add_command(_verb(name, usage, what, "admin ", doors))
    tree.add_command(admins)


def _verb(name: str, usage: str, what: str, before: str, doors: Doors) -> app_commands.Command[Any, ..., None]:
    options = options_of(usage)

    async def say(interaction: Interaction, **given: Any) -> None:
        words = {key: _word(value) for key, value in given.items()}
        await doors.say(interaction, before + line(name, options, words))

    say.__dict__["__signature__"] = inspect.Signature(
        [inspect.Parameter("interaction", inspect.Parameter.POSITIONAL_OR_KEYWORD), *map(_parameter, options)]
    )
    command: app_commands.Command[Any, ..., None] = app_commands.Command(
        name=name, description=what[:DESCRIPTION], callback=say
    )
    for option in options:
        if option.name in SUGGESTED and not option.values:
            command.autocomplete(option.name)(_suggester(option.name, doors))
    return command


def _parameter(option: Option) -> inspect.Parameter:
    kind: Any = str
    if option.values:
        kind = Literal.__getitem__(option.values)
    elif option.name == "user":
        kind = discord.User
    elif option.name in ("n", "days"):
        kind = app_commands.Range[int, 0, 1_000_000]
    elif option.name == "seed":
        kind = app_commands.Range[int, 0, MAX_SEED]
    elif option.name == "prompt":
        kind = app_commands.Range[str, 1, MAX_PROMPT]
    default = inspect.Parameter.empty if option.required else None
    annotation = kind if option.required else kind | None
    return inspect.Parameter(
        option.name.replace("-", "_"), inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )


def _word(value: Any) -> str | None:
    if value is None:
        return None
    return str(value.id) if isinstance(value, (discord.User, discord.Member)) else str(value)


def _suggester(option: str, doors: Doors) -> Any:
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        names = await doors.suggest(interaction, SUGGESTED[option], current)
        return [app_commands.Choice(name=name, value=name) for name in names[:25]]

    return suggest


def _dream(doors: Doors) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name=DREAM_COMMAND, description="Turn a prompt into pictures.")
    @app_commands.rename(top_k="top-k")
    @app_commands.describe(
        prompt="What to dream of.",
        method="How to search; search is the quickest.",
        pack="Which generator to search in.",
        seed="The same seed makes the same pictures; drawn where you name none.",
        candidates="How many pictures to draw before the best are kept.",
        top_k="How many labels near the prompt to draw from.",
        steps="How far to climb, for the methods that do.",
        keep="How many of the best to show.",
        image="A picture to be near to, beside the words: PNG, JPEG or WebP.",
    )
    async def dream(
        interaction: Interaction,
        prompt: app_commands.Range[str, 1, MAX_PROMPT],
        method: str | None = None,
        pack: str | None = None,
        seed: app_commands.Range[int, 0, MAX_SEED] | None = None,
        candidates: app_commands.Range[int, 1, CANDIDATES] | None = None,
        top_k: app_commands.Range[int, 1, TOP_K] | None = None,
        steps: app_commands.Range[int, 1, STEPS] | None = None,
        keep: app_commands.Range[int, 1, 10] | None = None,
        image: discord.Attachment | None = None,
    ) -> None:
        given = {"method": method, "pack": pack, "seed": seed, "candidates": candidates, "top-k": top_k}
        await doors.dream(interaction, prompt, given | {"steps": steps, "keep": keep}, image)

    for option in ("method", "pack"):
        dream.autocomplete(option)(_suggester(option, doors))
    return dream


def _menu(doors: Doors) -> app_commands.ContextMenu:
    async def dream_this(interaction: Interaction, message: discord.Message) -> None:
        pictures = [one for one in message.attachments if (one.content_type or "").startswith("image/")]
        await doors.dream(interaction, message.content, {}, pictures[0] if pictures else None)

    return app_commands.ContextMenu(name=MENU, callback=dream_this)
