"""Final replies: never lost, never doubled. Progress: at most so often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.adapter import TryLater, Undeliverable
from bot.admin import Admin
from bot.cards import Card
from bot.commands import Commands
from bot.delivery import Delivery
from bot.local_adapter import LocalAdapter
from bot.news import left
from bot.settings import BotSettings
from bot.store import Store
from storage.events import Event, Kind
from storage.rescue import boot, host
from tests.bot.test_commands import ADA, ROOT, dream, step
from tests.fakes.engine import FakeEngine

GONE = f"{host()}:{boot()}:{2**22 + 1}:0"  # a process that was here
HOME = "local/ada"


class Recorder:
    """An adapter that remembers, and breaks where a test says so. An address is `channel#message`."""

    surface = "local"

    def __init__(self) -> None:
        self.posts: list[tuple[str, Card, str]] = []
        self.edits: list[Card] = []
        self.replaced: list[tuple[str, str, Card]] = []
        self.heard: list[tuple[str, str]] = []  # what arrived, in order: post or edit, and of which job
        self.gates: dict[str, asyncio.Event] = {}  # channels that hang until their gate is opened
        self.breaks: list[BaseException] = []
        self.posted = asyncio.Event()
        self.broke = asyncio.Event()

    async def run(self) -> None: ...

    async def close(self) -> None: ...

    def channel(self, reply_to: str) -> str:
        return reply_to.partition("#")[0]

    async def replace(self, reply_to: str, message_id: str, card: Card) -> None:
        if self.breaks:
            raise self.breaks.pop()
        self.replaced.append((reply_to, message_id, card))

    async def post(self, reply_to: str, card: Card, nonce: str) -> str:
        if self.channel(reply_to) in self.gates:
            await self.gates[self.channel(reply_to)].wait()
        if self.breaks:
            self.broke.set()
            raise self.breaks.pop()
        self.posts.append((reply_to, card, nonce))
        self.heard.append(("post", nonce))
        self.posted.set()
        return f"message {len(self.posts)}"

    async def edit(self, reply_to: str, card: Card) -> None:
        if self.breaks:
            raise self.breaks.pop()
        self.edits.append(card)
        self.heard.append(("edit", str(card.job)))


async def replied(commands: Commands, engine: FakeEngine, prompt: str = "a lemon", *, reply_to: str = HOME) -> str:
    """A job that is over, with its reply in the outbox."""
    name = await dream(commands, prompt=prompt, reply_to=reply_to)
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

    class Killed(BaseException):
        """As by a signal."""

    async def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store.outbox, "sent", die, raising=True)
        with pytest.raises(Killed):
            await Delivery(store, {"local": LocalAdapter(settings.home)}, name=GONE).send()
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


async def test_a_rate_limit_is_honoured_exactly(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """The surface says when: the letter's next try is then, its channel is left alone until then, others go on."""
    first, _, other = [await replied(commands, engine, reply_to=place) for place in ("c1#1", "c1#2", "c2#1")]
    adapter, now = Recorder(), [100.0]
    store.outbox._clock = lambda: now[0]
    delivery = Delivery(store, {"local": adapter}, wall=lambda: now[0], monotonic=lambda: now[0])
    adapter.gates["c2"] = asyncio.Event()
    adapter.breaks = [TryLater(7.5)]
    sending = asyncio.create_task(delivery.send())
    await adapter.broke.wait()
    adapter.gates["c2"].set()
    assert await sending == 1
    assert [nonce for _, _, nonce in adapter.posts] == [other]
    for at, sent in ((107.4, 0), (107.5, 2)):
        now[0] = at
        assert await delivery.send() == sent
    assert adapter.posts[1][2] == first  # and in their order


