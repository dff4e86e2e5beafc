"""The ground floor: what a job, a recipe, an event and an error are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import LostClaim, StorageError, StoreBusy, UserError
from storage.events import FINAL_KINDS
from storage.job import FINAL, MAX_PROMPT, MAX_SEED, TRANSITIONS, By, Method, Params, State
from storage.recipe import canonical, changes, digest
from tests.factories import make_params

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(), plain, max_size=5)


def test_final_states_are_final() -> None:
    """Three states end a life, each with an event of its name; every state is in the table."""
    assert {state.value for state in FINAL} == {kind.value for kind in FINAL_KINDS}
    assert set(TRANSITIONS) == set(State)
    assert State.RUNNING in TRANSITIONS[State.QUEUED]


def test_errors_say_their_docstring() -> None:
    """An error without a message says what its class says; the type decides who sees it."""
    assert str(StoreBusy()) == "The database is locked by another program; try again in a moment."
    assert str(UserError("No.")) == "No."
    assert issubclass(LostClaim, StorageError)
    assert not issubclass(StorageError, UserError)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "  \n"}, "1 to 3,000 characters"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "3,001"),
        ({"prompt": "a\x00b"}, "valid Unicode"),
        ({"prompt": "\ud800"}, "valid Unicode"),
        ({"seed": -1}, "from 0 to 4294967295"),
        ({"seed": MAX_SEED + 1}, "from 0 to 4294967295"),
        ({"seed": 1.0}, "whole number"),
        ({"candidates": True}, "whole number"),
        ({"candidates": 0}, "from 1 to 10000"),
        ({"candidates": 10_001}, "from 1 to 10000"),
        ({"steps": 2_001}, "from 1 to 2000"),
        ({"keep": 17}, "from 1 to 16"),
        ({"top_k": 0}, "top-k is a whole number from 1"),
        ({"keep": 3, "candidates": 2}, "only 2 candidates"),
        ({"method": "magic"}, "method is one of search"),
        ({"by": "luck"}, "by is one of clip, augclip, judge"),
    ],
)
def test_wrong_params(values: dict[str, Any], said: str) -> None:
    """A wrong value fails where it is made, and the sentence names what is allowed."""
    with pytest.raises(UserError, match=said):
        make_params(**values)


@pytest.mark.parametrize(
    "values",
    [{"seed": 0}, {"seed": MAX_SEED}, {"candidates": 10_000, "keep": 16}, {"candidates": 1}, {"steps": 2_000}],
)
def test_bounds_are_allowed(values: dict[str, int]) -> None:
    """The ends of every range are inside it."""
    assert make_params(**values)


@given(st.builds(Params, prompt=st.text(min_size=1).filter(lambda text: "\x00" not in text and text.strip()),
                 seed=st.integers(0, MAX_SEED), method=st.sampled_from(Method), by=st.sampled_from(By)))  # fmt: skip
def test_params_round_trip(params: Params) -> None:
    """Params written down and read back are the same, whatever a later version has added."""
    assert Params.from_json({**params.to_json(), "of_a_later_version": 1}) == params


def test_facts_are_frozen() -> None:
    """A fact does not change."""
    with pytest.raises(FrozenInstanceError):
        make_params().seed = 1  # type: ignore[misc]


@given(recipes)
def test_digest_follows_the_content(recipe: dict[str, Any]) -> None:
    """A recipe's digest does not depend on the order of its keys, and does on everything else."""
    backwards = dict(reversed(recipe.items()))
    assert digest(recipe) == digest(backwards)
    assert changes(recipe, backwards) == []
    assert digest({**recipe, "one more": 1}) != digest(recipe) or "one more" in recipe


def test_digest_is_fixed() -> None:
    """The digest of a known recipe is what it has always been."""
    recipe = {"seed": 7, "prompt": "ein blauer Hünd", "lr": 0.1}
    assert canonical(recipe) == '{"lr":0.1,"prompt":"ein blauer Hünd","seed":7}'
    assert digest(recipe)[:16] == "548542e193c2bc82"


def test_no_nan_in_a_recipe() -> None:
    """What JSON cannot hold cannot be in a recipe."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"lr": float("nan")})


def test_changes_are_named() -> None:
    """What differs is said by name, old and new."""
    before, after = {"torch": "2.11", "device": "cpu"}, {"torch": "2.15", "device": "cpu", "threads": 2}
    assert changes(before, after) == ["threads None -> 2", "torch 2.11 -> 2.15"]


def test_ground_floor_is_light() -> None:
    """The shared vocabulary is imported without a database library, and storage without torch."""
    code = "import sys, storage.job, storage.events, storage.recipe, storage.fairness, storage.errors;"
    heavy = "print([name for name in ('sqlalchemy', 'pydantic', 'aiosqlite', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True).stdout == "[]\n"
