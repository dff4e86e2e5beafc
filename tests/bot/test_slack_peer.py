"""The peer refuses what Slack would refuse: each rule of the overlay against a request that breaks it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.bot.slack_stage import peer
from tests.fakes.slack import contract
from tests.fakes.slack.delivery import encoded
from tests.fakes.slack.driver import Slack
from tests.fakes.slack.workspace import ADA, ARCHIVED, BOT_TOKEN, GENERAL, PRIVATE, QUIET

PLAIN = {"type": "plain_text", "text": "x"}
BUTTON = {"type": "button", "text": PLAIN, "action_id": "a"}
DIVIDER = {"type": "divider"}
IMAGE = {"type": "image", "alt_text": "x", "image_url": "https://x.example/y.png"}


def text(length: int, kind: str = "plain_text") -> dict[str, str]:
    """A text object of a length."""
    return {"type": kind, "text": "x" * length}


def section(**more: Any) -> dict[str, Any]:
    """A section."""
    return {"type": "section", **more}


def actions(*elements: object) -> dict[str, Any]:
    """Actions."""
    return {"type": "actions", "elements": list(elements)}


def input_(**element: Any) -> dict[str, Any]:
    """An input block."""
    return {"type": "input", "label": PLAIN, "element": {"type": "plain_text_input", "action_id": "a"} | element}


ILLEGAL: dict[str, Any] = {
    "51 blocks": [DIVIDER] * 51,
    "unknown block": [{"type": "carousel"}],
    "no object": ["divider"],
    "no list": "divider",
    "long block_id": [DIVIDER | {"block_id": "x" * 256}],
    "block_id twice": [DIVIDER | {"block_id": "x"}] * 2,
    "too much in all": [section(text=text(3_000))] * 5,
    "empty section": [section()],
    "section without text": [section(text={"type": "plain_text", "text": ""})],
    "long section": [section(text=text(3_001))],
    "unknown text": [section(text=text(3, "html"))],
    "emoji in mrkdwn": [section(text=text(3, "mrkdwn") | {"emoji": True})],
    "11 fields": [section(fields=[PLAIN] * 11)],
    "long field": [section(fields=[text(2_001)])],
    "long header": [{"type": "header", "text": text(151)}],
    "header with markup": [{"type": "header", "text": text(3, "mrkdwn")}],
    "image without alt": [{key: value for key, value in IMAGE.items() if key != "alt_text"}],
    "long alt": [IMAGE | {"alt_text": "x" * 2_001}],
    "long image_url": [IMAGE | {"image_url": "https://" + "x" * 3_000}],
    "two image sources": [IMAGE | {"slack_file": {"id": "F1"}}],
    "no image source": [{"type": "image", "alt_text": "x"}],
    "two file names": [{"type": "image", "alt_text": "x", "slack_file": {"id": "F1", "url": "https://x"}}],
    "long image title": [IMAGE | {"title": text(2_001)}],
    "unknown file": [{"type": "image", "alt_text": "x", "slack_file": {"id": "F404"}}],
    "no actions": [actions()],
    "26 actions": [actions(*[BUTTON | {"action_id": f"{n}"} for n in range(26)])],
    "unknown element": [actions({"type": "slider"})],
    "action_id twice": [actions(BUTTON, BUTTON)],
    "long action_id": [actions(BUTTON | {"action_id": "x" * 256})],
    "long button": [actions(BUTTON | {"text": text(76)})],
    "button with markup": [actions(BUTTON | {"text": text(3, "mrkdwn")})],
    "long value": [actions(BUTTON | {"value": "x" * 2_001})],
    "unknown style": [actions(BUTTON | {"style": "pink"})],
    "empty context": [{"type": "context", "elements": []}],
    "11 in a context": [{"type": "context", "elements": [PLAIN] * 11}],
    "accessory of no kind": [section(text=PLAIN, accessory={"type": "slider"})],
}
ILLEGAL_VIEWS: dict[str, Any] = {
    "101 blocks": {"blocks": [DIVIDER] * 101},
    "long title": {"title": text(25)},
    "long submit": {"submit": text(25)},
    "long close": {"close": text(25)},
    "no submit": {"submit": None, "blocks": [input_()]},
    "long private_metadata": {"private_metadata": "x" * 3_001},
    "long callback_id": {"callback_id": "x" * 256},
    "home as modal": {"type": "home"},
    "unknown type": {"type": "popup"},
    "long first value": {"blocks": [input_(initial_value="x" * 3_001)]},
    "max_length": {"blocks": [input_(max_length=3_001)]},
    "long label": {"blocks": [input_() | {"label": text(2_001)}]},
    "long hint": {"blocks": [input_() | {"hint": text(2_001)}]},
    "101 options": {
        "blocks": [input_() | {"element": {"type": "static_select", "options": [{"text": PLAIN, "value": "v"}] * 101}}]
    },
    "long option": {
        "blocks": [input_() | {"element": {"type": "static_select", "options": [{"text": text(76), "value": "v"}]}}]
    },
}
MODAL = {"type": "modal", "title": PLAIN, "submit": PLAIN, "blocks": [DIVIDER]}


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    """A peer."""
    async with peer() as running:
        yield running


@pytest.fixture
async def client(slack: Slack) -> AsyncIterator[AsyncWebClient]:
    """The real client, pointed at it."""
    async with aiohttp.ClientSession() as session:
        yield AsyncWebClient(BOT_TOKEN, base_url=slack.api, session=session, retry_handlers=[])


async def refused(call: Any) -> str:
    """The error that a call is refused with."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def trigger(slack: Slack) -> str:
    """A fresh trigger_id, as an unanswered slash command of somebody would bring it."""
    return str((await slack.control("trigger"))["trigger_id"])


