"""Admin commands on Slack: every role, every command, through the peer. What is not allowed changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from bot.settings import BotSettings
from bot.store import Store
from storage.job import Caller, Params, Request
from tests.bot.slack_stage import Stage, peer, stage
from tests.bot.test_roles import OF_ADMINS, OF_MODERATORS, SEEN
from tests.bot.test_slack_http import consented
from tests.fakes.slack.workspace import ADA, BEN, CLIENT_ID, CLIENT_SECRET, CODE, EVE, GENERAL, GHOST, TEAM

ROOT, OWNER, ELSEWHERE = "U0ROOT", "U0OWNER", "T0ELSEWHERE"
Role = tuple[str, bool, str]  # who, whether in a direct message, whose dream a JOB is
OF_ONE_WORKSPACE: dict[str, Role] = {
    "nobody that Slack knows": (GHOST, False, TEAM),
    "owner of the dream": (OWNER, False, TEAM),
    "member": (BEN, False, TEAM),
    "member in a direct message": (BEN, True, TEAM),
    "somebody of another workspace, its admin": (EVE, False, TEAM),
    "admin": (ADA, False, TEAM),
    "admin in a direct message": (ADA, True, TEAM),
    "admin, of another workspace's dream": (ADA, False, ELSEWHERE),
}
OF_MANY: dict[str, Role] = {
    "nobody that Slack knows": (GHOST, False, TEAM),
    "member": (BEN, False, TEAM),
    "moderator": (ADA, False, TEAM),
    "moderator in a direct message": (ADA, True, TEAM),
    "moderator here, of another workspace's dream": (ADA, False, ELSEWHERE),
    "somebody of another workspace, its admin": (EVE, False, TEAM),
    "admin": (ROOT, False, TEAM),
    "admin in a direct message": (ROOT, True, TEAM),
    "admin, of another workspace's dream": (ROOT, False, ELSEWHERE),
}


def allowed(role: str, command: str) -> bool:
    """The whole policy, in two lines."""
    return role.startswith("admin") or (role == "moderator" and command in OF_MODERATORS)


async def dreamt(play: Stage, team: str) -> str:
    """A completed dream of a workspace."""
    caller = Caller(user=OWNER, name="owner", guild=team, surface="slack")
    job = await play.store.queue.submit(Request(caller=caller, params=Params(prompt="a lemon", seed=7)))
    await play.step()
    return job.id


async def matrix(play: Stage, roles: dict[str, Role]) -> None:
    """Each role, each command: done and written down, or refused in one friendly sentence without a trace."""
    for user in (ROOT, OWNER):
        await play.slack.control("person", user=user, name=user.lower())
    jobs = {team: await dreamt(play, team) for team in (TEAM, ELSEWHERE)}
    root = Caller(user=ROOT, name="root", guild=TEAM, surface="slack", admin=True)
    for user in (ADA, BEN, ROOT):
        await play.slack.control("message", user=user, text="help", direct=True)  # so that there is a place for it
    for command in OF_ADMINS + OF_MODERATORS:
        for role, (user, direct, team) in roles.items():
            if command in OF_MODERATORS:
                withdrawals = play.store.withdrawals
                hold = command.startswith("release")
                await (withdrawals.withhold(jobs[team], root) if hold else withdrawals.release(jobs[team]))
            logged = len(await play.store.users.audit_log(1_000))
            text = command.replace("JOB", jobs[team]).replace("eve", GHOST)
            place = f"D{user[1:]}" if direct else GENERAL
            ack = await play.slack.slash(text, user=user, channel=place, command="/dream-admin")
            log = await play.store.users.audit_log(1_000)
            wrote = [(row.verb, row.who) for row in log[: len(log) - logged]]
            title, said = words(ack["body"])
            assert ack["body"]["response_type"] == "ephemeral", (role, command)
            if allowed(role, command):
                assert title != "That did not work", (role, command, said)
                assert wrote == [(command.split()[0], f"slack:{user}")] * (command not in SEEN), (role, command)
            else:
                assert title == "That did not work", (role, command, said)
                assert said.count(".") == 1, said
                assert said.endswith("."), said
                assert not wrote, (role, command)
    flags = await play.store.queue.flags()
    assert (flags["paused"], flags["draining"]) == (False, True)  # by an admin; nobody else moved them


def words(body: dict[str, Any]) -> tuple[str, str]:
    """Title and text of an answer in an ack."""
    found = {block["type"]: block["text"]["text"] for block in body["blocks"] if "text" in block}
    return found["header"], found.get("section", "")


async def test_the_admins_of_the_workspace_of_the_token(store: Store, settings: BotSettings) -> None:
    """One workspace: its admins are ours, whoever else asks is refused, another workspace's admin too."""
    async with peer() as slack, stage(slack, store, settings) as play:
        await matrix(play, OF_ONE_WORKSPACE)
        assert await slack.problems() == []


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # slack_sdk's own call
async def test_a_workspace_that_installed_the_app(store: Store, settings: BotSettings) -> None:
    """Many workspaces: an admin of theirs moderates their dreams there; ours are those whom the settings name."""
    oauth: dict[str, Any] = {"slack_client_id": CLIENT_ID, "slack_client_secret": CLIENT_SECRET}
    own = BotSettings(**(settings.model_dump() | oauth | {"admins": f"slack:{ROOT}"}))
    async with peer() as slack, stage(slack, store, own, http=True, single=False) as play:
        assert await consented(play, CODE) == 200
        await matrix(play, OF_MANY)
        assert await slack.problems() == []
