"""Final replies: never lost, never doubled. Progress: at most so often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.cards import Card
from bot.commands import Commands
from bot.delivery import Delivery
from bot.local_adapter import LocalAdapter
from bot.settings import BotSettings
from bot.store import Store
from storage.events import Event, Kind
from tests.bot.test_commands import dream, step
from tests.fakes.engine import FakeEngine

HOME = "local/ada"


class Recorder:
    """An adapter that remembers, and breaks where a test says so."""

    surface = "local"

    def __init__(self) -> None:
        self.posts: list[tuple[str, Card, str]] = []
        self.edits: list[Card] = []
        self.breaks: list[BaseException] = []
        self.posted = asyncio.Event()

    async def run(self) -> None: ...

    async def close(self) -> None: ...

    def channel(self, reply_to: str) -> str:
        return reply_to

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None: ...

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        if self.breaks:
            raise self.breaks.pop()
        self.posts.append((reply_to, card, nonce))
        self.posted.set()
        return f"message {len(self.posts)}"

    async def edit(self, reply_to: str, card: Card) -> None:
        self.edits.append(card)


async def replied(commands: Commands, engine: FakeEngine, prompt: str = "a lemon") -> str:
    """A job that is over, with its reply in the outbox."""
    name = await dream(commands, prompt=prompt, reply_to=HOME)
    await step(engine)
    return name


async def test_a_reply_is_sent_once(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """What is unsent is posted to its address; the next look finds nothing."""
    name, adapter = await replied(commands, engine), Recorder()
    delivery = Delivery(store, {"local": adapter})
    assert [await delivery.send(), await delivery.send()] == [1, 0]
    ((reply_to, card, nonce),) = adapter.posts
    assert (reply_to, card.job, nonce) == (HOME, name, name)
    assert card.title == "“a lemon”"


async def test_failures_and_cancels_are_replies_too(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """However a job ends, its person hears of it."""
    await replied(commands, engine, "fail please")
    await commands.cancel((await commands.job(name := await dream(commands, reply_to=HOME))).caller, name)
    adapter = Recorder()
    assert await Delivery(store, {"local": adapter}).send() == 2
    assert [card.text for _, card, _ in adapter.posts] == ["The fake engine was asked to fail.", "Cancelled."]


async def test_who_waits_in_person_gets_no_letter(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """No reply-to, no letter."""
    await dream(commands)
    await step(engine)
    assert await Delivery(store, {"local": Recorder()}).send() == 0


async def test_a_crash_between_post_and_mark_leaves_one_letter(
    store: Store, commands: Commands, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, settings: BotSettings
) -> None:
    """The bot dies after the letter lies in the mailbox and before the outbox knows: the next bot changes nothing."""
    name = await replied(commands, engine)

    async def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.outbox, "sent", die, raising=True)
        with pytest.raises(KeyboardInterrupt):
            await Delivery(store, {"local": LocalAdapter(settings.home)}).send()
    letter = settings.home / "mail" / HOME / f"{name}.json"
    before = letter.stat().st_ino
    assert await Delivery(store, {"local": LocalAdapter(settings.home)}).send() == 1
    assert letter.stat().st_ino == before
    assert [file.name for file in letter.parent.iterdir()] == [letter.name]
    assert not await store.outbox.unsent(("local",))


async def test_a_broken_surface_is_tried_again_later(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """One letter that cannot be sent does not hold up the next, and waits for its time."""
    await replied(commands, engine)
    await replied(commands, engine)
    adapter, now = Recorder(), [0.0]
    adapter.breaks = [ConnectionError("the surface is away")]
    delivery = Delivery(store, {"local": adapter}, wall=lambda: now[0])
    assert await delivery.send() == 1  # the second letter
    assert await delivery.send() == 1  # the first: its retry time is long past by the store's clock
    assert len({nonce for _, _, nonce in adapter.posts}) == 2


async def test_progress_is_shown_at_most_once_in_two_seconds(store: Store, commands: Commands) -> None:
    """Of many events only the latest is shown, and the next not before its time."""
    name, now, adapter = await dream(commands, reply_to=HOME), [0.0], Recorder()
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    for at, done in ((0.0, 1), (0.2, 2), (1.9, 3), (2.0, 4), (2.1, 5)):
        now[0] = at
        data = {"done": done, "total": 10, "preview": None, "score": 0.1}
        delivery.note(Event(kind=Kind.PROGRESSED, job=name, at=at, data=data))
        await delivery.show()
    assert [card.text.split()[0] for card in adapter.edits] == ["1", "4"]
    delivery.note(Event(kind=Kind.COMPLETED, job=name, at=3.0))
    now[0] = 9.0
    await delivery.show()
    assert len(adapter.edits) == 2


async def test_it_follows_the_feed(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """A job that ends while delivery runs is answered at once; so is one that ended before."""
    await replied(commands, engine)
    adapter = Recorder()
    running = asyncio.create_task(Delivery(store, {"local": adapter}).run())
    await adapter.posted.wait()
    adapter.posted.clear()
    await replied(commands, engine)
    await adapter.posted.wait()
    assert len(adapter.posts) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