async def test_every_illegal_block_is_refused(slack: Slack, client: AsyncWebClient) -> None:
    """Each of these comes back as invalid blocks, in a new message and in an edit, and leaves a problem behind."""
    good = await client.chat_postMessage(channel=GENERAL, text="x")
    for name, blocks in ILLEGAL.items():
        error = await refused(client.chat_postMessage(channel=GENERAL, text="x", blocks=blocks))
        assert error in ("invalid_blocks", "msg_blocks_too_long"), name
        await refused(client.chat_update(channel=GENERAL, ts=good["ts"], text="x", blocks=blocks))
    assert len((await slack.state())["channels"][GENERAL]) == 1
    assert len(await slack.problems()) == 2 * len(ILLEGAL) - 2  # an unknown file is no broken rule: it may not be ready


async def test_every_illegal_view_is_refused(slack: Slack, client: AsyncWebClient) -> None:
    """Each of these opens nothing; so does a modal as a home tab."""
    for name, change in ILLEGAL_VIEWS.items():
        view = {key: value for key, value in (MODAL | change).items() if value is not None}
        asked = client.views_open(trigger_id=await trigger(slack), view=view)
        assert await refused(asked) == "invalid_arguments", name
    assert await refused(client.views_publish(user_id=ADA, view=MODAL)) == "invalid_arguments"


async def test_a_trigger_opens_one_view_within_three_seconds(slack: Slack, client: AsyncWebClient) -> None:
    """Used, too old or invented: nothing opens."""
    fresh, old = await trigger(slack), await trigger(slack)
    await client.views_open(trigger_id=fresh, view=MODAL)
    assert await refused(client.views_open(trigger_id=fresh, view=MODAL)) == "invalid_trigger_id"
    await slack.control("advance", seconds=3.5)
    assert await refused(client.views_open(trigger_id=old, view=MODAL)) == "expired_trigger_id"
    assert await refused(client.views_open(trigger_id="1.2", view=MODAL)) == "invalid_trigger_id"


async def test_a_response_url_takes_five_answers_within_thirty_minutes(slack: Slack) -> None:
    """The sixth is 404, and so is the first after half an hour."""
    url = (await slack.control("trigger"))["response_url"]
    late = (await slack.control("trigger"))["response_url"]
    async with aiohttp.ClientSession() as session:
        codes = [(await session.post(url, json={"text": "x"})).status for _ in range(6)]
        await slack.control("advance", seconds=1_801)
        codes.append((await session.post(late, json={"text": "x"})).status)
        blocks = await session.post((await slack.control("trigger"))["response_url"], json={"blocks": [{"type": "x"}]})
    assert codes == [200] * 5 + [404, 404]
    assert blocks.status == 404


async def test_messages_obey_their_own_rules(slack: Slack, client: AsyncWebClient) -> None:
    """No text, too much of it, metadata of no form, a thread of nothing, somebody else's message, a closed channel."""
    said = await slack.control("message", user=ADA, channel=GENERAL, text="hello")
    post, update = client.chat_postMessage, client.chat_update
    assert (await slack.call("chat.postMessage", BOT_TOKEN, channel=GENERAL))["error"] == "no_text"
    assert await refused(post(channel=GENERAL, text="x" * 40_001)) == "msg_too_long"
    assert await refused(post(channel=GENERAL, text="x", metadata={"event_type": 7})) == "invalid_metadata_format"
    assert await refused(post(channel=GENERAL, text="x", thread_ts="1.000000")) == "thread_not_found"
    assert await refused(update(channel=GENERAL, ts=said["ts"], text="x")) == "cant_update_message"
    assert await refused(update(channel=GENERAL, ts="1.0", text="x")) == "message_not_found"
    for channel, error in ((ARCHIVED, "is_archived"), (PRIVATE, "channel_not_found"), (QUIET, "not_in_channel")):
        assert await refused(post(channel=channel, text="x")) == error
    assert await refused(client.chat_postEphemeral(channel=GENERAL, user="U404", text="x")) == "user_not_in_channel"
    assert await refused(client.users_info(user="U404")) == "user_not_found"


