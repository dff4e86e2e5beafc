"""What is deleted, withheld or forgotten is gone from everywhere it was shown, and from nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import String, cast, select

from storage import schema
from storage.database import Database
from storage.errors import LostClaim, UserError
from storage.forgetting import NO_WORDS, Forgetting
from storage.job import Job, State, Withdrawn
from storage.leaderboard import Leaderboard
from storage.outbox import Outbox
from storage.preferences import Preferences
from storage.queue import Queue
from storage.users import Users
from storage.votes import Votes
from storage.withdrawals import Withdrawals
from tests.factories import make_caller, make_image, make_params, make_request, make_result

ADA, BOB, ROOT = make_caller("ada"), make_caller("bob"), make_caller("root", admin=True)


async def dreamt(queue: Queue, user: str = "ada", *numbers: int, **values: object) -> Job:
    """A completed job of a person with these pictures, previewed by the last one; its reply is owed."""
    images = tuple(make_image(number) for number in numbers or (1,))
    values = {"params": make_params(f"{user}'s words"), "reply_to": "here", **values}
    name = (await queue.submit(make_request(user, **values))).id
    (job,) = await queue.claim("engine", 1)
    assert job.id == name
    await queue.progress(job, 1, 2, f"{90 + images[-1].candidate:064x}", 0.1)
    await queue.complete(job, make_result(images=images))
    return await known(queue, name)


async def known(queue: Queue, name: str) -> Job:
    """A job that must exist."""
    job = await queue.get(name)
    assert job is not None
    return job


async def test_a_vote_is_one_a_person_and_toggles(queue: Queue, db: Database) -> None:
    """Twice is none; two people are two; the board by votes has the most loved first and the unloved not at all."""
    votes = Votes(db)
    liked, loved, _ = await dreamt(queue), await dreamt(queue), await dreamt(queue)
    assert [(await votes.toggle(ADA, liked.id)).votes for _ in range(3)] == [1, 0, 1]
    for caller in (ADA, BOB):
        poll = await votes.toggle(caller, loved.id)
    assert (poll.given, poll.votes) == (True, 2)
    rows = await Leaderboard(db).top(by="votes")
    assert [(row.job, row.votes) for row in rows] == [(loved.id, 2), (liked.id, 1)]
    assert [row.votes for row in await Leaderboard(db).top(by="person")] == [3]
    await Users(db).ban("local", "bob")
    with pytest.raises(UserError, match="banned"):
        await votes.toggle(BOB, liked.id)


async def test_deleting_takes_pictures_that_nothing_else_shows(queue: Queue, db: Database) -> None:
    """Pictures, candidates, votes and previews go; a picture that another job shows as well stays a file."""
    job, other = await dreamt(queue, "ada", 1, 2), await dreamt(queue, "bob", 2)
    await Votes(db).toggle(BOB, job.id)
    gone = await Withdrawals(db).delete(job.id, ADA)
    assert gone == [f"{1:064x}", f"{92:064x}"]  # and not the second picture, which is bob's as well
    after = await known(queue, job.id)
    assert (after.withdrawn, after.images, after.votes, after.params.prompt) == (
        Withdrawn.DELETED,
        (),
        0,
        "ada's words",
    )
    assert not await queue.candidates(job.id)
    assert [row.job for row in await Leaderboard(db).top()] == [other.id]
    assert [row.job for row in await Leaderboard(db).top(by="person")] == [other.id]


async def test_files_stay_while_a_relative_runs(queue: Queue, db: Database) -> None:
    """An `again` that runs may be about to refer to the very same pictures."""
    job = await dreamt(queue)
    await queue.submit(make_request("bob", again_of=job.id))
    await queue.claim("engine", 1)
    assert await Withdrawals(db).delete(job.id, ADA) == []


async def test_a_message_is_owed_once_more(queue: Queue, db: Database) -> None:
    """What was posted is to be written over, by its message id, at a withdrawal and at a release."""
    outbox, withdrawals, job = Outbox(db), Withdrawals(db), await dreamt(queue)
    (letter,) = await outbox.unsent(["local"])
    await outbox.sent(letter.id, "message 1")
    for change in (withdrawals.withhold(job.id, ROOT), withdrawals.release(job.id)):
        await change
        (again,) = await outbox.unsent(["local"])
        assert again == replace(letter, message_id="message 1")
        await outbox.sent(again.id, "message 1")
    assert not await withdrawals.release(job.id)
    assert (await known(queue, job.id)).images


async def test_a_closed_letter_is_not_tried_again(queue: Queue, db: Database) -> None:
    """It is counted as undeliverable; one that is owed is counted as owed."""
    outbox = Outbox(db)
    await dreamt(queue)
    await dreamt(queue)
    (first, _) = await outbox.unsent(["local"])
    await outbox.close(first.id, "the channel is gone")
    assert await outbox.counts() == {"owed": 1, "undeliverable": 1}
    assert len(await outbox.unsent(["local"])) == 1


async def test_nothing_of_a_forgotten_person_stays(queue: Queue, db: Database) -> None:
    """No table holds their words or their name any more, nor the digests of pictures that were theirs alone."""
    first, shared = await dreamt(queue, "ada", 1), await dreamt(queue, "ada", 2)
    again = await dreamt(queue, "bob", 2, again_of=shared.id)
    await Votes(db).toggle(ADA, again.id)
    await Preferences(db).put(ADA, {"keep": 2})
    waiting = (await queue.submit(make_request("ada", params=make_params("ada's words")))).id
    gone = await Forgetting(db).forget(ADA)
    assert (gone.jobs, gone.stopped) == (3, 1)
    assert f"{1:064x}" in gone.digests
    assert f"{2:064x}" not in gone.digests
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            async with db.read() as connection:
                cells = (await connection.execute(select(cast(column, String)))).scalars().all()
            assert not [cell for cell in cells if cell and "ada" in cell.lower()], column
    assert (await known(queue, first.id)).params.prompt == NO_WORDS
    assert (await known(queue, waiting)).state is State.CANCELLED
    assert (await known(queue, again.id)).images
    assert await queue.history(ADA) == []
    assert (await Forgetting(db).forget(ADA)).jobs == 0


async def test_a_running_job_is_lost_to_its_engine(queue: Queue, db: Database) -> None:
    """What the engine then wants to say of it is refused, so no picture comes back."""
    await queue.submit(make_request("ada", reply_to="here"))
    (job,) = await queue.claim("engine", 1)
    assert (await Forgetting(db).forget(ADA)).stopped == 1
    with pytest.raises(LostClaim):
        await queue.complete(job, make_result())


async def test_a_ban_outlives_forgetting(queue: Queue, db: Database) -> None:
    """Nobody gets rid of a ban or a limit by being forgotten."""
    await dreamt(queue)
    await Users(db).limit("local", "ada", 1)
    await Users(db).ban("local", "ada")
    await Forgetting(db).forget(ADA)
    assert await Users(db).is_banned(ADA)
    await Users(db).unban("local", "ada")
    await queue.submit(make_request("ada"))
    with pytest.raises(UserError, match="1 dreams waiting"):
        await queue.submit(make_request("ada"))


async def test_the_audit_log_has_the_act_without_the_name(queue: Queue, db: Database) -> None:
    """Who was forgotten cannot be read there, that somebody was can."""
    await dreamt(queue)
    await Users(db).audit(ROOT, "limit", "local:ada", "3")
    await Forgetting(db).forget(ADA)
    forgot, limited = await Users(db).audit_log()
    assert (forgot.verb, forgot.who, forgot.detail) == ("forget-me", "local:somebody", {"jobs": 1})
    assert limited.target == forgot.target != "local:ada"


async def test_own_defaults_are_kept(db: Database) -> None:
    """A person's, not another's; an empty set is none."""
    preferences = Preferences(db)
    await preferences.put(ADA, {"method": "search", "keep": 2})
    await preferences.put(ADA, {"keep": 3})
    assert (await preferences.of(ADA), await preferences.of(BOB)) == ({"keep": 3}, {})
    await preferences.put(ADA, {})
    assert await preferences.of(ADA) == {}


async def test_a_moderator_stops_jobs_of_their_guild_alone(queue: Queue) -> None:
    """Neither another guild's nor, in direct messages, anybody's."""
    for guild, by, told in (
        ("g", make_caller("mod", guild="g", moderator=True), "cancelled"),
        ("h", make_caller("mod", guild="g", moderator=True), "not_yours"),
        ("direct", make_caller("mod", guild="direct", moderator=True), "not_yours"),
    ):
        job = await queue.submit(make_request("ada", guild=guild))
        assert await queue.cancel(job.id, by) == told


async def test_what_the_concept_check_finds_is_withheld_at_once(queue: Queue, db: Database) -> None:
    """In the transaction that completes the job: nobody sees it before a release, and the score is on record."""
    verdict = {"concept": "gore", "score": 0.31, "threshold": 0.27, "action": "withhold"}
    await queue.submit(make_request(reply_to="here"))
    (job,) = await queue.claim("engine", 1)
    await queue.complete(job, make_result(verdicts=(verdict,)))
    held = await queue.get(job.id)
    assert held is not None
    assert held.withdrawn is Withdrawn.WITHHELD
    (row,) = await Users(db).audit_log()
    assert (row.who, row.verb, row.target, row.detail) == ("local:concepts", "withhold", job.id, verdict)
    assert await Withdrawals(db).release(job.id)
