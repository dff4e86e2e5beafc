"""The peer refuses what the platform would refuse: one illegal request a rule, over HTTP, and nothing is stored."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.fakes.discord.peer import ADA, Peer, open_peer
from tests.fakes.discord.world import APP, CHANNEL, FOREIGN_CHANNEL, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORM, EMPTY, LARGE, MANY = 50035, 50006, 40005, 30015


def button(number: int = 0, **more: Any) -> dict[str, Any]:
    """A button that is in order."""
    return {"type": 2, "style": 2, "label": "Press", "custom_id": f"v1:show:{number}", **more}


def row(*parts: dict[str, Any]) -> dict[str, Any]:
    """An action row."""
    return {"type": 1, "components": list(parts)}


def embeds(**embed: Any) -> dict[str, Any]:
    """A message of one embed."""
    return {"embeds": [embed]}


def option(**more: Any) -> dict[str, Any]:
    """An option of a command."""
    return {"type": 3, "name": "prompt", "description": "Words.", **more}


def command(**more: Any) -> dict[str, Any]:
    """A command that is in order."""
    return {"type": 1, "name": "dream", "description": "Dream.", **more}


MESSAGES = [
    ({"content": "x" * 2_001}, FORM),
    ({"content": "🍋" * 1_001}, FORM),
    ({}, EMPTY),
    ({"content": "x", "nonce": "n" * 26}, FORM),
    ({"embeds": [{"title": "x"}] * 11}, FORM),
    (embeds(title="x" * 257), FORM),
    (embeds(description="x" * 4_097), FORM),
    (embeds(footer={"text": "x" * 2_049}), FORM),
    (embeds(author={"name": "x" * 257}), FORM),
    (embeds(fields=[{"name": "n", "value": "v"}] * 26), FORM),
    (embeds(fields=[{"name": "n" * 257, "value": "v"}]), FORM),
    (embeds(fields=[{"name": "n", "value": "v" * 1_025}]), FORM),
    (embeds(fields=[{"name": "n", "value": ""}]), FORM),
    ({"embeds": [{"description": "x" * 3_001}, {"description": "x" * 3_000}]}, FORM),
    ({"components": [row(button(n)) for n in range(6)]}, FORM),
    ({"components": [row(*(button(n) for n in range(6)))]}, FORM),
    ({"components": [row()]}, FORM),
    ({"components": [button()]}, FORM),
    ({"components": [row(button(), button())]}, FORM),
    ({"components": [row(button(custom_id="x" * 101))]}, FORM),
    ({"components": [row(button(custom_id=""))]}, FORM),
    ({"components": [row(button(label="x" * 81))]}, FORM),
    ({"components": [row(button(label=""))]}, FORM),
    ({"components": [row(button(style=5))]}, FORM),
    ({"components": [row({"type": 2, "style": 2, "label": "No id"})]}, FORM),
    ({"components": [row({"type": 3, "custom_id": "s", "options": []})]}, FORM),
    ({"flags": 1 << 15, "components": [row(*(button(5 * r + n) for n in range(5))) for r in range(8)]}, FORM),
    ({"flags": 1 << 15, "content": "x", "components": [row(button())]}, FORM),
    ({"content": "x", "attachments": [{"id": 0, "filename": "a.png"}]}, FORM),
]
FILES = [
    ([("a.png", 10)] * 11, MANY, 400),
    ([("a.png", (10 << 20) + 1)], LARGE, 413),
    ([("a.png", 9 << 20)] * 3, LARGE, 413),
    ([("x" * 1_025, 10)], FORM, 400),
    ([("../a.png", 10)], FORM, 400),
]
COMMANDS = [
    [command(name="Dream")],
    [command(name="a dream")],
    [command(name="x" * 33)],
    [command(description="")],
    [command(description="x" * 101)],
    [command(), command()],
    [command(name=f"c{n}") for n in range(101)],
    [{"type": 3, "name": f"Menu {n}"} for n in range(16)],
    [{"type": 3, "name": "Menu", "description": "none is allowed"}],
    [command(options=[option(name=f"o{n}") for n in range(26)])],
    [command(options=[option(choices=[{"name": f"{n}", "value": f"{n}"} for n in range(26)])])],
    [command(options=[option(choices=[{"name": "a", "value": "a"}], autocomplete=True)])],
    [command(options=[option(), option(name="later", required=True)])],
    [command(options=[option(name=f"o{n}", choices=[{"name": "x" * 90, "value": "v"}] * 25) for n in range(4)])],
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer() -> AsyncIterator[Peer]:
    """One peer for all."""
    async with open_peer() as made:
        yield made


async def ask(
    peer: Peer, method: str, path: str, body: Any, files: list[tuple[str, int]] | None = None, token: str = TOKEN
) -> tuple[int, Any]:
    """One request as a bot makes it; status and answer."""
    headers = {"Authorization": f"Bot {token}"}
    data: Any = None
    if files is not None:
        data = aiohttp.FormData(quote_fields=False)
        data.add_field("payload_json", json.dumps(body))
        for n, (name, size) in enumerate(files):
            data.add_field(f"files[{n}]", io.BytesIO(b"x" * size), filename=name)
    given = {"data": data} if files is not None else {"json": body}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{peer.base}/api/v10{path}", headers=headers, **given) as response,
    ):
        return response.status, await response.json() if response.status != 204 else None


async def refused(peer: Peer, method: str, path: str, body: Any, **how: Any) -> tuple[int, int]:
    """Status and code of a refusal that left nothing behind."""
    before = (await peer.state())["messages"]
    status, answer = await ask(peer, method, path, body, **how)
    assert (await peer.state())["messages"] == before
    return status, answer["code"]


@pytest.mark.parametrize(("body", "code"), MESSAGES)
async def test_a_message_beyond_a_limit(peer: Peer, body: dict[str, Any], code: int) -> None:
    """Lengths, counts, sums, ids: refused."""
    assert await refused(peer, "POST", f"/channels/{CHANNEL}/messages", body) == (400, code)


@pytest.mark.parametrize(("files", "code", "status"), FILES)
async def test_files_beyond_a_limit(peer: Peer, files: list[tuple[str, int]], code: int, status: int) -> None:
    """Number, size, sum of sizes and names of files: refused."""
    assert await refused(peer, "POST", f"/channels/{CHANNEL}/messages", {}, files=files) == (status, code)


@pytest.mark.parametrize("wanted", COMMANDS)
async def test_commands_beyond_a_limit(peer: Peer, wanted: list[dict[str, Any]]) -> None:
    """Names, descriptions, counts and sizes of commands: refused."""
    status, code = await refused(peer, "PUT", f"/applications/{APP}/commands", wanted)
    assert (status, code) in ((400, FORM), (400, 30032))


async def test_a_stranger(peer: Peer) -> None:
    """Without the bot's token nothing is done."""
    path = f"/channels/{CHANNEL}/messages"
    assert await refused(peer, "POST", path, {"content": "x"}, token="another") == (401, 0)


