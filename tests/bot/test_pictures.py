"""Votes, boards, galleries, and pictures that are withdrawn."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bot.admin import Admin
from bot.cards import Card
from bot.commands import Commands
from bot.gestures import Gestures
from bot.store import Store
from storage.errors import UserError
from storage.job import DIRECT, Caller
from tests.bot.test_commands import ADA, BOB, ROOT, STRANGER, dream, dreamt, step
from tests.fakes.engine import FakeEngine

MODERATOR = Caller(user="mod", name="mod", moderator=True)
FOREIGN = Caller(user="mod", name="mod", guild="elsewhere", moderator=True)


async def test_everyone_who_sees_a_picture_may_vote(commands: Commands, engine: FakeEngine) -> None:
    """Once each, by command or button, for whoever pressed alone; not where there is no picture, nor from elsewhere."""
    name, gestures = await dreamt(commands, engine), Gestures(commands)
    assert "it has 1 vote." in (await commands.vote(ADA, name)).text
    answer = await gestures.press(BOB, f"v1:vote:{name}")
    assert isinstance(answer, Card)
    assert ("it has 2 votes." in answer.text, answer.private) == (True, True)
    assert "taken back; it has 1 vote." in (await commands.vote(BOB, name)).text
    for caller, job in ((STRANGER, name), (ADA, await dream(commands))):
        with pytest.raises(UserError):
            await commands.vote(caller, job)


async def test_the_details_say_how_it_was_made(commands: Commands, engine: FakeEngine) -> None:
    """Votes, parent, owner and recipe stand there beside what a result shows."""
    name = await dreamt(commands, engine)
    await commands.vote(ADA, name)
    facts = {field.name: field.value for field in (await commands.show(BOB, name)).fields}
    assert (facts["votes"], facts["by"], facts["candidates"], facts["recipe"]) == ("1", "ada", "100", "1" * 12)


async def test_boards_are_the_guilds_and_the_periods(commands: Commands, engine: FakeEngine, store: Store) -> None:
    """By votes and by person, of a week, of nobody else's guild or surface."""
    mine, theirs = await dreamt(commands, engine), await dreamt(commands, engine, BOB)
    await dreamt(commands, engine, STRANGER)
    await dreamt(commands, engine, replace(BOB, surface="slack"))
    await commands.vote(ADA, theirs)
    for by, jobs in (("votes", [theirs]), ("score", [mine, theirs]), ("person", [mine, theirs])):
        assert [row["job"] for row in (await commands.leaderboard(ADA, by=by)).rows] == jobs
    later = Commands(store, wall=lambda: time.time() + 8 * 86_400)
    assert not (await later.leaderboard(ADA, period="week")).rows
    assert len((await later.leaderboard(ADA, period="month")).rows) == 2
    with pytest.raises(UserError, match="week, month, ever"):
        await commands.leaderboard(ADA, period="day")


async def test_a_score_against_a_picture_is_on_no_board_of_scores(commands: Commands, engine: FakeEngine) -> None:
    """It does not compare with one against words alone; the gallery shows it last, and what is loved first."""
    first = await dreamt(commands, engine)
    aimed = str((await commands.vary(ADA, first)).job)
    await step(engine)
    assert [row["job"] for row in (await commands.leaderboard(ADA)).rows] == [first]
    assert [row["job"] for row in (await commands.gallery(ADA)).rows] == [first, aimed]
    await commands.vote(BOB, aimed)
    assert [row["job"] for row in (await commands.gallery(ADA)).rows] == [aimed, first]


async def test_a_gallery_shows_pictures(commands: Commands, engine: FakeEngine) -> None:
    """One's own, another person's, or the guild's, best first."""
    mine, theirs = await dreamt(commands, engine), await dreamt(commands, engine, BOB)
    for of, jobs in (("me", [mine]), ("bob", [theirs]), ("<@bob>", [theirs]), ("guild", [mine, theirs])):
        card = await commands.gallery(ADA, of=of)
        assert [row["job"] for row in card.rows] == jobs
        assert len(card.images) == len(jobs)


async def test_in_direct_messages_everybody_is_alone(commands: Commands, engine: FakeEngine) -> None:
    """The guild of direct messages is shared in turns only: no job, board or gallery of somebody else's is seen."""
    ada, bob = replace(ADA, guild=DIRECT), replace(BOB, guild=DIRECT, moderator=True)
    name = await dreamt(commands, engine, ada)
    assert [row["job"] for row in (await commands.leaderboard(ada)).rows] == [name]
    assert not (await commands.leaderboard(bob)).rows
    assert not (await commands.queue(bob)).rows
    for ask in (commands.show, commands.delete, commands.vote):
        with pytest.raises(UserError, match="There is no job"):
            await ask(bob, name)
    with pytest.raises(UserError, match="your own"):
        await commands.gallery(bob, of="ada")


