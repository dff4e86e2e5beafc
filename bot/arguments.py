"""Words or typed options into Params.

Knows the options' names and how a person may write them; the ranges are `storage.job`'s. Every refusal is a UserError
that names the allowed values. The random seed is drawn here, so that whoever holds Params can show it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from storage.errors import UserError
from storage.job import (
    DIGEST,
    DREAM_METHODS,
    MAX_SEED,
    RANGES,
    By,
    Method,
    Params,
    Parity,
    check_box,
    check_range,
    choice,
)
from storage.prompt import parse, scene

KEEP_IN_CHAT = 4
KEEP_IN_TERMINAL = 1
OPTIONS = ("method", "pack", "seed", "candidates", "top-k", "steps", "keep", "parity", "image", "from", "box")
WORD = re.compile(r"\S+")
OPTION = re.compile(r"(?:--|—)([A-Za-z][A-Za-z-]*)(?:=(.*))?", re.DOTALL)  # Slack turns -- into a dash
JOB = re.compile(r"[a-z0-9]{1,32}")
MENTION = re.compile(r"<@!?([A-Za-z0-9]{1,40})(?:\|[^>]*)?>")  # <@123> and <@!123> in Discord, <@U123|ada> in Slack
JOB_NAME = re.compile(r"[a-z2-9]{6}")  # as the queue makes them

OTHER_VERSION = "This button is from another version; use the command instead."

Value = str | int | None
BOXES = {
    "left": (0.3, 0.55, 0.5, 0.5),
    "centre": (0.5, 0.5, 0.5, 0.5),
    "right": (0.7, 0.55, 0.5, 0.5),
    "bottom": (0.5, 0.7, 0.5, 0.5),
}
PUBLISHED: Mapping[Parity, Mapping[str, str | int]] = {  # what a parity asks for where the person asked for nothing
    Parity.CSC2516: {"method": Method.SEARCH, "candidates": 100},
    Parity.FUSEDREAM: {"method": Method.FUSEDREAM, "candidates": 10_000, "steps": 1_000},
    Parity.CLIP_GEN: {"method": Method.CLIPGEN, "candidates": 64},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A command's text, taken apart: what stands freely, and what was written as --name value."""

    text: str
    options: Mapping[str, str]


def dream(prompt: str, options: Mapping[str, Value], *, keep: int = KEEP_IN_CHAT, bank: bool = True) -> Params:
    """Params of a dream; an option that is missing or None takes its default, and the seed is drawn."""
    given = {name: value for name, value in options.items() if value is not None}
    parity = choice("parity", given["parity"], Parity) if "parity" in given else None
    if parity is not None:
        given = {**PUBLISHED[parity], **given}
    method = str(given.get("method", Method.FUSEDREAM if "from" in given else Method.SEARCH))
    if method not in DREAM_METHODS:
        raise UserError(f"method is one of {', '.join(DREAM_METHODS)}; {method[:40]!r} is not.")
    candidates = _number("candidates", given.get("candidates", 100))
    params = Params(
        prompt=prompt,
        method=Method(method),
        parity=parity,
        image=_digest("image", given.get("image")),
        start=_digest("from", given.get("from")),
        box=_box(given.get("box")),
        pack=_name("pack", given.get("pack", "embedded")),
        seed=_number("seed", given["seed"]) if "seed" in given else secrets.randbelow(MAX_SEED + 1),
        candidates=candidates,
        top_k=_number("top_k", given["top-k"]) if "top-k" in given else None,
        steps=_number("steps", given.get("steps", 150)),
        keep=_number("keep", given["keep"]) if "keep" in given else min(keep, candidates),
        bank=bank,
    )
    return _checked(params)


def rerank(of: Params, prompt: str | None, by: str) -> Params:
    """Params of a re-ranking: an earlier job's, with other words, and then without its picture, or another measure."""
    params = Params(
        prompt=of.prompt if prompt is None else prompt,
        image=of.image if prompt is None else None,
        seed=of.seed,
        method=Method.RERANK,
        pack=of.pack,
        candidates=of.candidates,
        top_k=of.top_k,
        steps=of.steps,
        keep=of.keep,
        by=choice("by", by, By),
    )
    return _checked(params)


def anew(of: Params, prompt: str | None = None, seed: Value = None) -> Params:
    """An earlier job's params with a new seed, or this one; and with other words, if there are any."""
    number = secrets.randbelow(MAX_SEED + 1) if seed is None else _number("seed", seed)
    return _checked(replace(of, prompt=of.prompt if prompt is None else prompt, seed=number))