async def test_places_where_the_bot_is_not(peer: Peer) -> None:
    """No message in a foreign or unknown channel, no edit of an unknown message."""
    body = {"content": "x"}
    assert await refused(peer, "POST", f"/channels/{FOREIGN_CHANNEL}/messages", body) == (403, 50001)
    assert await refused(peer, "POST", "/channels/299/messages", body) == (404, 10003)
    assert await refused(peer, "PATCH", f"/channels/{CHANNEL}/messages/1", body) == (404, 10008)


async def act(peer: Peer, kind: str = "command", **how: Any) -> tuple[str, str]:
    """Somebody uses a command, with a listening session; callback path and webhook path."""
    await ask(peer, "PUT", f"/applications/{APP}/commands", [command(options=[option()])])
    await listen(peer)
    about = {"kind": kind, "name": "dream", "user": ADA, "options": {"prompt": "x"}, **how}
    made = await peer.control("act", **about)
    hook = f"/webhooks/{APP}/{made['token']}"
    return f"/interactions/{made['id']}/{made['token']}/callback", hook


async def listen(peer: Peer) -> None:
    """A session that takes events and never reads them."""
    if (await peer.state())["sessions"]:
        return
    session = aiohttp.ClientSession()
    socket = await session.ws_connect(f"{peer.base.replace('http', 'ws')}/gateway")
    await socket.send_json({"op": 2, "d": {"token": TOKEN, "intents": 1, "properties": {}}})
    await peer.ready()
    await socket.close()
    await session.close()


ANSWERS = [
    ({"type": 9, "data": {"title": "x" * 46, "custom_id": "f", "components": [row(button())]}}, "command"),
    ({"type": 9, "data": {"title": "T", "custom_id": "", "components": [row(button())]}}, "command"),
    ({"type": 9, "data": {"title": "T", "custom_id": "f", "components": []}}, "command"),
    ({"type": 9, "data": {"title": "T", "custom_id": "f", "components": [row(button())] * 6}}, "command"),
    (
        {
            "type": 9,
            "data": {
                "title": "T",
                "custom_id": "f",
                "components": [{"type": 18, "label": "L", "component": {"type": 4, "custom_id": "same"}}] * 2,
            },
        },
        "command",
    ),
    (
        {
            "type": 9,
            "data": {
                "title": "T",
                "custom_id": "f",
                "components": [{"type": 18, "label": "x" * 46, "component": {"type": 4, "custom_id": "a"}}],
            },
        },
        "command",
    ),
    (
        {
            "type": 9,
            "data": {
                "title": "T",
                "custom_id": "f",
                "components": [
                    {"type": 18, "label": "L", "component": {"type": 4, "custom_id": "a", "value": "x" * 4_001}}
                ],
            },
        },
        "command",
    ),
    ({"type": 5, "data": {"flags": 4}}, "command"),
    ({"type": 5, "data": {"content": "x"}}, "command"),
    ({"type": 8, "data": {"choices": []}}, "command"),
    ({"type": 4, "data": {"content": "x"}}, "autocomplete"),
    ({"type": 8, "data": {"choices": [{"name": f"{n}", "value": "v"} for n in range(26)]}}, "autocomplete"),
    ({"type": 8, "data": {"choices": [{"name": "", "value": "v"}]}}, "autocomplete"),
    ({"type": 4, "data": {"content": "x" * 2_001}}, "command"),
]