async def test_a_wrong_token_is_refused(slack: Slack) -> None:
    """And an app token is not a bot token."""
    assert (await slack.call("auth.test", "xoxb-guessed"))["error"] == "invalid_auth"
    assert (await slack.call("apps.connections.open", BOT_TOKEN))["error"] == "invalid_auth"
    assert (await slack.call("no.such.method", BOT_TOKEN))["error"] == "unknown_method"


async def test_a_file_is_shown_only_when_it_is_ready(slack: Slack, client: AsyncWebClient) -> None:
    """`ok` from the upload is not enough; a file shared into a channel appears there later, too."""
    answer = await client.files_upload_v2(filename="x.png", content=b"png")
    file = answer["files"][0]["id"]
    blocks = [{"type": "image", "alt_text": "x", "slack_file": {"id": file}}]
    assert await refused(client.chat_postMessage(channel=GENERAL, text="x", blocks=blocks)) == "invalid_blocks"
    assert not (await client.files_info(file=file))["file"]["mimetype"]
    assert (await client.files_info(file=file))["file"]["mimetype"] == "image/png"
    await client.chat_postMessage(channel=GENERAL, text="x", blocks=blocks)
    shared = (await client.files_upload_v2(filename="y.png", content=b"png", channel=GENERAL))["files"][0]["id"]
    assert not (await client.files_info(file=shared))["file"]["shares"]
    assert GENERAL in (await client.files_info(file=shared))["file"]["shares"]["public"]
    short = await client.files_getUploadURLExternal(filename="z.png", length=5)
    assert await refused(client.files_completeUploadExternal(files=[{"id": short["file_id"]}])) == "file_not_found"


async def test_what_the_published_contract_does_not_have_is_a_problem(slack: Slack, client: AsyncWebClient) -> None:
    """An argument that no method page knows, one that is missing, one of the wrong type."""
    if not contract.published():
        pytest.skip(f"no published contract: {os.environ.get('DREAMBOT_CONTRACTS')} (DREAMBOT_CONTRACTS)")
    await client.api_call("chat.postMessage", json={"channel": GENERAL, "text": "x", "colour": "red"})
    await refused(client.api_call("chat.postMessage", json={"text": "x"}))
    await client.api_call("conversations.history", params={"channel": GENERAL, "limit": "1e3"})
    found = await slack.problems()
    assert found[0] == "chat.postMessage: colour is not an argument"
    assert found[1] == "chat.postMessage: channel is missing"
    assert found[2] == "conversations.history: limit is no integer: '1e3'"


async def test_the_peers_answers_have_the_keys_of_recorded_ones(slack: Slack, client: AsyncWebClient) -> None:
    """Whatever the peer answers, Slack's recorded answers have too."""
    folder = Path(os.environ["DREAMBOT_CONTRACTS"]) / "slack" / "samples"
    if not folder.is_dir():
        pytest.skip(f"no recorded answers: {folder} (DREAMBOT_CONTRACTS) is not a folder")
    post = await client.chat_postMessage(channel=GENERAL, text="x")
    upload = await client.files_getUploadURLExternal(filename="x.png", length=3)
    answers = {
        "auth.test": await client.auth_test(),
        "chat.postEphemeral": await client.chat_postEphemeral(channel=GENERAL, user=ADA, text="x"),
        "chat.postMessage": post,
        "chat.update": await client.chat_update(channel=GENERAL, ts=post["ts"], text="y"),
        "files.getUploadURLExternal": upload,
        "files.info": await client.files_info(file=upload["file_id"]),
        "users.info": await client.users_info(user=ADA),
        "views.open": await client.views_open(trigger_id=await trigger(slack), view=MODAL),
    }
    for method, answer in answers.items():
        recorded = json.loads((folder / f"{method}.json").read_text())
        assert set(answer.data) <= set(recorded), method
        for part in {name for name, value in answer.data.items() if isinstance(value, dict)}:
            assert set(answer.data[part]) - {"edited"} <= set(recorded[part]), (method, part)


def test_deliveries_are_encoded_as_slack_encodes_them() -> None:
    """Commands as a form, interactions as JSON in a form, events as JSON."""
    assert encoded("slash", {"text": "a b"}) == (b"text=a+b", "application/x-www-form-urlencoded")
    assert encoded("interactive", {"a": 1})[0].startswith(b"payload=%7B")
    assert encoded("event", {"a": 1}) == (b'{"a": 1}', "application/json")