def vary(of: Params, picture: str) -> Params:
    """An earlier job's params near what it found: that picture is part of the target now, and the seed is new."""
    return _checked(replace(anew(of), image=picture, parity=None))


def _checked(params: Params) -> Params:
    """Params whose prompt is written as prompts are: `storage.prompt` says how."""
    parts = parse(params.prompt)
    if params.method is Method.COMPOSE:
        scene(parts)
    elif params.box is not None:
        raise UserError(f"box belongs to the method compose; this one is {params.method}.")
    return params


def words(text: str, allowed: tuple[str, ...] = OPTIONS) -> Words:
    """Take a line apart. Options may stand anywhere; after a lone -- everything is text."""
    found = list(WORD.finditer(text))
    options: dict[str, str] = {}
    free: list[str] = []
    index = 0
    while index < len(found):
        word = found[index].group()
        if word == "--":
            free.append(text[found[index].end() :].strip())
            break
        match = OPTION.fullmatch(word)
        if match is None:
            free.append(word)
        else:
            index += _take(match, found, index, allowed, options)
        index += 1
    return Words(text=_unquoted(" ".join(free)), options=options)


def _take(
    match: re.Match[str], found: list[re.Match[str]], index: int, allowed: tuple[str, ...], options: dict[str, str]
) -> int:
    """Note one option; returns how many further words it used up."""
    name = match[1].lower()
    if name not in allowed:
        known = ", ".join(f"--{option}" for option in allowed) or "none here"
        raise UserError(f"There is no option --{name}; the options are {known}.")
    if match[2] is not None:
        options[name] = match[2]
        return 0
    if index + 1 == len(found):
        raise UserError(f"--{name} needs a value, as in --{name} {_example(name)}.")
    options[name] = found[index + 1].group()
    return 1


def _example(name: str) -> str:
    return {"method": "search", "pack": "embedded", "by": "clip", "parity": "fusedream"}.get(name, "7")


def _unquoted(text: str) -> str:
    """The text without the quotes around all of it."""
    for mark in ('""', "''", "“”"):
        if len(text) >= 2 and text[0] == mark[0] and text[-1] == mark[1] and mark[0] not in text[1:-1]:
            return text[1:-1]
    return text


def job_id(text: str) -> str:
    """A job's name as people type it; UserError for what cannot be one."""
    name = text.strip().lower()
    if JOB.fullmatch(name) is None:
        raise UserError(f"A job is named by letters and digits, as in k7f3q2; {text[:40]!r} is not.")
    return name


def is_job_name(word: str) -> bool:
    """Whether a word looks as jobs are named."""
    return JOB_NAME.fullmatch(word.lower()) is not None


def button(custom_id: str) -> tuple[str, str]:
    """Verb and job of a button's id."""
    version, _, rest = custom_id.partition(":")
    verb, _, job = rest.partition(":")
    if version != "v1" or not verb.isalpha():
        raise UserError(OTHER_VERSION)
    return verb, job_id(job)


def person(option: str, name: str) -> str:
    """A person's or guild's name as typed, or the id in a platform's mention: 1 to 100 printable characters."""
    mention = MENTION.fullmatch(name.strip())
    stripped = mention[1] if mention else name.strip()
    if not 1 <= len(stripped) <= 100 or not stripped.isprintable():
        raise UserError(f"{option} is a name of 1 to 100 printable characters; {name[:40]!r} is not.")
    return stripped


def _number(name: str, value: Value) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()) else value
    check_range(name, number, *RANGES[name])
    assert isinstance(number, int)
    return number


def _digest(name: str, value: Value) -> str | None:
    """The digest of a stored picture: surfaces store what people hand in, and pass its digest on."""
    if value is None:
        return None
    digest = str(value).strip().lower()
    if DIGEST.fullmatch(digest) is None:
        raise UserError(
            f"{name} is a file in the terminal, an attachment in a chat, or the sha256 of a stored picture."
        )
    return digest


def _box(value: Value) -> tuple[float, ...] | None:
    """A preset's name, or four numbers between commas."""
    if value is None or value in BOXES:
        return None if value is None else BOXES[str(value)]
    refusal = f"box is one of {', '.join(BOXES)}, or four numbers, as in 0.3,0.6,0.5,0.5; {str(value)[:40]!r} is not."
    numbers = str(value).split(",")
    if len(numbers) != 4:
        raise UserError(refusal)
    try:
        return check_box([float(number) for number in numbers])
    except ValueError:
        raise UserError(refusal) from None


def _name(option: str, value: Value) -> str:
    name = str(value)
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name) is None:
        raise UserError(
            f"{option} is a name of small letters, digits and dashes, as in embedded; {name[:40]!r} is not."
        )
    return name