@pytest.mark.parametrize(("body", "kind"), ANSWERS)
async def test_an_answer_beyond_a_limit(peer: Peer, body: dict[str, Any], kind: str) -> None:
    """Forms, deferrals, suggestions: refused, and the interaction stays unanswered."""
    callback, _ = await act(peer, kind)
    assert await refused(peer, "POST", callback, body) == (400, FORM)


async def test_a_form_as_the_answer_to_a_form(peer: Peer) -> None:
    """Refused."""
    callback, _ = await act(peer, "modal", custom_id="f", values={"a": "b"})
    form = {"title": "T", "custom_id": "g", "components": [row({"type": 4, "custom_id": "a", "label": "L"})]}
    assert await refused(peer, "POST", callback, {"type": 9, "data": form}) == (400, FORM)


async def test_three_seconds_and_once(peer: Peer) -> None:
    """After three seconds an interaction is unknown; a second answer is refused."""
    body = {"type": 4, "data": {"content": "x"}}
    late, _ = await act(peer, age_s=3.1)
    assert await refused(peer, "POST", late, body) == (404, 10062)
    prompt, _ = await act(peer)
    assert (await ask(peer, "POST", prompt, body))[0] == 204
    assert await refused(peer, "POST", prompt, body) == (400, 40060)


async def test_fifteen_minutes(peer: Peer) -> None:
    """A token lives fifteen minutes, and only once it was answered."""
    callback, hook = await act(peer)
    assert await refused(peer, "PATCH", f"{hook}/messages/@original", {"content": "y"}) == (404, 10015)
    await ask(peer, "POST", callback, {"type": 4, "data": {"content": "x"}})
    assert (await ask(peer, "PATCH", f"{hook}/messages/@original", {"content": "y"}))[0] == 200
    await peer.control("clock", seconds=901)
    assert await refused(peer, "PATCH", f"{hook}/messages/@original", {"content": "z"}) == (401, 50027)


async def test_five_further_messages_for_a_user_install(peer: Peer) -> None:
    """The sixth is refused."""
    callback, hook = await act(peer, user_install=True, channel=FOREIGN_CHANNEL)
    await ask(peer, "POST", callback, {"type": 4, "data": {"content": "x"}})
    for _ in range(5):
        assert (await ask(peer, "POST", hook, {"content": "more"}))[0] == 200
    assert await refused(peer, "POST", hook, {"content": "more"}) == (400, 40094)


async def test_what_only_one_person_sees_is_no_message_of_the_channel(peer: Peer) -> None:
    """An ephemeral answer cannot be edited as a message."""
    callback, hook = await act(peer)
    await ask(peer, "POST", callback, {"type": 4, "data": {"content": "x", "flags": 64}})
    _, message = await ask(peer, "GET", f"{hook}/messages/@original", None)
    path = f"/channels/{CHANNEL}/messages/{message['id']}"
    assert await refused(peer, "PATCH", path, {"content": "y"}) == (404, 10008)


async def test_a_nonce_is_one_message_for_minutes(peer: Peer) -> None:
    """The same enforced nonce is the first message again; not enforced, or later, it is another."""
    path, body = f"/channels/{CHANNEL}/messages", {"content": "x", "nonce": "k7f3q2", "enforce_nonce": True}
    (_, first), (_, second) = await ask(peer, "POST", path, body), await ask(peer, "POST", path, body)
    (_, loose) = await ask(peer, "POST", path, body | {"enforce_nonce": False})
    await peer.control("clock", seconds=301)
    (_, later) = await ask(peer, "POST", path, body)
    assert first["id"] == second["id"]
    assert len({first["id"], loose["id"], later["id"]}) == 3


async def test_what_the_published_schema_forbids_is_counted(peer: Peer) -> None:
    """A request that the OpenAPI does not know stands in the ledger as a problem."""
    if not (await peer.state())["contract"]:
        pytest.skip("no published schema: DREAMBOT_CONTRACTS is not a folder with discord/openapi.json")
    await peer.look()
    before = len(peer.entries)
    await ask(peer, "POST", f"/channels/{CHANNEL}/messages?bogus=1", {"content": "x", "tts": "loud"})
    await peer.look()
    (entry,) = [one for one in peer.entries[before:] if one["what"] == "request"]
    assert len(entry["problems"]) == 2


async def test_the_gateway_turns_strangers_and_the_greedy_away(peer: Peer) -> None:
    """A wrong token closes with 4004, a privileged intent with 4014, a frame too long with 4002."""
    frames = {
        4004: {"token": "another", "intents": 1},
        4014: {"token": TOKEN, "intents": 1 << 15},
        4002: {"token": TOKEN, "intents": 1, "properties": "x" * 5_000},
    }
    for code, about in frames.items():
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{peer.base.replace('http', 'ws')}/gateway")
            assert (await socket.receive_json())["op"] == 10
            await socket.send_json({"op": 2, "d": about})
            while (await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                pass
            assert socket.close_code == code
