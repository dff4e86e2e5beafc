"""Limits of the platform that its published schema does not hold, or holds too softly. Pure functions.

Source: Discord's developer documentation as of August 2026. Lengths are counted in UTF-16 units, the stricter of the
two ways in which client and server count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONTENT = 2_000
EMBEDS = 10
EMBED_TOTAL = 6_000
EMBED_LIMITS = {"title": 256, "description": 4_096}
FIELDS = 25
ROWS = 5
BUTTONS = 5
V2_COMPONENTS = 40
ATTACHMENTS = 10
REQUEST_BYTES = 25 << 20
COMMAND_NAME = re.compile(r"[-_'\w]{1,32}")
V2_FLAG = 1 << 15
EPHEMERAL = 64


@dataclass(frozen=True)
class Refusal:
    """What the platform answers instead."""

    code: int
    message: str
    status: int = 400


@dataclass(frozen=True)
class File:
    """One uploaded file."""

    field: str
    name: str
    data: bytes


def length(text: str | None) -> int:
    """UTF-16 units."""
    return len((text or "").encode("utf-16-le", "surrogatepass")) // 2


def message(body: Mapping[str, Any], files: Sequence[File], limit: int, *, edit: bool = False) -> Iterator[Refusal]:
    """A message to be created or edited; `limit` is the largest file in bytes."""
    embeds, parts = body.get("embeds") or [], body.get("components") or []
    if length(body.get("content")) > CONTENT:
        yield _form("content: must be 2000 or fewer in length")
    if not edit and not (body.get("content") or embeds or files or parts or body.get("poll")):
        yield Refusal(50006, "Cannot send an empty message")
    if length(str(body.get("nonce") or "")) > 25:
        yield _form("nonce: must be 25 or fewer in length")
    yield from _embeds(embeds)
    yield from _components(parts, bool((body.get("flags") or 0) & V2_FLAG), body)
    yield from _files(body, files, limit)


def _embeds(embeds: Sequence[Mapping[str, Any]]) -> Iterator[Refusal]:
    if len(embeds) > EMBEDS:
        yield _form("embeds: must be 10 or fewer")
    total = 0
    for embed in embeds:
        parts = {name: length(embed.get(name)) for name in EMBED_LIMITS}
        parts["footer"] = length((embed.get("footer") or {}).get("text"))
        parts["author"] = length((embed.get("author") or {}).get("name"))
        for name, limit in {**EMBED_LIMITS, "footer": 2_048, "author": 256}.items():
            if parts[name] > limit:
                yield _form(f"embeds.{name}: must be {limit} or fewer in length")
        fields = embed.get("fields") or []
        if len(fields) > FIELDS:
            yield _form("embeds.fields: must be 25 or fewer")
        for field in fields:
            if not 1 <= length(field.get("name")) <= 256 or not 1 <= length(field.get("value")) <= 1_024:
                yield _form("embeds.fields: name of 1 to 256, value of 1 to 1024")
            total += length(field.get("name")) + length(field.get("value"))
        total += sum(parts.values())
    if total > EMBED_TOTAL:
        yield _form("embeds: 6000 characters in all")


def _components(parts: Sequence[Mapping[str, Any]], v2: bool, body: Mapping[str, Any]) -> Iterator[Refusal]:
    every = list(_walk(parts))
    if v2:
        if len(every) > V2_COMPONENTS:
            yield _form("components: 40 in all")
        if body.get("content") or body.get("embeds") or body.get("poll") or body.get("sticker_ids"):
            yield _form("flags: no content, embeds, polls or stickers beside components of the second version")
    else:
        if len(parts) > ROWS:
            yield _form("components: must be 5 or fewer")
        if any(part.get("type") != 1 for part in parts):
            yield _form("components: only action rows without the flag of the second version")
    names = [part["custom_id"] for part in every if part.get("custom_id") is not None]
    if len(names) != len(set(names)):
        yield _form("components: custom_id must be unique in a message")
    for part in every:
        yield from _component(part)


def _component(part: Mapping[str, Any]) -> Iterator[Refusal]:
    kind, name = part.get("type"), part.get("custom_id")
    if name is not None and not 1 <= length(name) <= 100:
        yield _form("components.custom_id: 1 to 100 characters")
    if kind == 1 and not 1 <= len(part.get("components") or ()) <= BUTTONS:
        yield _form("components: 1 to 5 buttons in a row")
    if kind == 2:
        if length(part.get("label")) > 80 or not (part.get("label") or part.get("emoji")):
            yield _form("components.label: 1 to 80 characters, or an emoji")
        if (part.get("style") == 5) != bool(part.get("url")) or (part.get("style") != 5) != bool(name):
            yield _form("components: a link has a url and no custom_id; any other button has a custom_id and no url")
    if kind == 3 and not 1 <= len(part.get("options") or ()) <= 25:
        yield _form("components.options: 1 to 25")


def _walk(parts: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for part in parts:
        yield part
        yield from _walk(part.get("components") or ())
        inner = [part[key] for key in ("component", "accessory") if part.get(key)]
        yield from _walk(inner)


def _files(body: Mapping[str, Any], files: Sequence[File], limit: int) -> Iterator[Refusal]:
    if len(files) > ATTACHMENTS or len(body.get("attachments") or ()) > ATTACHMENTS:
        yield Refusal(30015, "Maximum number of attachments in a message reached (10)")
    if any(len(file.data) > limit for file in files) or sum(len(file.data) for file in files) > REQUEST_BYTES:
        yield Refusal(40005, "Request entity too large", 413)
    if any(not 1 <= length(file.name) <= 1_024 or "/" in file.name for file in files):
        yield _form("files: a name of 1 to 1024 characters without a path")
    uploaded = {file.field.removeprefix("files[").removesuffix("]") for file in files}
    named = {str(one["id"]) for one in body.get("attachments") or () if int(one["id"]) < ATTACHMENTS}
    if not named <= uploaded:
        yield _form("attachments: an id names an uploaded file or an earlier attachment")


def modal(data: Mapping[str, Any], *, to_modal: bool = False) -> Iterator[Refusal]:
    """A modal that is to be opened."""
    parts = data.get("components") or []
    if to_modal:
        yield _form("type: a modal is no answer to a modal")
    if not 1 <= length(data.get("title")) <= 45:
        yield _form("title: 1 to 45 characters")
    if not 1 <= length(data.get("custom_id")) <= 100:
        yield _form("custom_id: 1 to 100 characters")
    if not 1 <= len(parts) <= 5:
        yield _form("components: 1 to 5 in a modal")
    inputs = [part for part in _walk(parts) if part.get("type") == 4]
    names = [part.get("custom_id") for part in inputs]
    if len(names) != len(set(names)):
        yield _form("components: custom_id must be unique in a modal")
    for part in inputs:
        if length(part.get("value")) > min(4_000, part.get("max_length") or 4_000) or length(part.get("label")) > 45:
            yield _form("components: a label of at most 45, a value of at most 4000 or max_length")
    if any(part.get("type") == 18 and not 1 <= length(part.get("label")) <= 45 for part in parts):
        yield _form("components.label: 1 to 45 characters")


def choices(data: Mapping[str, Any]) -> Iterator[Refusal]:
    """What autocomplete offers."""
    offered = data.get("choices") or []
    if len(offered) > 25:
        yield _form("choices: must be 25 or fewer")
    if any(not 1 <= length(str(o["name"])) <= 100 or length(str(o["value"])) > 100 for o in offered):
        yield _form("choices: a name of 1 to 100, a value of at most 100")


def commands(wanted: Sequence[Mapping[str, Any]]) -> Iterator[Refusal]:
    """All commands of an application, as one PUT replaces them."""
    most = {1: 100, 2: 15, 3: 15}
    for kind, limit in most.items():
        if sum(command.get("type", 1) == kind for command in wanted) > limit:
            yield Refusal(30032, f"Maximum number of application commands of type {kind} reached ({limit})")
    names = [(command.get("type", 1), command["name"]) for command in wanted]
    if len(names) != len(set(names)):
        yield _form("name: command names must be unique")
    for command in wanted:
        menu = command.get("type", 1) != 1
        if menu and (command.get("description") or not 1 <= length(command["name"]) <= 32):
            yield _form("description: none in a context menu; a name of 1 to 32")
        if not menu:
            yield from _option(command)
            if _size(command) > 8_000:
                yield _form("a command has 8000 characters in all")


def _option(option: Mapping[str, Any]) -> Iterator[Refusal]:
    name, inner, offered = option["name"], option.get("options") or [], option.get("choices") or []
    if COMMAND_NAME.fullmatch(name) is None or name != name.lower():
        yield _form(f"name: {name[:40]!r} is not a lower-case word of 1 to 32 characters")
    if not 1 <= length(option.get("description")) <= 100:
        yield _form("description: 1 to 100 characters")
    if len(inner) > 25 or len(offered) > 25:
        yield _form("options, choices: must be 25 or fewer")
    if offered and option.get("autocomplete"):
        yield _form("autocomplete: not beside choices")
    required = [bool(one.get("required")) for one in inner]
    if required != sorted(required, reverse=True):
        yield _form("options: required ones come first")
    for one in inner:
        yield from _option(one)


def _size(option: Mapping[str, Any]) -> int:
    own = length(option["name"]) + length(option.get("description"))
    own += sum(length(str(c["name"])) + length(str(c["value"])) for c in option.get("choices") or ())
    return own + sum(_size(one) for one in option.get("options") or ())


def _form(message: str) -> Refusal:
    return Refusal(50035, f"Invalid Form Body: {message}")


MENTION = re.compile(r"@everyone|@here|<@!?\d+>|<@&\d+>")


def pings(body: Mapping[str, Any]) -> list[str]:
    """The mentions in the content that would reach somebody; embeds never do."""
    found = MENTION.findall(body.get("content") or "")
    allowed = body.get("allowed_mentions")
    if allowed is None:
        return found
    parse = set(allowed.get("parse") or ())
    kinds = {"@e": "everyone", "@h": "everyone", "<@&": "roles"}
    return [one for one in found if next((k for s, k in kinds.items() if one.startswith(s)), "users") in parse]
