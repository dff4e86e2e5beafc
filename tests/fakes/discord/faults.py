"""Fault switches: what a test has told the peer to do to one of its next requests."""

from __future__ import annotations

import json
from dataclasses import dataclass

from aiohttp import web

OPERATIONS = {
    ("POST", "/interactions/{interaction_id}/{interaction_token}/callback"): "callback",
    ("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"): "edit_original",
    ("GET", "/webhooks/{webhook_id}/{webhook_token}/messages/@original"): "get_original",
    ("POST", "/webhooks/{webhook_id}/{webhook_token}"): "followup",
    ("POST", "/channels/{channel_id}/messages"): "create",
    ("PATCH", "/channels/{channel_id}/messages/{message_id}"): "edit",
    ("PUT", "/applications/{application_id}/commands"): "commands",
}


@dataclass
class Fault:
    """What happens to the next `times` requests of an operation whose body holds `about`.

    kind: `before` answers `status` and stores nothing; `after` stores, and answers `status` all the same; `slow` waits
    `seconds` first; `hang` stores and never answers; 429 with `via` is the platform's, without it a proxy's.
    """

    operation: str
    kind: str
    status: int = 502
    times: int = 1
    seconds: float = 0.0
    via: bool = True
    everywhere: bool = False  # a global rate limit
    about: str = ""  # a piece of the body's JSON


class Faults:
    """The switches that are on."""

    def __init__(self) -> None:
        self.on: list[Fault] = []

    def take(self, operation: str | None, body: object) -> Fault | None:
        """The fault for this request, used up by it."""
        for fault in self.on:
            if fault.operation == operation and fault.times > 0 and fault.about in json.dumps(body):
                fault.times -= 1
                return fault
        return None


def answer(fault: Fault) -> web.Response:
    """The answer that a fault gives."""
    if fault.status == 429:
        body = {"message": "You are being rate limited.", "retry_after": fault.seconds, "global": fault.everywhere}
        headers = {"Retry-After": str(fault.seconds), **({"Via": "1.1 peer"} if fault.via else {})}
        return plain(body, 429, headers)
    if fault.status == 413:
        return plain({"message": "Request entity too large", "code": 40005}, 413)
    return plain({"message": "a fault", "code": 0}, fault.status)


def plain(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON with a content type that names no character set, as the platform sends it."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json", **(headers or {})}
    )