async def test_what_can_never_arrive_is_closed(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Its reason is kept, it is not tried again, and the admins' statistics count it."""
    await replied(commands, engine)
    adapter = Recorder()
    adapter.breaks = [Undeliverable("the channel is gone")]
    delivery = Delivery(store, {"local": adapter})
    assert [await delivery.send(), await delivery.send()] == [0, 0]
    rows = {row["what"]: row["value"] for row in (await Admin(store).stats(ROOT)).rows}
    assert (rows["replies owed"], rows["replies undeliverable"]) == (0, 1)


async def test_one_channel_does_not_hold_up_another(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """A channel that hangs keeps its own letters waiting, once each, and nobody else's."""
    await replied(commands, engine, reply_to="slow#1")
    adapter = Recorder()
    adapter.gates["slow"] = asyncio.Event()
    running = asyncio.create_task(Delivery(store, {"local": adapter}).run())
    for _ in range(3):
        adapter.posted.clear()
        await replied(commands, engine, reply_to="quick#1")
        await adapter.posted.wait()
    assert {place for place, _, _ in adapter.posts} == {"quick#1"}
    adapter.posted.clear()
    adapter.gates["slow"].set()
    await adapter.posted.wait()
    assert [place for place, _, _ in adapter.posts].count("slow#1") == 1
    await ended(running)


def progressed(name: str, at: float, done: int) -> Event:
    """An engine's word of how far a job is."""
    data = {"done": done, "total": 10, "preview": None, "score": 0.1}
    return Event(kind=Kind.PROGRESSED, job=name, at=at, data=data)


async def test_progress_is_shown_at_most_once_in_two_seconds(
    store: Store, commands: Commands, engine: FakeEngine
) -> None:
    """Of many events only the latest is shown, and the next not before its time."""
    name, now, adapter = await dream(commands, reply_to=HOME), [0.0], Recorder()
    await engine.queue.claim(engine.owner, 1)
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    for at, done in ((0.0, 1), (0.2, 2), (1.9, 3), (2.0, 4), (2.1, 5)):
        now[0] = at
        delivery.note(progressed(name, at, done))
        await delivery.show()
    assert [card.text.split()[0] for card in adapter.edits] == ["1", "4"]
    delivery.note(Event(kind=Kind.COMPLETED, job=name, at=3.0))
    now[0] = 9.0
    await delivery.show()
    assert len(adapter.edits) == 2


async def test_one_channel_gets_one_edit_a_second(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Whosever messages they are: whoever has waited longest comes first; another channel has its own bucket."""
    names = [await dream(commands, reply_to=place) for place in ("c1#1", "c1#2", "c2#1")]
    await engine.queue.claim(engine.owner, 3)
    adapter, now = Recorder(), [0.0]
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    first, second, other = names
    for at, edited in ((0.0, {first, other}), (0.5, set()), (1.0, {second}), (2.0, {first, other})):
        now[0] = at
        for name in names:
            delivery.note(progressed(name, at, 1))
        adapter.heard.clear()
        await delivery.show()
        assert {name for _, name in adapter.heard} == edited, at


async def test_all_channels_together_get_ten_edits_a_second(
    store: Store, commands: Commands, engine: FakeEngine
) -> None:
    """A crowd's progress leaves room for answers; whoever was left out comes next, and no job is read for nothing."""
    names = [await dream(commands, reply_to=f"c{number}#1") for number in range(14)]
    for owner in ("engine 1", "engine 2", "engine 3"):
        await engine.queue.claim(owner, 6)
    adapter, now = Recorder(), [0.0]
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    for name in names:
        delivery.note(progressed(name, 0.0, 1))
    for at, edits in ((0.0, 10), (0.1, 11), (0.5, 14), (5.0, 14)):
        now[0] = at
        await delivery.show()
        assert len(adapter.edits) == edits, at
    assert {name for _, name in adapter.heard} == set(names)


async def test_no_edit_follows_the_final(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """However late the word of an engine is read: the job is looked at once more before its message is touched."""
    name, adapter = await replied(commands, engine), Recorder()
    delivery = Delivery(store, {"local": adapter})
    await delivery.send()
    delivery.note(progressed(name, 0.0, 1))
    await delivery.show()
    assert adapter.heard == [("post", name)]


async def test_an_edit_gives_way_to_finals_and_limits(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """A channel that asked for a pause is left alone; a message that cannot be written is not tried again."""
    name, now, adapter = await dream(commands, reply_to=HOME), [0.0], Recorder()
    await engine.queue.claim(engine.owner, 1)
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    adapter.breaks = [Undeliverable("gone"), TryLater(30.0)]
    for at, unbroken in ((0.0, 1), (29.9, 1), (30.0, 0), (90.0, 0)):
        now[0] = at
        if at < 60.0:
            delivery.note(progressed(name, at, 1))
        await delivery.show()
        assert len(adapter.breaks) == unbroken
    assert not adapter.edits


async def test_who_waits_hears_of_their_place(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """The message of a waiting job is written anew when its place is another one, and only then."""
    for number in range(3):
        await dream(commands, reply_to=f"c{number}#1")
    adapter, now = Recorder(), [0.0]
    delivery = Delivery(store, {"local": adapter}, monotonic=lambda: now[0])
    for at in (0.0, 10.0):
        now[0] = at
        await delivery.place()
        await delivery.show()
    assert not adapter.edits
    await step(engine)
    now[0] = 20.0
    await delivery.place()
    await delivery.show()
    assert sorted(card.text for card in adapter.edits) == ["queued; the engine is not running."] * 2
    await store.queue.pause()
    now[0] = 30.0
    await delivery.place()
    await delivery.show()
    assert {card.text for card in adapter.edits[2:]} == {"queued; the queue is paused."}


async def test_what_was_deleted_is_written_over(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """The message that shows it, by its id, without its words; then nothing is owed, and its address is forgotten."""
    name, adapter = await replied(commands, engine), Recorder()
    delivery = Delivery(store, {"local": adapter})
    await delivery.send()
    await commands.delete(ADA, name)
    assert [await delivery.send(), await delivery.send()] == [1, 0]
    ((place, message_id, card),) = adapter.replaced
    assert (place, message_id, card.images, card.title) == (HOME, "message 1", (), "A dream")
    assert await store.outbox.counts() == {"owed": 0, "undeliverable": 0}
    assert len(adapter.posts) == 1


async def test_what_was_withheld_comes_back(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """The same message, first without the pictures, then with them."""
    name, adapter = await replied(commands, engine), Recorder()
    delivery, admin = Delivery(store, {"local": adapter}), Admin(store)
    await delivery.send()
    await admin.withhold(ROOT, name)
    await delivery.send()
    await admin.release(ROOT, name)
    await delivery.send()
    assert [bool(card.images) for _, _, card in adapter.replaced] == [False, True]
    assert {message_id for _, message_id, _ in adapter.replaced} == {"message 1"}


def test_time_left_follows_the_measured_steps() -> None:
    """By the pace of all steps and of the latest; nothing is said before a step was measured, or once all are done."""
    news = [progressed("k7f3q2", 0.0, 0), progressed("k7f3q2", 4.0, 2), progressed("k7f3q2", 5.0, 4)]
    assert left(news) == (3.0, 7.5)
    assert left(news[:1]) is None
    assert left([*news[:2], progressed("k7f3q2", 9.0, 10)]) is None
    assert left([progressed("k7f3q2", 9.0, 1), progressed("k7f3q2", 8.0, 2)]) is None  # the clock was set back


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
    await ended(running)


async def ended(task: asyncio.Task[None]) -> None:
    """Until a delivery that runs for ever is stopped."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_bot_shows_the_progress_of_a_surface(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Of several bots one edits what runs; when its process is gone, another does."""
    await dream(commands, reply_to=HOME)
    (job,) = await engine.queue.claim(engine.owner, 1)

    async def edits(*names: str) -> list[int]:
        """How often each of two bots shows a step that both hear of."""
        adapters, cursor = (Recorder(), Recorder()), await store.feed.head()
        await engine.queue.progress(job, 1, 2, None, None)
        (event,) = await store.feed.since(cursor)
        for adapter, name in zip(adapters, names, strict=True):
            bot = Delivery(store, {"local": adapter}, name=name)
            bot.note(event)
            await bot.show()
        return [len(adapter.edits) for adapter in adapters]

    assert await edits("one", "two") == [1, 0]
    assert await edits("two", "one") == [0, 1]
    assert await store.leads.take("progress:local", "one", -1.0)
    assert await edits(GONE, "two") == [1, 1]
    assert await edits("one", "two") == [0, 1]
