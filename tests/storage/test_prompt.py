"""A prompt's syntax: parts, weights, and every refusal in one sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import UserError
from storage.prompt import MAX_PARTS, Part, parse, scene

texts = st.text(
    st.characters(blacklist_characters="|:", blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1
)
weights = st.integers(-1_000, 1_000).filter(bool).map(lambda hundredths: hundredths / 100)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a blue dog", [("a blue dog", 1.0)]),
        ("a castle::2 | fog::-0.5", [("a castle", 2.0), ("fog", -0.5)]),
        ("a castle|fog", [("a castle", 1.0), ("fog", 1.0)]),
        ("  a castle :: .5 ", [("a castle", 0.5)]),
        ("std::vector::3", [("std::vector", 3.0)]),
        ("10:30, a clock", [("10:30, a clock", 1.0)]),
        ("a::+2.|b::-10", [("a", 2.0), ("b", -10.0)]),
    ],
)
def test_parts_and_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    """A bar parts, two colons weigh, and a lone colon is text."""
    assert parse(prompt) == tuple(Part(*part) for part in parts)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a |", "has words"),
        ("| a", "has words"),
        ("::2", "has words"),
        ("fog::-1", "positive weight"),
        ("a::-1 | b::-2", "positive weight"),
        ("a::0", "from -10 to 10 that is not 0"),
        ("a::10.5", "from -10 to 10"),
        ("a::1e1", "from -10 to 10"),
        ("a::nan", "'nan' is not"),
        ("a::", "'' is not"),
        ("a::٣", "from -10 to 10"),
        ("std::vector", "as in `fog::-0.5`; 'vector' is not"),
        ("|".join("a" * (MAX_PARTS + 1)), "at most 8 parts between |; this one has 9"),
    ],
)
def test_what_is_refused(prompt: str, said: str) -> None:
    """Every refusal is one line that says what is allowed."""
    with pytest.raises(UserError, match=said.replace("|", r"\|")) as refusal:
        parse(prompt)
    assert "\n" not in str(refusal.value)


@given(st.lists(st.builds(Part, texts, weights), min_size=1, max_size=MAX_PARTS))
def test_what_is_written_is_read(parts: list[Part]) -> None:
    """Parts written down are parsed back, unless none of them is positive."""
    written = " | ".join(f"{part.text}::{part.weight:.2f}" for part in parts)
    if all(part.weight < 0 for part in parts):
        with pytest.raises(UserError, match="positive weight"):
            parse(written)
    else:
        assert parse(written) == tuple(parts)


@given(st.text(max_size=80))
def test_any_text_is_parts_or_a_user_error(prompt: str) -> None:
    """Whatever is typed has one to eight parts with words, or is refused; nothing else happens."""
    try:
        parts = parse(prompt)
    except UserError:
        return
    assert 1 <= len(parts) <= MAX_PARTS
    assert all(part.text == part.text.strip() != "" for part in parts)


@pytest.mark.parametrize(
    ("prompt", "things"),
    [
        ("a goldfish | a mountain lake", ("a goldfish", "a mountain lake")),
        ("a goldfish::2 | a mountain lake | fog::-1", ("a goldfish", "a mountain lake")),
        ("a goldfish in a mountain lake", ("a goldfish", "a mountain lake")),
        ("a lion in front of a barn", ("a lion", "a barn")),
        ("a dog on the grass by the sea", ("a dog", "the grass by the sea")),
    ],
)
def test_a_scene_is_two_things(prompt: str, things: tuple[str, str]) -> None:
    """Two positive parts, or one sentence cut at its first joining word."""
    assert scene(parse(prompt)) == things


@pytest.mark.parametrize("prompt", ["a goldfish", "a | b | c", "a goldfish | fog::-1", "inside", "the origin of man"])
def test_other_than_two_things_are_no_scene(prompt: str) -> None:
    """One thing, three, or a joining word only within another."""
    with pytest.raises(UserError, match="compose needs two things"):
        scene(parse(prompt))
