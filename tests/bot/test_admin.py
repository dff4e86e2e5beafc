"""Default deny, on every verb and everywhere people type."""

from __future__ import annotations

import pytest

from bot.admin import Admin
from bot.commands import Commands
from bot.phrases import Phrases
from bot.store import Store
from storage.errors import UserError
from storage.job import State
from tests.bot.test_commands import ADA, ROOT, dream
from tests.fakes.engine import FakeEngine

ACTS = ["pause", "resume", "drain", "rescue", "audit", "stats", "ban eve", "unban eve", "limit eve 3", "purge 7"]


@pytest.mark.parametrize("act", ACTS)
async def test_only_admins_may(store: Store, commands: Commands, act: str) -> None:
    """Everyone else is told so in a sentence, and nothing happens or is logged."""
    phrases = Phrases(commands, Admin(store))
    refusal = await phrases.answer(ADA, f"/admin {act}")
    assert refusal.text.endswith("is for admins; ask one of them.")
    assert not (await store.queue.flags())["paused"]
    assert not await store.users.audit_log()
    card = await phrases.answer(ROOT, f"/admin {act}")
    assert card.tone != "wrong", card.text


async def test_pause_stops_claims_until_resume(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """Nothing is handed out in between."""
    admin, name = Admin(store), await dream(commands)
    await admin.pause(ROOT)
    assert not await engine.queue.claim(engine.owner, 1)
    await admin.resume(ROOT)
    assert [job.id for job in await engine.queue.claim(engine.owner, 1)] == [name]


async def test_rescue_gives_back_what_a_dead_engine_ran(store: Store, commands: Commands, engine: FakeEngine) -> None:
    """An owner whose process is gone loses its job at once."""
    name = await dream(commands)
    host, boot, _, rest = engine.owner.split(":")
    await engine.queue.claim(f"{host}:{boot}:{2**22 + 1}:{rest}", 1)
    card = await Admin(store).rescue(ROOT)
    assert name in card.text
    assert (await commands.job(name)).state is State.QUEUED


async def test_a_limit_bounds_what_waits(store: Store, commands: Commands) -> None:
    """And `none` takes it back."""
    admin = Admin(store)
    await admin.limit(ROOT, "local", "ada", "1")
    await dream(commands)
    with pytest.raises(UserError, match="1"):
        await dream(commands)
    await admin.limit(ROOT, "local", "ada", "none")
    await dream(commands)


async def test_stats_count(store: Store, commands: Commands) -> None:
    """What waits is counted."""
    await dream(commands)
    rows = {row["what"]: row["value"] for row in (await Admin(store).stats(ROOT)).rows}
    assert (rows["waiting"], rows["engines"]) == (1, "none")
