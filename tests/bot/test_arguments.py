"""Words and options into Params."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import arguments
from storage.errors import UserError
from storage.job import MAX_SEED, By, Method, Params


def test_defaults_are_those_of_the_table() -> None:
    """A bare prompt takes every default, and the seed is drawn."""
    params = arguments.dream("a blue dog", {}, keep=arguments.KEEP_IN_TERMINAL)
    assert params == Params(prompt="a blue dog", seed=params.seed)
    assert 0 <= params.seed <= MAX_SEED


def test_chat_keeps_four_and_never_more_than_candidates() -> None:
    """In chat four pictures are kept, fewer where fewer are drawn."""
    assert arguments.dream("dog", {}).keep == 4
    assert arguments.dream("dog", {"candidates": "2"}).keep == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": "-1"}, "0 to 4294967295"),
        ({"seed": "4294967296"}, "0 to 4294967295"),
        ({"seed": "seven"}, "0 to 4294967295"),
        ({"seed": "9" * 5_000}, "0 to 4294967295"),
        ({"candidates": "0"}, "1 to 10000"),
        ({"candidates": 10_001}, "1 to 10000"),
        ({"steps": "1.5"}, "1 to 2000"),
        ({"keep": "17"}, "1 to 16"),
        ({"top-k": "0"}, "top-k is a whole number from 1"),
        ({"method": "nosuch"}, "search"),
        ({"method": "rerank"}, "search"),
        ({"pack": "../x"}, "embedded"),
        ({"keep": "5", "candidates": "4"}, "at most"),
    ],
)
def test_a_wrong_option_names_what_is_allowed(options: dict[str, str | int], named: str) -> None:
    """Every refusal is one line that names the allowed values."""
    with pytest.raises(UserError, match=named) as refusal:
        arguments.dream("dog", options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("prompt", ["", "  \n", "x" * 5_000, "\x00", "\ud800"])
def test_a_wrong_prompt_is_refused(prompt: str) -> None:
    """A prompt has 1 to 3,000 characters of text."""
    with pytest.raises(UserError, match="3,000"):
        arguments.dream(prompt, {})


def test_options_may_stand_anywhere() -> None:
    """Options before, between and after the words; = and a typographic dash do as well."""
    words = arguments.words("--seed 3 a blue —keep=2 dog --candidates 5")
    assert words.text == "a blue dog"
    assert words.options == {"seed": "3", "keep": "2", "candidates": "5"}


def test_after_two_dashes_all_is_text() -> None:
    """A lone -- ends the options."""
    assert arguments.words("a -- --seed  3").text == "a --seed  3"


def test_quotes_around_the_whole_prompt_go() -> None:
    """Who quotes the prompt as in a shell means the prompt."""
    assert arguments.words('"a blue dog" --seed 1').text == "a blue dog"
    assert arguments.words("don't panic").text == "don't panic"


@pytest.mark.parametrize("line", ["a --nosuch 3", "a --seed"])
def test_unknown_and_empty_options_are_refused(line: str) -> None:
    """An option that is not known, or has no value, is a UserError."""
    with pytest.raises(UserError, match="--"):
        arguments.words(line)


@given(st.text(max_size=200))
def test_any_line_is_a_prompt_or_a_user_error(line: str) -> None:
    """Whatever is typed becomes Params or a one-line refusal, never another exception."""
    try:
        words = arguments.words(line)
        params = arguments.dream(words.text, words.options)
    except UserError:
        return
    assert Params.from_json(params.to_json()) == params


@given(st.text(max_size=60))
def test_any_job_name_is_safe_or_refused(text: str) -> None:
    """A job's name is letters and digits, whatever is typed."""
    try:
        name = arguments.job_id(text)
    except UserError:
        return
    assert name.isascii()
    assert name.isalnum()


def test_a_button_names_verb_and_job() -> None:
    """`v1:again:k7f3q2` is again of k7f3q2; another version is refused."""
    assert arguments.button("v1:again:k7f3q2") == ("again", "k7f3q2")
    with pytest.raises(UserError):
        arguments.button("v2:again:k7f3q2")


def test_rerank_keeps_all_but_words_and_measure() -> None:
    """A rerank's params are the parent's, with another prompt and measure."""
    of = Params(prompt="dog", seed=7, candidates=20, keep=2)
    params = arguments.rerank(of, "cat", "judge")
    assert (params.prompt, params.by, params.method) == ("cat", By.JUDGE, Method.RERANK)
    assert (params.seed, params.candidates, params.keep) == (7, 20, 2)
    with pytest.raises(UserError, match="clip, augclip, judge"):
        arguments.rerank(of, None, "taste")


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "\x1b[2J"])
def test_a_persons_name_is_printable(name: str) -> None:
    """--as and --guild take 1 to 100 printable characters."""
    with pytest.raises(UserError, match="1 to 100 printable"):
        arguments.person("--as", name)


