"""A hundred thousand inputs to everything that strangers can reach (`--long`; a few hundred in the usual run).

No traceback, no live mention, no file outside the data directory. Two ways in which the product may fail are told
apart: a person is told a sentence (fine), or an incident is logged with its traceback (red).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import logging
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from bot import arguments, slack_blocks, slack_gate
from bot.admin import Admin
from bot.cards import Card, Form
from bot.commands import Commands
from bot.gestures import Gestures
from bot.phrases import Phrases
from bot.settings import BotSettings
from bot.store import Store, open_store
from engine.packs import HERE, find_packs, read_pack
from engine.pull import add
from storage.errors import DreambotError, UserError
from storage.job import Caller, Job, Request
from tests.bot.conftest import home, template  # noqa: F401 - fixtures
from tests.bot.slack_stage import Stage, peer, stage
from tests.bot.test_discord_cards import ALIVE, LIMIT, faces, sent
from tests.bot.test_discord_cards import words as outside_code
from tests.factories import make_params, make_result
from tests.fakes.discord import overlay
from tests.fakes.engine import PACK
from tests.fakes.slack import limits
from tests.fakes.slack.workspace import ADA, BOT_USER, GENERAL
from tests.fuzz import noise
from tests.fuzz.witness import Witness, watched

EVE = Caller(user="eve", name="Eve <!channel>", guild="g1", surface="slack")
ROOT = replace(EVE, user="root", admin=True)


def often(long: int, few: int = 25) -> Any:
    """A test of so many inputs in the long run, and of a few in the usual one."""
    return pytest.mark.parametrize(
        "times", [pytest.param(few, id="few"), pytest.param(long, id="many", marks=pytest.mark.long)]
    )


def fuzz(times: int, *strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Call the decorated function with so many inputs, at once."""

    def run(one: Callable[..., None]) -> None:
        how = settings(max_examples=times, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        how(given(*strategies)(one))()

    return run


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop that outlives the single input."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def witness(home: Path, tmp_path: Path) -> Iterator[Witness]:  # noqa: F811
    """Nothing but the home may be written to."""
    with watched(home) as seen:
        yield seen


@pytest.fixture
def store(runner: asyncio.Runner, home: Path, witness: Witness) -> Iterator[Store]:  # noqa: F811
    """A store with one finished job in it, k7f3q2."""
    opened = contextlib.AsyncExitStack()

    async def open_it() -> Store:
        made = await opened.enter_async_context(open_store(BotSettings(home=home, queued_limit=10**6, ballast_mb=0)))
        await made.engines.publish_pack(PACK)
        return made

    made = runner.run(open_it())
    yield made
    runner.run(opened.aclose())


async def finished(store: Store) -> Job:
    """A job with a picture, of Eve."""
    job = await store.queue.submit(Request(caller=EVE, params=make_params("a lemon")))
    (claimed,) = await store.queue.claim("engine", 1)
    await store.queue.complete(claimed, make_result())
    return job


def harmless(answer: Card | Form, witness: Witness) -> None:
    """Legal and without a live mention on both platforms, and no incident behind it."""
    witness.check()
    if isinstance(answer, Form):
        return
    said = slack_blocks.message(answer, {})
    assert limits.of_blocks(said["blocks"]) == []
    assert limits.mentions(said["text"], said["blocks"]) == []
    payload = sent(answer)
    assert overlay.pings(payload) == []
    assert ALIVE.search(outside_code(payload)) is None


@often(40_000)
def test_arguments(times: int) -> None:
    """Any words and options become Params, or one sentence."""
    given_values = st.one_of(st.none(), st.integers(), noise.texts)
    options = st.dictionaries(st.sampled_from([*arguments.OPTIONS, "of", "x"]), given_values, max_size=4)

    @fuzz(times, noise.texts, noise.texts, options)
    def one(prompt: str, line: str, given_options: dict[str, Any]) -> None:
        for read in (
            lambda: arguments.dream(prompt, given_options),
            lambda: arguments.words(line),
            lambda: arguments.job_id(line),
            lambda: arguments.button(line),
            lambda: arguments.person("USER", line),
        ):
            with contextlib.suppress(UserError):
                read()


@often(8_000)
def test_lines(times: int, runner: asyncio.Runner, store: Store, witness: Witness) -> None:
    """Any line that is typed, by anybody and by an admin, is answered."""
    phrases = Phrases(Commands(store), Admin(store))
    verbs = st.sampled_from([*phrases.verbs, "dream --", "admin limit", "admin weight", "admin withhold", ""])
    runner.run(finished(store))

    @fuzz(times, verbs, noise.texts, st.sampled_from([EVE, ROOT]), st.booleans())
    def one(verb: str, line: str, caller: Caller, slash: bool) -> None:
        ask = phrases.slash if slash else phrases.answer
        harmless(runner.run(ask(caller, f"{verb} {line}")), witness)


@often(16_000)
def test_custom_ids(times: int, runner: asyncio.Runner, store: Store, witness: Witness) -> None:
    """Any id of a button or a form, known verbs among them, with any values, is answered."""
    gestures = Gestures(Commands(store))
    job = runner.run(finished(store))
    verbs = st.sampled_from([*gestures._pressed, "V1", ""])
    names = st.one_of(st.just(job.id), st.sampled_from(noise.JOBS), noise.glued)
    ids = st.one_of(st.builds("v1:{}:{}".format, verbs, names), noise.glued)
    typed = st.dictionaries(st.sampled_from(["prompt", "seed", "by", "x"]), noise.texts, max_size=3)

    @fuzz(times, ids, typed, st.booleans())
    def one(custom_id: str, given_values: dict[str, str], form: bool) -> None:
        if form:
            harmless(runner.run(gestures.submit(EVE, custom_id, given_values)), witness)
        elif not custom_id.startswith("v1:forget"):
            harmless(runner.run(gestures.press(EVE, custom_id)), witness)


@often(8_000)
def test_cards(times: int) -> None:
    """Any words on any card: legal on both platforms, and nobody is called."""

    @fuzz(times, noise.texts.filter(lambda text: len(text.strip()) > 0 and len(text) <= 3_000 and "\0" not in text))
    def one(prompt: str) -> None:
        for card in faces(prompt):
            payload = sent(card)
            assert list(overlay.message(payload, [], LIMIT)) == []
            assert overlay.pings(payload) == []
            assert ALIVE.search(outside_code(payload)) is None
            said = slack_blocks.message(card, {})
            assert limits.of_blocks(said["blocks"]) == []
            assert limits.mentions(said["text"], said["blocks"]) == []
            for block in Block.parse_all(said["blocks"]):
                block.validate_json()


@often(20_000)
def test_manifests(times: int, tmp_path: Path) -> None:
    """Any pack's TOML is a pack, or one sentence; taking it in writes nothing outside the folder of the packs."""
    path, kept = tmp_path / "from" / "pack.toml", tmp_path / "home" / "packs"
    path.parent.mkdir()
    kept.mkdir(parents=True)
    found = find_packs()
    whole = [tomllib.loads(one.read_text("utf-8")) | {"name": "mine"} for one in sorted(HERE.glob("*.toml"))]
    with watched(kept) as witness:

        @fuzz(times, noise.bent(st.sampled_from(whole)), noise.glued, st.integers(0, 9))
        def one(raw: dict[str, Any], line: str, odd: int) -> None:
            with witness.away():
                path.write_text(line if odd == 0 else noise.toml(raw), encoding="utf-8", errors="replace")
            for read in (lambda: read_pack(path, kept), lambda: add(path, found, kept)):
                with contextlib.suppress(DreambotError):
                    read()
            with witness.away():
                for taken in kept.glob("*.toml"):
                    taken.unlink()
            witness.check()


@often(8_000)
def test_slack_envelopes(
    times: int, runner: asyncio.Runner, store: Store, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in a request with a good signature: it is acknowledged, and nobody is called."""
    stack, seen = contextlib.AsyncExitStack(), Seen(monkeypatch)

    async def play() -> Stage:
        slack = await stack.enter_async_context(peer())
        running = await stack.enter_async_context(stage(slack, store, store.settings, ack_s=0.2))
        await act(running)
        return running

    running = runner.run(play())
    bodies = list(seen.bodies.values())
    assert len(bodies) >= 7

    @fuzz(times, noise.bent(st.sampled_from(bodies)))
    def one(body: dict[str, Any]) -> None:
        assert runner.run(seen.send(body)) <= 1
        witness.check()

    assert runner.run(running.slack.problems()) == []
    runner.run(stack.aclose())


class Seen:
    """The requests that came over the socket, one of each kind, and a way to send more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: dict[str, dict[str, Any]] = {}
        self.acks: list[str] = []
        self.logger = logging.getLogger(__name__)  # bolt's client has one
        self._give: Callable[..., Any] | None = None
        given = slack_gate.Socket.handle

        async def handle(socket: slack_gate.Socket, client: Any, request: Any) -> None:
            self._give = functools.partial(given, socket)
            body = copy.deepcopy(dict(request.payload))
            self.bodies.setdefault(" ".join(str(body.get(key)) for key in ("type", "command", "event_id")), body)
            await given(socket, client, request)

        monkeypatch.setattr(slack_gate.Socket, "handle", handle)

    async def send(self, body: dict[str, Any]) -> int:
        """One more; how many acknowledgements it had."""
        assert self._give is not None
        self.acks.clear()
        await self._give(self, SocketModeRequest(type="any", envelope_id="E1", payload=body))
        return len(self.acks)

    async def send_socket_mode_response(self, response: SocketModeResponse) -> None:
        """What bolt calls on its client."""
        self.acks.append(response.envelope_id)


async def act(play: Stage) -> None:
    """Every way to ask, once."""
    slack = play.slack
    await slack.slash("a lemon")
    await slack.slash("queue", command="/dream-admin")
    posted = await slack.until(lambda entry: entry["kind"] == "post")
    await play.step()
    await play.sent()
    done = await slack.until(lambda entry: entry["kind"] == "update")
    await slack.press(done | {"channel": posted["channel"]}, "edit")
    view = await slack.until(lambda entry: entry["kind"] == "view")
    await slack.submit(view["view"], {"prompt": "a barn"})
    said = await slack.control("message", user=ADA, channel=GENERAL, text="a lion")
    await slack.control("shortcut", user=ADA, channel=GENERAL, ts=said["ts"], callback_id="dream_this")
    await slack.mention(f"<@{BOT_USER}> a teapot")
    await slack.control("message", user=ADA, direct=True, text="a reef", channel="")
    await slack.control("event", event={"type": "app_home_opened", "user": ADA, "tab": "home", "channel": "D1"})
