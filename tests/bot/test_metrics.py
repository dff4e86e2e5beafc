"""What the bot exports, from a real store."""

from __future__ import annotations

from bot.commands import Commands
from bot.metrics import Metrics
from bot.store import Store
from storage.job import Reason
from tests.factories import make_caller, make_params
from tests.fakes.engine import FakeEngine


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample."""
    return metrics.registry.get_sample_value(f"dreambot_{name}", labels)


async def test_queue_waits_ends_and_letters(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Depth and age of the queue, waits by class, ends by reason, letters owed and how late they are."""
    now = [0.0]
    metrics = Metrics(store, clock=lambda: now[0])
    assert "opened" in metrics.unready()
    await metrics.look()
    assert metrics.unready() == ""
    cards = [await commands.dream(make_caller("heavy"), make_params(), reply_to="here") for _ in range(7)]
    await commands.dream(make_caller("light"), make_params(), reply_to="here")
    first = await store.queue.get(str(cards[0].job))
    assert first is not None
    now[0] = first.created_at + 60.0
    await metrics.look()
    assert value(metrics, "queue_jobs", state="queued") == 8
    assert value(metrics, "queue_oldest_seconds") == 60.0
    for number in range(8):
        (job,) = await store.queue.claim(engine.owner, 1)
        if number == 3:
            await store.queue.fail(job, Reason.ERROR, "broke")
        elif number == 4:
            await store.queue.requeue([job])
        else:
            await engine.complete(job)
    await metrics.look()
    assert value(metrics, "queue_jobs", state="queued") == 1
    assert (value(metrics, "jobs_total", how="completed"), value(metrics, "jobs_total", how="error")) == (6, 1)
    assert value(metrics, "requeued_total", why="drain") == 1
    light = value(metrics, "wait_seconds_count", user="light") or 0
    heavy = value(metrics, "wait_seconds_count", user="heavy") or 0
    assert (light >= 6, heavy >= 1, light + heavy >= 8) == (True, True, True)
    assert value(metrics, "outbox_letters") == 7
    letter = (await store.outbox.unsent(["local"]))[0]
    await store.outbox.failed_try(letter.id, "no", 0.0)
    await metrics.look()
    assert value(metrics, "outbox_retries") == 1
    assert (value(metrics, "disk_free_bytes") or 0) > 0
    assert (value(metrics, "database_bytes", file="db") or 0) > 0


async def test_nothing_is_counted_twice(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Looking again counts only what is new, and what was before the start is not counted."""
    await commands.dream(make_caller(), make_params())
    (job,) = await store.queue.claim(engine.owner, 1)
    await engine.complete(job)
    metrics = Metrics(store)
    await metrics.look()
    assert value(metrics, "jobs_total", how="completed") is None
    await commands.dream(make_caller(), make_params())
    (job,) = await store.queue.claim(engine.owner, 1)
    await engine.complete(job)
    for _ in range(3):
        await metrics.look()
    assert value(metrics, "jobs_total", how="completed") == 1


async def test_no_name_and_no_prompt_is_exported(store: Store, commands: Commands) -> None:
    """Labels are a handful of fixed words."""
    metrics = Metrics(store)
    await metrics.look()
    await commands.dream(make_caller("ada-the-canary"), make_params("a canary prompt"))
    await metrics.look()
    assert "canary" not in metrics.text()