def test_a_parity_brings_its_own_defaults() -> None:
    """`--parity fusedream` means its method, 10,000 candidates and 1,000 steps, unless something else is said."""
    params = arguments.dream("dog", {"parity": "fusedream"})
    assert (params.method, params.candidates, params.steps) == (Method.FUSEDREAM, 10_000, 1_000)
    params = arguments.dream("dog", {"parity": "csc2516", "candidates": "50"})
    assert (params.method, params.candidates) == (Method.SEARCH, 50)


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("a |", {}, "has words"),
        ("fog::-1", {}, "positive weight"),
        ("dog", {"parity": "nosuch"}, "parity is one of csc2516, fusedream"),
        ("dog", {"parity": "fusedream", "method": "search"}, "parity fusedream belongs to the method fusedream"),
        ("dog", {"image": "cat.png"}, "sha256 of a stored picture"),
        ("dog", {"from": "cat.png"}, "from is a file in the terminal, an attachment in a chat, or the sha256"),
        ("dog", {"from": "0" * 64, "method": "search"}, "belongs to the method fusedream"),
        ("dog", {"from": "0" * 64, "parity": "fusedream"}, "fusedream without a parity"),
    ],
)
def test_what_is_written_wrong_is_refused(prompt: str, options: dict[str, str], said: str) -> None:
    """A prompt that is not written as prompts are, a parity of another method, an image that is none."""
    with pytest.raises(UserError, match=said):
        arguments.dream(prompt, options)


def test_a_picture_to_start_from_brings_its_method() -> None:
    """`--from` means fusedream, the one method that can, and the picture stays with a new seed and new words."""
    params = arguments.dream("dog", {"from": "0" * 64})
    assert (params.method, params.start) == (Method.FUSEDREAM, "0" * 64)
    assert arguments.anew(params, "cat").start == params.start


def test_other_words_leave_the_picture_behind() -> None:
    """A rerank by the job's own words keeps its picture as part of the target; by other words it does not."""
    of = Params(prompt="dog", seed=7, image="0" * 64)
    assert arguments.rerank(of, None, "clip").image == of.image
    assert arguments.rerank(of, "cat", "clip").image is None
    with pytest.raises(UserError, match="has words"):
        arguments.rerank(of, "cat |", "clip")


@pytest.mark.parametrize(
    ("written", "box"),
    [("left", (0.3, 0.55, 0.5, 0.5)), ("0.5, 0.5, 1, 1", (0.5, 0.5, 1.0, 1.0)), (None, None)],
)
def test_a_box_is_a_preset_or_four_numbers(written: str | None, box: tuple[float, ...] | None) -> None:
    """As written, and through the store's JSON."""
    params = arguments.dream("a goldfish | a lake", {"method": "compose", "box": written})
    assert params.box == box
    assert Params.from_json(json.loads(json.dumps(params.to_json()))) == params


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("a goldfish", {"method": "compose"}, "compose needs two things"),
        ("a | b | c", {"method": "compose"}, "compose needs two things"),
        ("a | b", {"method": "compose", "box": "top"}, "box is one of left, centre, right, bottom, or four numbers"),
        ("a | b", {"method": "compose", "box": "1,2,3"}, "or four numbers"),
        ("a | b", {"method": "compose", "box": "0.5,0.5,x,0.5"}, "or four numbers"),
        ("a | b", {"method": "compose", "box": "nan,0.5,0.5,0.5"}, "a box within the picture"),
        ("a | b", {"method": "compose", "box": "0.1,0.5,0.5,0.5"}, "a box within the picture"),
        ("a | b", {"method": "compose", "box": "0.5,0.5,0.05,0.5"}, "no side below 0.1"),
        ("a | b", {"box": "left"}, "box belongs to the method compose"),
    ],
)
def test_what_cannot_be_composed_is_refused(prompt: str, options: dict[str, str], said: str) -> None:
    """Two things, and a box that is one; each refusal in one line."""
    with pytest.raises(UserError, match=said) as refusal:
        arguments.dream(prompt, options)
    assert "\n" not in str(refusal.value)


def refusal(read: Callable[[], object]) -> str | None:
    """The sentence that says what is wrong; None where nothing is."""
    try:
        read()
    except UserError as error:
        return str(error)
    return None


@given(st.text(max_size=200), st.sampled_from(["", "--seed ", "--keep=", "--image ", "-- ", "--parity "]))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_dream_or_a_sentence(text: str, option: str) -> None:
    """Whatever people write, wherever an option stands in it: params, or one sentence that says what is wrong."""

    def read() -> None:
        words = arguments.words(f"{text} {option}{text}")
        arguments.dream(words.text, words.options)

    assert (refusal(read) or ".").endswith(".")


@given(st.text(max_size=120))
@settings(max_examples=60, deadline=None)
def test_any_name_or_id_is_itself_or_a_sentence(text: str) -> None:
    """Jobs, buttons, people, as anybody may send them."""
    for read in (arguments.job_id, arguments.button, partial(arguments.person, "USER")):
        assert (refusal(partial(read, text)) or ".").endswith(".")
