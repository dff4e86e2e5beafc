"""Buttons and forms, by the ids that a surface sends back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.cards import Card, Form, Tone
from bot.commands import Commands
from bot.gestures import Gestures
from bot.house import House
from bot.store import Store
from storage.job import Caller
from tests.bot.test_commands import ADA, STRANGER, dream, dreamt
from tests.fakes.engine import FakeEngine


@pytest.fixture
def gestures(store: Store) -> Gestures:
    """Buttons on the real store."""
    return House.of(store).gestures


async def pressed(gestures: Gestures, custom_id: str, caller: Caller = ADA) -> Card:
    """The card that a button answers."""
    card = await gestures.press(caller, custom_id)
    assert isinstance(card, Card)
    return card


@pytest.mark.parametrize("verb", ["again", "anew", "vary"])
async def test_a_button_makes_a_job_that_names_its_parent(
    gestures: Gestures, commands: Commands, engine: FakeEngine, verb: str
) -> None:
    """A new job of whoever pressed; for another guild's people there is no such job."""
    name = await dreamt(commands, engine)
    job = await commands.job(str((await pressed(gestures, f"v1:{verb}:{name}")).job))
    first = await commands.job(name)
    assert name in (job.parent, job.again_of)
    assert (job.params.seed == first.params.seed) is (verb == "again")
    assert job.params.image == (first.images[0].sha256 if verb == "vary" else None)
    assert "There is no job" in (await pressed(gestures, f"v1:{verb}:{name}", STRANGER)).text


async def test_the_same_press_twice_is_one_job(gestures: Gestures, commands: Commands, engine: FakeEngine) -> None:
    """A platform's second delivery of a press answers with the first one's job."""
    name = await dreamt(commands, engine)
    answers = [await gestures.press(ADA, f"v1:anew:{name}", event_key="discord:1") for _ in range(2)]
    assert len({answer.job for answer in answers if isinstance(answer, Card)}) == 1


@pytest.mark.parametrize(
    ("verb", "values", "prompt"),
    [
        ("rerank", {"prompt": "a lime", "by": "judge"}, "a lime"),
        ("rerank", {}, "a lemon"),
        ("edit", {"prompt": "a lime", "seed": ""}, "a lime"),
    ],
)
async def test_a_form_is_filled_in_and_sent(
    gestures: Gestures, commands: Commands, engine: FakeEngine, verb: str, values: dict[str, str], prompt: str
) -> None:
    """The form carries the job's words; what comes back makes a job with them."""
    name = await dreamt(commands, engine)
    form = await gestures.press(ADA, f"v1:{verb}:{name}")
    assert isinstance(form, Form)
    assert form.inputs[0].value == "a lemon"
    card = await gestures.submit(ADA, form.id, values)
    assert (await commands.job(str(card.job))).params.prompt == prompt


async def test_wrong_form_values_are_a_card(gestures: Gestures, commands: Commands, engine: FakeEngine) -> None:
    """An empty prompt and a seed that is none are told in a sentence."""
    name = await dreamt(commands, engine)
    for values in ({"prompt": " "}, {"prompt": "a lime", "seed": "many"}):
        card = await gestures.submit(ADA, f"v1:edit:{name}", values)
        assert card.tone is Tone.WRONG


async def test_a_cancel_button_tells_what_it_observed(gestures: Gestures, commands: Commands) -> None:
    """As the command does, to whoever pressed alone."""
    card = await pressed(gestures, f"v1:cancel:{await dream(commands)}")
    assert (card.rows[0]["outcome"], card.private) == ("cancelled", True)


@given(st.text(max_size=40) | st.builds("v1:{}:{}".format, st.text(max_size=8), st.text(max_size=8)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_id_is_answered(gestures: Gestures, custom_id: str) -> None:
    """No id makes it raise, pressed or sent in."""
    assert (await pressed(gestures, custom_id)).tone is Tone.WRONG
    assert (await gestures.submit(ADA, custom_id, {})).tone is Tone.WRONG
