"""What arrives from Slack, looked at before anything reads it: a request of another shape is acknowledged and let go.

Slack signs what it sends, so this is no matter of trust but of what Slack may one day change: one line in the log says
what was odd, instead of a traceback somewhere in the middle. Knows the shapes that the listeners rely on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.response import SocketModeResponse

log = logging.getLogger(__name__)

LET_GO = "Slack sent a request of another shape, and it was let go: %s"

Shape = dict[str, Any]  # key to type, or to the shape below it; `key?` may be missing or null
PERSON: Shape = {"id": str, "team_id?": str}
ANYWHERE: Shape = {
    "team_id?": str,
    "team?": {"id": str},
    "enterprise_id?": str,
    "trigger_id?": str,
    "response_url?": str,
}
SLASH: Shape = {"team_id": str, "user_id": str, "channel_id": str, "trigger_id": str, "command": str, "text?": str}
ACTION: Shape = {"action_id": str, "block_id?": str, "value?": str, "type?": str}
MESSAGE: Shape = {"ts": str, "text?": str, "thread_ts?": str}
VIEW: Shape = {"id": str, "type": str, "callback_id": str, "private_metadata": str, "state": {"values": {}}}
EVENT: Shape = {"type": str, "user?": str, "channel?": str, "text?": str, "ts?": str, "thread_ts?": str, "tab?": str}
KINDS: Mapping[str, Shape] = {
    "block_actions": ANYWHERE | {"user": PERSON, "channel?": {"id": str}, "message?": {}},
    "view_submission": ANYWHERE | {"user": PERSON, "view": VIEW},
    "view_closed": ANYWHERE | {"user": PERSON, "view": VIEW},
    "message_action": ANYWHERE | {"user": PERSON, "callback_id": str, "message": MESSAGE, "channel": {"id": str}},
    "shortcut": ANYWHERE | {"user": PERSON, "callback_id": str},
    "event_callback": {"team_id": str, "enterprise_id?": str, "event": EVENT},
}
WRITTEN = (None, "file_share")  # subtypes of a message that a person has written, with or without a file beside it
NEEDED: Mapping[str, tuple[str, ...]] = {
    "app_mention": ("user", "channel", "ts"),
    "message": ("user", "channel", "ts"),  # where it is a person's, and new
    "app_home_opened": ("user",),
}


class Gate(AsyncApp):
    """bolt's app, behind the gate."""

    async def async_dispatch(self, req: AsyncBoltRequest) -> BoltResponse:
        """What is well-formed goes on to bolt, which looks at the signature first; HTTP hears 400 of the rest."""
        if (wrong := odd(req.body)) is None:
            return await super().async_dispatch(req)
        log.warning(LET_GO, wrong)
        return BoltResponse(status=200 if req.mode == "socket_mode" else 400)


class Socket(AsyncSocketModeHandler):
    """bolt's socket, which reads a request before the app sees it."""

    async def handle(self, client: Any, req: Any) -> None:
        """A body of which not even bolt can make a request is acknowledged, too."""
        if (wrong := odd(req.payload)) is None:
            await super().handle(client, req)
            return
        log.warning(LET_GO, wrong)
        await client.send_socket_mode_response(SocketModeResponse(envelope_id=req.envelope_id))


def odd(body: Any) -> str | None:
    """What is not as it should be in a request's body; None if all of it is, or if the kind is nobody's business."""
    if not isinstance(body, Mapping):
        return "no object"
    if "command" in body:
        return _odd(body, SLASH, "") or _unread(body)
    kind = body.get("type")
    if kind is None or not isinstance(kind, str):
        return None if body.get("ssl_check") else "neither a command nor a type"
    if kind not in KINDS:
        return _unread(body)
    wrong = _odd(body, KINDS[kind], "")
    if wrong is None and kind == "block_actions":
        wrong = _odd_actions(body.get("actions"))
    if wrong is None and kind == "event_callback":
        wrong = _odd_event(body["event"])
    return wrong or _unread(body)


def _unread(body: Mapping[str, Any]) -> str | None:
    """Why bolt cannot make a request of it."""
    try:
        AsyncBoltRequest(mode="socket_mode", body=dict(body))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return f"{type(error).__name__} in bolt"
    return None


def _odd(found: Any, shape: Shape, where: str) -> str | None:
    """The first key that is missing or of another type."""
    if not isinstance(found, Mapping):
        return f"{where or 'the body'} is no object"
    for name, wanted in shape.items():
        key, here = name.rstrip("?"), f"{where}.{name.rstrip('?')}".lstrip(".")
        value = found.get(key)
        if value is None:
            if name.endswith("?"):
                continue
            return f"{here} is missing"
        wrong = _odd(value, wanted, here) if isinstance(wanted, dict) else None
        if wrong is not None:
            return wrong
        if not isinstance(wanted, dict) and not isinstance(value, wanted):
            return f"{here} is no {wanted.__name__}"
    return None


def _odd_actions(actions: Any) -> str | None:
    if not isinstance(actions, list) or not actions:
        return "actions is no list with anything in it"
    return next((wrong for action in actions if (wrong := _odd(action, ACTION, "actions")) is not None), None)


def _odd_event(event: Mapping[str, Any]) -> str | None:
    if event["type"] == "message" and (event.get("subtype") not in WRITTEN or "bot_id" in event):
        return None
    needed = NEEDED.get(event["type"], ())
    return next((f"event.{key} is missing" for key in needed if not isinstance(event.get(key), str)), None)
