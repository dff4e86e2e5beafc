"""`queue` says on which engine a job runs."""

from __future__ import annotations

from dataclasses import replace

from bot.admin import Admin
from bot.commands import Commands
from bot.store import Store
from storage.rescue import new_owner
from tests.bot.test_commands import ADA, ROOT, dream
from tests.storage.test_engines import make_engine


async def test_queue_tells_host_and_device_of_what_runs(store: Store, commands: Commands) -> None:
    """Two engines on two hosts: each job's row names its own; what waits names none; people and admins see it."""
    names = [await dream(commands) for _ in range(3)]
    for name, host in zip(names, ("red", "blue"), strict=False):
        row = replace(make_engine(new_owner()), host=host, device="cuda")
        await store.engines.register(row)
        assert [job.id for job in await store.queue.claim(row.owner, 1)] == [name]
    for card in (await commands.queue(ADA), await Admin(store).queue(ROOT)):
        told = {row["job"]: row["engine"] for row in card.rows}
        assert [str(told[name]).split(" (")[0] for name in names] == ["red cuda", "blue cuda", "None"]
        assert card.columns[-1] == "on"
        assert [cells[-1].split(" ")[0] for cells in card.cells] == ["red", "blue", ""]


async def test_one_engine_needs_no_column(store: Store, commands: Commands) -> None:
    """Where a single engine works, the table is as it always was; a machine is told all the same."""
    await dream(commands)
    row = make_engine()
    await store.engines.register(row)
    await store.queue.claim(row.owner, 1)
    card = await commands.queue(ADA)
    assert "on" not in card.columns
    assert card.rows[0]["engine"].endswith(f"cpu ({row.pid})")