@pytest.mark.parametrize("caller", [ADA, MODERATOR, ROOT])
async def test_who_may_delete_does(commands: Commands, engine: FakeEngine, store: Store, caller: Caller) -> None:
    """The owner, a moderator of the guild, an admin: files and rows go; what others deleted is in the audit log."""
    name = await dreamt(commands, engine)
    images = (await commands.job(name)).images
    await commands.delete(caller, name)
    assert not any(store.images.path(image.sha256).exists() for image in images)
    assert [row["withdrawn"] for row in (await commands.history(ADA)).rows] == ["deleted"]
    assert [row.verb for row in await store.users.audit_log()] == ([] if caller is ADA else ["delete"])
    with pytest.raises(UserError, match="There is no job"):
        await commands.show(BOB, name)
    with pytest.raises(UserError, match="are deleted"):
        await commands.rerank(ADA, name)
    assert (await commands.anew(ADA, name)).job  # its owner may dream it anew


@pytest.mark.parametrize(("caller", "told"), [(BOB, "only its owner or a moderator"), (FOREIGN, "There is no job")])
async def test_who_may_not_delete_does_not(commands: Commands, engine: FakeEngine, caller: Caller, told: str) -> None:
    """Another person of the guild, and another guild's moderator, by command and by either button."""
    name, gestures = await dreamt(commands, engine), Gestures(commands)
    with pytest.raises(UserError, match=told):
        await commands.delete(caller, name)
    for verb in ("delete", "erase"):
        answer = await gestures.press(caller, f"v1:{verb}:{name}")
        assert isinstance(answer, Card)
        assert told in answer.text
    assert (await commands.job(name)).images


async def test_a_delete_button_asks_first(commands: Commands, engine: FakeEngine) -> None:
    """The first press shows a question to whoever pressed; its button deletes."""
    name, gestures = await dreamt(commands, engine), Gestures(commands)
    question = await gestures.press(ADA, f"v1:delete:{name}")
    assert isinstance(question, Card)
    assert question.private
    assert (await commands.job(name)).images
    await gestures.press(ADA, question.buttons[0].id)
    assert not (await commands.job(name)).images


async def test_what_is_withheld_is_for_moderators(commands: Commands, engine: FakeEngine, store: Store) -> None:
    """Nobody else sees the pictures, on no card, board or gallery, until they are released."""
    name, admin = await dreamt(commands, engine), Admin(store)
    await admin.withhold(MODERATOR, name)
    for caller, shown in ((ADA, 0), (BOB, 0), (MODERATOR, 2), (ROOT, 2)):
        card = await commands.show(caller, name)
        assert len(card.images) == len(card.rows[0]["images"]) == shown
    assert not (await commands.gallery(ADA, of="guild")).images
    assert not (await commands.leaderboard(ADA)).rows
    for refused in (commands.again(ADA, name), commands.vary(ADA, name), commands.vote(ADA, name)):
        with pytest.raises(UserError, match="withheld"):
            await refused
    await admin.release(MODERATOR, name)
    assert len((await commands.show(BOB, name)).images) == 2
    assert [row.verb for row in await store.users.audit_log()] == ["release", "withhold"]


async def test_an_owner_does_not_release_their_own(commands: Commands, engine: FakeEngine, store: Store) -> None:
    """A moderator asks another one."""
    name, admin = await dreamt(commands, engine, MODERATOR), Admin(store)
    await admin.withhold(ROOT, name)
    with pytest.raises(UserError, match="another moderator"):
        await admin.release(MODERATOR, name)
    assert not (await commands.show(MODERATOR, name)).images


async def test_a_vary_starts_from_the_best_picture(commands: Commands, engine: FakeEngine) -> None:
    """Of a dream or of a rerank; what has no picture cannot be varied."""
    name = await dreamt(commands, engine)
    best = (await commands.job(name)).images[0].sha256
    job = await commands.job(str((await commands.vary(BOB, name)).job))
    assert (job.params.image, job.parent, job.caller.user) == (best, name, "bob")
    with pytest.raises(UserError, match="with a picture"):
        await commands.vary(ADA, await dream(commands))


async def test_suggestions(commands: Commands, engine: FakeEngine) -> None:
    """Methods, packs and one's own jobs, by what is typed so far."""
    name = await dreamt(commands, engine)
    assert list(await commands.suggest(ADA, "job", name[:2])) == [name]
    assert list(await commands.suggest(BOB, "job", "")) == []
    assert "fusedream" in await commands.suggest(ADA, "method", "Fuse")
    assert list(await commands.suggest(ADA, "pack", "emb")) == ["embedded"]
