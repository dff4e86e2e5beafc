"""Admin commands on Discord: every role, every command, through the peer. What is not allowed changes nothing."""

from __future__ import annotations

from pathlib import Path

from storage.job import Caller, Params, Request
from storage.users import Users
from storage.withdrawals import Withdrawals
from tests.bot.test_roles import OF_ADMINS, OF_MODERATORS, SEEN
from tests.fakes.discord.peer import MODERATOR_RIGHTS, Entry, text_of
from tests.fakes.discord.world import DM_CHANNEL, FOREIGN_CHANNEL, GUILD, OTHER_CHANNEL
from tests.fakes.engine import FakeEngine
from tests.scenarios.discord_house import DiscordHouse, open_discord_house

OWNER, NOBODY, MEMBER, MODERATOR, ADMIN = (f"30000000000000010{number}" for number in range(5))
EVERYTHING = str((1 << 53) - 1)  # as whoever owns a guild has it
ROLES: dict[str, Entry] = {
    "nobody": {"user": NOBODY, "permissions": "0"},
    "owner of the dream": {"user": OWNER},
    "member": {"user": MEMBER},
    "member in a direct message": {"user": MEMBER, "channel": DM_CHANNEL},
    "moderator": {"user": MODERATOR, "permissions": MODERATOR_RIGHTS},
    "owner of the guild": {"user": MODERATOR, "permissions": EVERYTHING},
    "moderator in a direct message": {"user": MODERATOR, "channel": DM_CHANNEL},
    "moderator of another guild": {"user": MODERATOR, "permissions": MODERATOR_RIGHTS, "channel": OTHER_CHANNEL},
    "owner of a guild that the bot is not in": {
        "user": MODERATOR,
        "permissions": EVERYTHING,
        "channel": FOREIGN_CHANNEL,
        "user_install": True,
    },
    "admin": {"user": ADMIN},
    "admin in a direct message": {"user": ADMIN, "channel": DM_CHANNEL},
    "admin in another guild": {"user": ADMIN, "channel": OTHER_CHANNEL},
}
OF_A_GUILD = ("moderator", "owner of the guild")
OPTIONS = {"limit": "n", "weight": "share", "purge": "days"}


def allowed(role: str, command: str) -> bool:
    """The whole policy, in two lines."""
    return role.startswith("admin") or (role in OF_A_GUILD and command in OF_MODERATORS)


def given(command: str, job: str) -> tuple[str, Entry]:
    """`limit eve 3` as a verb and Discord's options."""
    verb, *rest = command.split()
    if command in OF_MODERATORS:
        return verb, {"job": job}
    options: Entry = {}
    if rest and verb != "purge":
        options["user"] = {"user": NOBODY}
    if verb in OPTIONS:
        options[OPTIONS[verb]] = rest[-1] if verb == "weight" else int(rest[-1])
    return verb, options


async def dreamt(play: DiscordHouse) -> str:
    """A completed dream of the guild."""
    house = play.house
    caller = Caller(user=OWNER, name="owner", guild=GUILD, surface="discord")
    job = await house.queue.submit(Request(caller=caller, params=Params(prompt="a lemon", seed=7)))
    engine = FakeEngine(house.database, house.settings)
    (claimed,) = await engine.queue.claim(engine.owner, 1)
    await engine.run(claimed)
    return job.id


async def test_every_role_and_every_admin_command(tmp_path: Path, tiny_folder: Path) -> None:
    """Done and written down, or refused in one friendly sentence without a trace; for the asker's eyes only."""
    async with open_discord_house(tmp_path / "home", tiny_folder, DREAMBOT_ADMINS=f"discord:{ADMIN}") as play:
        await play.start_bot()
        users, withdrawals = Users(play.house.database), Withdrawals(play.house.database)
        job = await dreamt(play)
        root = Caller(user=ADMIN, name="root", guild=GUILD, surface="discord", admin=True)
        for command in OF_ADMINS + OF_MODERATORS:
            verb, options = given(command, job)
            for role, who in ROLES.items():
                await (withdrawals.withhold(job, root) if verb == "release" else withdrawals.release(job))
                logged = len(await users.audit_log(1_000))
                answer = await play.answered(await play.peer.command("dream-admin", verb, who=who, **options))
                log = await users.audit_log(1_000)
                wrote = log[: len(log) - logged]
                said = answer["embeds"][0].get("description") or ""
                assert answer["flags"] & 64, (role, command)
                if allowed(role, command):
                    assert "That did not work" not in text_of(answer), (role, command, said)
                    acts = [] if verb in SEEN else [(verb, f"discord:{who['user']}")]
                    assert [(row.verb, row.who) for row in wrote] == acts, (role, command)
                else:
                    assert "That did not work" in text_of(answer), (role, command, said)
                    assert said.count(".") == 1, said
                    assert said.endswith("."), said
                    assert not wrote, (role, command)
        flags = await play.house.queue.flags()
        assert (flags["paused"], flags["draining"]) == (False, True)  # by an admin; nobody else moved them
        assert await play.peer.problems() == []
