"""The published contract: what a call may carry, from Slack's OpenAPI of 2021 and from what is newer than it.

Looks in DREAMBOT_CONTRACTS; without it only the newer part is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path("slack") / "openapi-2021" / "slack_web_openapi_v2.json"


@dataclass(frozen=True)
class Argument:
    """One argument of a method."""

    name: str
    type: str = "string"
    required: bool = False


def _arguments(required: str = "", optional: str = "") -> tuple[Argument, ...]:
    return (
        *(Argument(name, required=True) for name in required.split()),
        *(Argument(name) for name in optional.split()),
    )


# Methods and arguments that came after 2021, from Slack's method pages.
NEWER: Mapping[str, tuple[Argument, ...]] = {
    "apps.connections.open": (),
    "chat.postMessage": _arguments("", "metadata markdown_text"),
    "chat.update": _arguments("", "metadata markdown_text reply_broadcast file_ids"),
    "conversations.history": (Argument("include_all_metadata", "boolean"),),
    "conversations.replies": (Argument("include_all_metadata", "boolean"),),
    "conversations.open": (Argument("prevent_creation", "boolean"),),
    "files.getUploadURLExternal": (
        *_arguments("filename", "alt_txt snippet_type"),
        Argument("length", "integer", required=True),
    ),
    "files.completeUploadExternal": _arguments("files", "channel_id channels initial_comment thread_ts blocks"),
    "views.open": _arguments("", "interactivity_pointer"),
    "oauth.v2.access": _arguments("", "grant_type refresh_token"),
}


@cache
def published() -> Mapping[str, Any]:
    """The paths of the OpenAPI document; empty where it is not there."""
    file = Path(os.environ.get("DREAMBOT_CONTRACTS", "")) / FILE
    return dict(json.loads(file.read_text())["paths"]) if file.is_file() else {}


def known(method: str) -> bool:
    """Whether there is such a method."""
    return method in NEWER or f"/{method}" in published()


def problems(method: str, given: Mapping[str, Any]) -> list[str]:
    """What the contract has against a call, empty if nothing."""
    return [f"{method}: {problem}" for problem in _problems(method, given)]


def _problems(method: str, given: Mapping[str, Any]) -> Iterator[str]:
    old = {a.name: a for a in _from_spec(method)}
    allowed = old | {a.name: a for a in NEWER.get(method, ())}
    complete = bool(old) or method.startswith(("files.getUpload", "files.complete", "apps."))
    for name, value in given.items():
        if name not in allowed and complete:
            yield f"{name} is not an argument"
        elif name in allowed and not _fits(allowed[name].type, value):
            yield f"{name} is no {allowed[name].type}: {value!r}"
    for argument in allowed.values():
        if argument.required and given.get(argument.name) in (None, ""):
            yield f"{argument.name} is missing"


def _from_spec(method: str) -> Iterator[Argument]:
    for operation in published().get(f"/{method}", {}).values():
        for parameter in operation["parameters"]:
            if parameter["name"] != "token":
                yield Argument(parameter["name"], parameter.get("type", "string"), bool(parameter.get("required")))


def _fits(kind: str, value: Any) -> bool:
    text = str(value).lower()
    if kind == "boolean":
        return text in ("true", "false", "0", "1")
    if kind in ("integer", "number"):
        return text.replace(".", "", 1).isdigit()
    return isinstance(value, str | int | float | bool | list | dict)
