"""Requests against Discord's published OpenAPI: a count of problems that must stay zero.

One known difference is smoothed over: the document types an attachment's id as a string, the platform takes numbers
too, and discord.py sends numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

NAME = "urn:discord"
BASE = "/api/v10"


def document() -> Path:
    """Where the published document is expected."""
    return Path(os.environ.get("DREAMBOT_CONTRACTS", "")) / "discord" / "openapi.json"


class Contract:
    """The published operations; every request is well-formed where the document is absent."""

    def __init__(self, path: Path) -> None:
        self._api: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.is_file() else None
        contents = self._api or {}
        self._registry = Registry().with_resource(NAME, Resource(contents=contents, specification=DRAFT202012))
        self._validator = cache(self._make)

    @property
    def present(self) -> bool:
        """Whether there is a document to check against."""
        return self._api is not None

    def problems(self, method: str, template: str, query: Mapping[str, str], body: Any) -> list[str]:
        """What is wrong with a request to this path template (`/channels/{channel_id}/messages`)."""
        if self._api is None:
            return []
        operation = self._api["paths"].get(template, {}).get(method.lower())
        if operation is None:
            return [f"no operation {method} {template}"]
        known = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
        found = [f"no query parameter {name}" for name in query if name not in known]
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            return found if body is None else [*found, "no body is expected"]
        if body is None:
            return [*found, "a body is expected"] if operation["requestBody"].get("required") else found
        error = best_match(self._validator(method.lower(), template).iter_errors(_smooth(body)))
        return found if error is None else [*found, f"{error.json_path}: {error.message[:300]}"]

    def _make(self, method: str, template: str) -> Draft202012Validator:
        pointer = template.replace("~", "~0").replace("/", "~1")
        pointer = pointer.replace("{", "%7B").replace("}", "%7D")
        ref = f"{NAME}#/paths/{pointer}/{method}/requestBody/content/application~1json/schema"
        return Draft202012Validator({"$ref": ref}, registry=self._registry)


def _smooth(body: Any) -> Any:
    """The body with attachment ids as strings."""
    if isinstance(body, list):
        return [_smooth(item) for item in body]
    if not isinstance(body, dict):
        return body
    smooth = {key: _smooth(value) for key, value in body.items()}
    for attachment in smooth.get("attachments") or ():
        if isinstance(attachment, dict) and isinstance(attachment.get("id"), int):
            attachment["id"] = str(attachment["id"])
    return smooth
