"""What is about oneself: own defaults, a copy of all that is known, being forgotten."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from bot.cards import Card
from bot.commands import Commands
from bot.export import PER_ENTRY
from bot.gestures import Gestures
from bot.house import House
from bot.phrases import Phrases
from bot.settings import BotSettings
from bot.store import Store
from storage.errors import UserError
from storage.job import Method
from tests.bot.test_commands import ADA, BOB, dream, dreamt
from tests.fakes.engine import FakeEngine


@pytest.fixture
def phrases(store: Store) -> Phrases:
    """Lines on the real store."""
    return House.of(store).phrases


async def test_own_defaults_stand_in_for_what_is_not_given(phrases: Phrases, commands: Commands) -> None:
    """They hold for their owner alone, give way to an option, and `none` takes one back."""
    await phrases.answer(ADA, "/settings --keep 3 --candidates 40")
    for caller, line, expected in (
        (ADA, "/dream a lemon", (3, 40)),
        (ADA, "/dream a lemon --keep 1", (1, 40)),
        (ADA, "/dream a lemon --candidates 2", (2, 2)),  # an own keep never makes a smaller dream wrong
        (BOB, "/dream a lemon", (4, 100)),
    ):
        params = (await commands.job(str((await phrases.answer(caller, line)).job))).params
        assert (params.keep, params.candidates) == expected, line
    await phrases.answer(ADA, "/settings --method search")
    params = (await commands.job(str((await phrases.answer(ADA, f"/dream a lemon --from {'0' * 64}")).job))).params
    assert (params.method, params.keep) == (Method.FUSEDREAM, 3)  # the one method that starts from a picture
    await phrases.answer(ADA, "/settings --method none")
    card = await phrases.answer(ADA, "/settings --keep none")
    assert card.rows == ({"method": None, "pack": None, "keep": None, "candidates": 40, "steps": None},)
    assert card.private


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--keep 17", "1 to 16"),
        ("--method luck", "search"),
        ("--pack nosuch", "embedded"),
        ("--seed 3", "--method"),
        ("--candidates 2 --keep 3", "at most"),
        ("keep 3", "nothing else"),
    ],
)
async def test_wrong_defaults_are_refused(phrases: Phrases, line: str, named: str) -> None:
    """As an option would be, and nothing is kept."""
    assert named in (await phrases.answer(ADA, f"/settings {line}")).text
    assert set((await phrases.answer(ADA, "/settings")).rows[0].values()) == {None}


async def test_an_export_is_whole(commands: Commands, engine: FakeEngine, store: Store, tmp_path: Path) -> None:
    """One's own jobs only, with recipes and scores, and every picture as it is stored."""
    names = [await dreamt(commands, engine), await dream(commands)]
    await dreamt(commands, engine, BOB)
    target = tmp_path / "mine.zip"
    await commands.personal.export_to(ADA, str(target))
    with zipfile.ZipFile(target) as archive:
        lines = [json.loads(line) for line in archive.read("jobs.jsonl").splitlines()]
        images = lines[-1]["images"]
        assert [line["job"] for line in lines] == names[::-1]
        assert lines[-1]["recipe"] == {"prompt": "a lemon"}
        assert images[0]["clip_score"] == 0.5
        for image in images:
            assert archive.read(image["path"]) == store.images.read(image["sha256"])
        assert len(archive.namelist()) == 1 + len(images)
    for wrong in (str(target), str(tmp_path / "nosuch" / "mine.zip")):
        with pytest.raises(UserError, match="export names a file"):
            await commands.personal.export_to(ADA, wrong)


def size(card: Card) -> int:
    """Bytes of the file that is handed over with a card."""
    return Path(str(card.file)).stat().st_size


async def test_an_export_for_a_platform_has_room_for_so_much(
    commands: Commands, engine: FakeEngine, settings: BotSettings
) -> None:
    """The jobs are whole, the latest pictures are in, the others are counted; it lies in a file that is handed over."""
    for prompt in ("a lemon", "a lime", "a pear"):
        await dreamt(commands, engine, prompt=prompt)
    whole = await commands.personal.export(ADA)
    room = size(whole) - PER_ENTRY
    card = await commands.personal.export(ADA, room=room)
    assert (whole.rows[0]["pictures"], whole.rows[0]["left_out"]) == (6, 0)
    assert card.rows[0]["pictures"] + card.rows[0]["left_out"] == 6
    assert card.rows[0]["left_out"] > 0
    assert size(card) <= room
    assert "did not fit" in card.text
    assert card.private


async def test_forgetting_asks_first(phrases: Phrases, commands: Commands, engine: FakeEngine, store: Store) -> None:
    """Without a yes nothing happens; the card's button is the yes."""
    name = await dreamt(commands, engine)
    card = await phrases.answer(ADA, "/forget-me")
    assert "1 dreams" in card.text
    assert (await commands.job(name)).images
    (button,) = card.buttons
    await Gestures(commands).press(ADA, button.id)
    assert not (await commands.history(ADA)).rows
    assert not (await commands.job(name)).images


async def test_forgetting_deletes_files_and_stops_jobs(
    phrases: Phrases, commands: Commands, engine: FakeEngine, store: Store
) -> None:
    """Pictures that were theirs alone are gone from the disk; what waited is stopped; others' stay."""
    mine, theirs = await dreamt(commands, engine), await dreamt(commands, engine, BOB, "a lime")
    waiting = await dream(commands)
    own, others = (await commands.job(mine)).images, (await commands.job(theirs)).images
    card = await phrases.answer(ADA, "/forget-me --sure yes")
    assert card.rows == ({"jobs": 2, "stopped": 1},)
    assert not any(store.images.path(image.sha256).exists() for image in own)
    assert all(store.images.path(image.sha256).exists() for image in others)
    assert (await commands.job(waiting)).state == "cancelled"
