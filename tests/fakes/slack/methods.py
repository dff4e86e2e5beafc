"""The methods of the Web API, each with what Slack would refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from tests.fakes.slack import limits
from tests.fakes.slack.faults import Faults
from tests.fakes.slack.workspace import (
    APP,
    BOT,
    BOT_USER,
    CLIENT_ID,
    CLIENT_SECRET,
    CODE,
    INSTALLED_TOKEN,
    TEAM,
    TEAM_NAME,
    Channel,
    File,
    Workspace,
)

Given = Mapping[str, Any]
Answer = dict[str, Any]


class Refused(Exception):
    """`ok` is false. `ours` says that the caller broke a rule, and did not merely meet a closed door."""

    def __init__(self, error: str, details: Sequence[str] = (), *, ours: bool = False) -> None:
        super().__init__(": ".join([error, *details]))
        self.error, self.details, self.ours = error, list(details), ours

    def answer(self) -> Answer:
        """As it goes over the wire."""
        more = {"errors": self.details, "response_metadata": {"messages": [f"[ERROR] {d}" for d in self.details]}}
        return {"ok": False, "error": self.error} | (more if self.details else {})


async def auth_test(_workspace: Workspace, _given: Given, _faults: Faults) -> Answer:
    """Who the token is."""
    return {
        "url": "https://dreamers.example.com/",
        "team": TEAM_NAME,
        "user": "dreambot",
        "team_id": TEAM,
        "user_id": BOT_USER,
        "bot_id": BOT,
        "is_enterprise_install": False,
    }


async def connections_open(workspace: Workspace, _given: Given, _faults: Faults) -> Answer:
    """Where a socket may be opened."""
    return {"url": workspace.base.replace("http://", "ws://") + f"/link/?ticket={workspace.name('K')}"}


async def oauth_access(_workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A code into a token."""
    if (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        raise Refused("invalid_client_id")
    if given.get("code") != CODE:
        raise Refused("invalid_code")
    return {
        "app_id": APP,
        "authed_user": {"id": "U0ADA"},
        "scope": "chat:write",
        "token_type": "bot",
        "access_token": INSTALLED_TOKEN,
        "bot_user_id": BOT_USER,
        "team": {"id": TEAM, "name": TEAM_NAME},
        "enterprise": None,
        "is_enterprise_install": False,
    }


async def users_info(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A person."""
    if given.get("user") not in workspace.users:
        raise Refused("user_not_found")
    return {"user": workspace.users[given["user"]]}


async def post_message(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A new message."""
    channel = _open_to_us(workspace, given)
    _check(workspace, given)
    thread = given.get("thread_ts")
    if thread is not None and thread not in channel.messages:
        raise Refused("thread_not_found", ours=True)
    message = _message(workspace, given) | ({"thread_ts": thread} if thread else {})
    channel.messages[message["ts"]] = message
    _share(workspace, channel, message)
    await workspace.ledger.add("post", channel=channel.id, ts=message["ts"], message=message)
    return {"channel": channel.id, "ts": message["ts"], "message": message}


async def update(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """Another content for a message of ours."""
    channel = _open_to_us(workspace, given)
    message = channel.messages.get(given.get("ts", ""))
    if message is None:
        raise Refused("message_not_found")
    if message.get("bot_id") != BOT:
        raise Refused("cant_update_message", ours=True)
    _check(workspace, given)
    fresh = {name: given[name] for name in ("text", "blocks", "metadata") if name in given}
    message |= fresh | {"edited": {"user": BOT_USER, "ts": workspace.clock.ts()}}
    _share(workspace, channel, message)
    await workspace.ledger.add("update", channel=channel.id, ts=message["ts"], message=dict(message))
    told = {name: value for name, value in message.items() if name != "ts"}
    return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": told}


async def delete(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A message of ours is gone."""
    channel = _open_to_us(workspace, given)
    if channel.messages.pop(given.get("ts", ""), None) is None:
        raise Refused("message_not_found")
    await workspace.ledger.add("delete", channel=channel.id, ts=given["ts"])
    return {"channel": channel.id, "ts": given["ts"]}


async def post_ephemeral(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """Words that one person sees."""
    channel = _open_to_us(workspace, given)
    if given.get("user") not in workspace.users:
        raise Refused("user_not_in_channel")
    _check(workspace, given)
    ts = workspace.clock.ts()
    await workspace.ledger.add("ephemeral", channel=channel.id, user=given["user"], message=_shown(given), by="api")
    return {"message_ts": ts}


async def conversations_open(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """The direct conversation with a person."""
    if given.get("users") not in workspace.users:
        raise Refused("user_not_found")
    return {"channel": {"id": workspace.direct(given["users"]).id}}


async def history(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """Messages of a channel, latest first; only where we are."""
    channel = _channel(workspace, given)
    if not channel.member and channel.direct is None:
        raise Refused("not_in_channel")
    since = float(given.get("oldest") or 0)
    found = [m for ts, m in channel.messages.items() if float(ts) >= since and "thread_ts" not in m]
    return {
        "messages": [_told(m, given) for m in reversed(found)][: int(float(given.get("limit", 100)))],
        "has_more": False,
    }


async def replies(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """Messages of a thread, oldest first."""
    channel, root = _channel(workspace, given), given.get("ts")
    if root not in channel.messages:
        raise Refused("thread_not_found")
    found = [m for ts, m in channel.messages.items() if root in (ts, m.get("thread_ts"))]
    return {"messages": [_told(m, given) for m in found], "has_more": False}


async def views_open(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A modal, by a trigger that is fresh and unused."""
    until = workspace.triggers.pop(str(given.get("trigger_id")), None)
    if until is None:
        raise Refused("invalid_trigger_id", ours=True)
    if workspace.clock.now() > until:
        raise Refused("expired_trigger_id", ours=True)
    view = _view(workspace, given, "modal")
    workspace.views[view["id"]] = view
    await workspace.ledger.add("view", view=view)
    return {"view": view}


async def views_publish(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """Somebody's home tab."""
    if given.get("user_id") not in workspace.users:
        raise Refused("user_not_found")
    view = _view(workspace, given, "home")
    workspace.homes[given["user_id"]] = view
    await workspace.ledger.add("home", user=given["user_id"], view=view)
    return {"view": view}


async def upload_url(workspace: Workspace, given: Given, faults: Faults) -> Answer:
    """Where the bytes go."""
    if int(given.get("length") or 0) <= 0:
        raise Refused("invalid_arguments", ["length must be positive"], ours=True)
    never = faults.take("files.completeUploadExternal", "never_ready") is not None
    file = File(workspace.name("F"), str(given["filename"]), int(given["length"]), polls_left=10**6 if never else 2)
    workspace.files[file.id] = file
    return {"upload_url": f"{workspace.base}/upload/{file.id}", "file_id": file.id}


async def complete_upload(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """The bytes are there; processing and sharing happen later, whatever the answer says."""
    for named in given.get("files") or ():
        file = workspace.files.get(named["id"])
        if file is None or len(file.content) != file.length:
            raise Refused("file_not_found", ours=True)
        file.complete, file.title = True, named.get("title", file.name)
        if given.get("channel_id"):
            file.share_with = dict(given)
    return {"files": [_file(workspace.files[named["id"]]) for named in given.get("files") or ()]}


async def files_info(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A file as it stands; asking makes time pass for it."""
    file = workspace.files.get(str(given.get("file")))
    if file is None:
        raise Refused("file_not_found", ours=True)
    file.polls_left -= 1
    if file.ready and file.share_with:
        asked, file.share_with = file.share_with, {}
        channel = _channel(workspace, {"channel": asked["channel_id"]})
        message = _message(workspace, {"text": asked.get("initial_comment", "")}) | {"files": [_file(file)]}
        channel.messages[message["ts"]] = message
        file.shares[channel.id] = message["ts"]
        await workspace.ledger.add("post", channel=channel.id, ts=message["ts"], message=message)
    return {"file": _file(file)}


async def files_delete(workspace: Workspace, given: Given, _faults: Faults) -> Answer:
    """A file is gone, and no message shows it any more."""
    if workspace.files.pop(str(given.get("file")), None) is None:
        raise Refused("file_not_found")
    await workspace.ledger.add("file deleted", file=given["file"])
    return {}


def _file(file: File) -> Answer:
    kind = ("image/png", "png", "PNG") if file.ready else ("", "", "")
    shared = {"public": {channel: [{"ts": ts}] for channel, ts in file.shares.items()}} if file.shares else {}
    return {
        "id": file.id,
        "name": file.name,
        "title": file.title,
        "mimetype": kind[0],
        "filetype": kind[1],
        "pretty_type": kind[2],
        "size": file.length,
        "user": BOT_USER,
        "shares": shared,
        "channels": list(file.shares),
    }


def _channel(workspace: Workspace, given: Given) -> Channel:
    name = str(given.get("channel", ""))
    if name in workspace.users:
        return workspace.direct(name)
    if name not in workspace.channels:
        raise Refused("channel_not_found")
    return workspace.channels[name]


def _open_to_us(workspace: Workspace, given: Given) -> Channel:
    channel = _channel(workspace, given)
    if channel.archived:
        raise Refused("is_archived")
    if channel.private and not channel.member:
        raise Refused("channel_not_found")  # as Slack says of a private channel without us
    if not channel.member and channel.direct is None:
        raise Refused("not_in_channel")
    return channel


def _check(workspace: Workspace, given: Given) -> None:
    """What every message must obey."""
    text, blocks = given.get("text") or "", given.get("blocks")
    if not text and not blocks:
        raise Refused("no_text", ours=True)
    if len(text) > limits.TEXT:
        raise Refused("msg_too_long", ours=True)
    if blocks is not None:
        problems = limits.of_blocks(blocks)
        if "msg_blocks_too_long" in problems:
            raise Refused("msg_blocks_too_long", ours=True)
        if problems:
            raise Refused("invalid_blocks", problems, ours=True)
        _check_files(workspace, blocks)
    if "metadata" in given and not _is_metadata(given["metadata"]):
        raise Refused("invalid_metadata_format", ours=True)


def _check_files(workspace: Workspace, blocks: object) -> None:
    for name in limits.files(blocks):
        file = workspace.files.get(name)
        if file is None or not file.ready:
            raise Refused("invalid_blocks", ["invalid slack file [json-pointer:/blocks/0/slack_file]"])


def _is_metadata(metadata: object) -> bool:
    return (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    )


def _message(workspace: Workspace, given: Given) -> Answer:
    made = {"type": "message", "ts": workspace.clock.ts(), "user": BOT_USER, "bot_id": BOT, "app_id": APP, "team": TEAM}
    return made | {"text": given.get("text", ""), "blocks": given.get("blocks", [])} | _kept(given)


def _kept(given: Given) -> Answer:
    return {"metadata": given["metadata"]} if "metadata" in given else {}


def _shown(given: Given) -> Answer:
    return {"text": given.get("text", ""), "blocks": given.get("blocks", [])}


def _told(message: Answer, given: Given) -> Answer:
    with_metadata = str(given.get("include_all_metadata", "")).lower() in ("1", "true")
    return {name: value for name, value in message.items() if name != "metadata" or with_metadata}


def _share(workspace: Workspace, channel: Channel, message: Answer) -> None:
    for name in limits.files(message["blocks"]):
        workspace.files[name].shares[channel.id] = message["ts"]


def _view(workspace: Workspace, given: Given, kind: str) -> Answer:
    view = given.get("view")
    problems = limits.of_view(view)
    if problems or not isinstance(view, dict) or view["type"] != kind:
        raise Refused("invalid_arguments", problems or [f"this takes a {kind}"], ours=True)
    _check_files(workspace, view["blocks"])
    return view | {"id": workspace.name("V"), "team_id": TEAM, "hash": workspace.name("h"), "bot_id": BOT}


METHODS: Mapping[str, Callable[[Workspace, Given, Faults], Awaitable[Answer]]] = {
    "apps.connections.open": connections_open,
    "auth.test": auth_test,
    "chat.delete": delete,
    "chat.postEphemeral": post_ephemeral,
    "chat.postMessage": post_message,
    "chat.update": update,
    "conversations.history": history,
    "conversations.open": conversations_open,
    "conversations.replies": replies,
    "files.completeUploadExternal": complete_upload,
    "files.delete": files_delete,
    "files.getUploadURLExternal": upload_url,
    "files.info": files_info,
    "oauth.v2.access": oauth_access,
    "users.info": users_info,
    "views.open": views_open,
    "views.publish": views_publish,
}
