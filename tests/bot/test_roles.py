"""Roles and commands: who may what, and where. Whatever is not allowed here is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.admin import Admin
from bot.cards import Tone
from bot.commands import Commands
from bot.phrases import Phrases
from bot.store import Store
from storage.job import DIRECT, Caller
from tests.bot.test_commands import dreamt
from tests.fakes.engine import FakeEngine

OWNER = Caller(user="ada", name="ada", guild="home")
MEMBER = Caller(user="bob", name="bob", guild="home")
ROLES = {
    "owner": OWNER,
    "member": MEMBER,
    "member in a direct message": replace(MEMBER, guild=DIRECT),
    "moderator": replace(MEMBER, user="mod", moderator=True),
    "moderator in a direct message": replace(MEMBER, user="mod", moderator=True, guild=DIRECT),
    "moderator of another guild": replace(MEMBER, user="mod", moderator=True, guild="abroad"),
    "moderator of another surface": replace(MEMBER, user="mod", moderator=True, surface="slack"),
    "admin": replace(MEMBER, user="root", admin=True),
    "admin in a direct message": replace(MEMBER, user="root", admin=True, guild=DIRECT),
    "admin in another guild": replace(MEMBER, user="root", admin=True, guild="abroad"),
}
OF_ADMINS = (
    "queue",
    "pause",
    "resume",
    "drain",
    "rescue",
    "audit",
    "stats",
    "ban eve",
    "unban eve",
    "limit eve 3",
    "weight eve 2",
    "purge 7",
)
OF_MODERATORS = ("withhold JOB", "release JOB")
SEEN = ("queue", "audit", "stats")  # looking changes nothing, so nothing is written down


def allowed(role: str, command: str) -> bool:
    """The whole policy, in two lines."""
    return role.startswith("admin") or (role == "moderator" and command in OF_MODERATORS)


@pytest.mark.parametrize("command", OF_ADMINS + OF_MODERATORS)
async def test_the_matrix(commands: Commands, engine: FakeEngine, store: Store, command: str) -> None:
    """Each role, each command: done and written down, or refused in one friendly sentence without a trace."""
    phrases = Phrases(commands, Admin(store))
    name = await dreamt(commands, engine, OWNER)
    line = f"/admin {command.replace('JOB', name)}"
    for role, caller in ROLES.items():
        if command.startswith("release"):
            await store.withdrawals.withhold(name, caller)
        elif command.startswith("withhold"):
            await store.withdrawals.release(name)
        logged = len(await store.users.audit_log())
        card = await phrases.answer(caller, line)
        wrote = len(await store.users.audit_log()) - logged
        if allowed(role, command):
            assert card.tone is not Tone.WRONG, (role, card.text)
            assert wrote == (command not in SEEN), role
        else:
            assert card.tone is Tone.WRONG, role
            assert card.text.count(".") == 1, card.text
            assert card.text.endswith("."), card.text
            assert wrote == 0, role
        assert card.private, role


@pytest.mark.parametrize(
    ("verb", "may"),
    [
        ("cancel", {"owner", "moderator", "admin", "admin in a direct message", "admin in another guild"}),
        ("delete", {"owner", "moderator", "admin", "admin in a direct message", "admin in another guild"}),
    ],
)
async def test_only_the_requester_or_a_moderator_changes_a_job(
    commands: Commands, engine: FakeEngine, store: Store, verb: str, may: set[str]
) -> None:
    """By command, whoever asks: a job of somebody else's stays as it is; what a moderator did is written down."""
    for role, caller in ROLES.items():
        made = await commands.dream(OWNER, await commands.params(OWNER, "a lemon", {}))
        name = str(made.job)
        if verb == "delete":
            (job,) = await engine.queue.claim(engine.owner, 1)
            await engine.run(job)
        logged = len(await store.users.audit_log())
        card = await Phrases(commands, Admin(store)).answer(caller, f"/{verb} {name}")
        job = await commands.job(name)
        changed = job.state == "cancelled" or job.withdrawn is not None
        assert changed is (role in may), (role, card.text)
        assert len(await store.users.audit_log()) - logged == (changed and role != "owner"), role
        await store.queue.cancel(name, ROLES["admin"])
