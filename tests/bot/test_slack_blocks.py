"""Cards as Block Kit: within Slack's limits and without a live mention, whatever people write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from bot import slack_blocks
from bot.cards import Button, Card, Field, Form, Input, Tone, error_card
from tests.fakes.slack import limits

NASTY = (
    "<!channel>",
    "<@U0ADA>",
    "<#C0GENERAL|x>",
    "<https://a.b|c>",
    "```",
    "&amp;",
    "\u202e",
    "\u200b",
    "\x00",
    "😀",
)
prompts = st.lists(st.one_of(st.text(max_size=300), st.sampled_from(NASTY)), max_size=40).map("".join)
long_prompts = st.builds(lambda text, times: (text * times)[:3_000], prompts, st.integers(1, 60))
cards_of_anything = st.builds(
    Card,
    tone=st.sampled_from(Tone),
    title=long_prompts,
    text=long_prompts,
    fields=st.lists(st.builds(Field, prompts, prompts), max_size=15).map(tuple),
    columns=st.just(("who", "prompt")),
    cells=st.lists(st.tuples(prompts, long_prompts), max_size=60).map(tuple),
    images=st.lists(st.sampled_from("abcdef"), max_size=16).map(tuple),
    buttons=st.lists(st.sampled_from(["vary", "delete", "show"]), unique=True).map(
        lambda verbs: tuple(Button(verb * 30, verb, "k7f3q2") for verb in verbs)
    ),
    job=st.just("k7f3q2"),
    asker=st.none() | prompts,
    spoiler=st.booleans(),
)
FILES = {digest: f"F{digest}" for digest in "abcdef"}


@given(card=cards_of_anything)
def test_any_card_is_a_legal_message_that_rings_nobody(card: Card) -> None:
    """Mentions, back-ticks, direction marks, nothing at all, 3,000 characters: legal, and no `<` that Slack reads."""
    said = slack_blocks.message(card, FILES)
    assert limits.of_blocks(said["blocks"]) == []
    assert limits.mentions(said["text"], said["blocks"]) == []
    assert 0 < len(said["text"]) <= 3_000
    for block in Block.parse_all(said["blocks"]):
        block.validate_json()


@given(value=long_prompts, label=prompts)
def test_any_form_is_a_legal_modal_that_keeps_the_prompt(value: str, label: str) -> None:
    """A prompt of 3,000 characters comes back out of the modal as it went in, control characters aside."""
    form = Form(id="v1:edit:k7f3q2", title="Edit prompt", inputs=(Input(name="prompt", label=label, value=value),))
    view = slack_blocks.view(form, "T/C/-/U/-")
    assert limits.of_view(view) == []
    kept = view["blocks"][0]["element"].get("initial_value", "")
    plain = value.translate(slack_blocks.CONTROL).encode("utf-16", "replace").decode("utf-16", "replace")
    assert plain.startswith(kept)
    assert kept == plain or len(plain.encode("utf-16-le")) // 2 > 3_000


def test_everything_at_once_is_legal() -> None:
    """The longest of all that a card can have still is one message."""
    card = Card(
        tone=Tone.INFO,
        title="<" * 3_000,
        text="&" * 9_000,
        fields=(Field("&" * 900, ">" * 900),) * 40,
        columns=("",) * 5,
        cells=(("<" * 900,) * 5,) * 99,
        images=("a",) * 16,
        buttons=tuple(Button("&" * 90, f"verb{number}", "k7f3q2") for number in range(40)),
    )
    assert limits.of_blocks(slack_blocks.blocks(card, FILES)) == []


@given(text=st.text(max_size=300), most=st.integers(1, 200))
def test_a_cut_splits_no_entity(text: str, most: int) -> None:
    """Escaping first and cutting then never leaves half an entity, and never more than asked for."""
    cut = slack_blocks.escaped(text, most)
    assert len(cut.encode("utf-16-le")) // 2 <= most
    whole = cut.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert not set("&<>") & set(whole)


def test_a_result_has_pictures_facts_and_buttons_in_this_order() -> None:
    """One message: title, pictures, facts, buttons; each button's id names verb and job."""
    card = Card(
        tone=Tone.DONE,
        title="“a lemon”",
        fields=(Field("score", "clip 0.310"), Field("seed", "7")),
        images=("a", "b"),
        buttons=(Button("Vary", "vary", "k7f3q2"), Button("Cancel", "cancel", "k7f3q2")),
        job="k7f3q2",
    )
    blocks = slack_blocks.blocks(card, FILES)
    assert [block["type"] for block in blocks] == ["header", "image", "image", "context", "actions"]
    assert blocks[1]["slack_file"] == {"id": "Fa"}
    assert blocks[1]["alt_text"] == "1 of 2: “a lemon”"
    vary, cancel = blocks[-1]["elements"]
    assert vary["action_id"] == "v1:vary:k7f3q2"
    assert cancel["style"] == "danger"
    assert "style" not in vary


def test_whose_dream_it_is_stands_first_among_the_facts() -> None:
    """A message of the bot's own does not show who asked, so the card says it; a name is no markup."""
    card = Card(tone=Tone.DONE, title="x", fields=(Field("seed", "7"),), asker="*ada* <!channel>")
    (context,) = (block for block in slack_blocks.blocks(card, {}) if block["type"] == "context")
    assert [one["text"] for one in context["elements"]] == ["*for* ada &lt;!channel&gt;", "*seed* 7"]


def test_a_covered_picture_is_not_shown() -> None:
    """Slack has no spoilers, so what is to be covered is held back, and the card says so."""
    card = Card(tone=Tone.DONE, title="x", images=("a",), spoiler=True)
    blocks = slack_blocks.blocks(card, FILES)
    assert all(block["type"] != "image" for block in blocks)
    assert "held back" in blocks[-1]["elements"][0]["text"]


def test_a_long_table_says_how_much_is_left_out() -> None:
    """A message holds some 13,000 characters; rows beyond are counted, not lost in silence."""
    cells = tuple((str(number), "p" * 60) for number in range(500))
    blocks = slack_blocks.blocks(Card(tone=Tone.INFO, title="Queue", columns=("", "prompt"), cells=cells), {})
    shown = sum(block["text"]["text"].count("\n") + 1 for block in blocks if block["type"] == "section")
    assert f"{501 - shown} more." == blocks[-1]["elements"][0]["text"]
    assert limits.of_blocks(blocks) == []


def test_values_of_a_form_come_back_by_name() -> None:
    """What was left empty is an empty text."""
    state: dict[str, Any] = {"prompt": {"value": {"value": "a dog"}}, "seed": {"value": {"value": None}}}
    assert slack_blocks.values(state) == {"prompt": "a dog", "seed": ""}


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_home_stays_within_its_blocks(count: int) -> None:
    """As many cards as fit into a hundred blocks."""
    view = slack_blocks.home([(error_card(f"{number}"), {}) for number in range(count)])
    assert limits.of_view(view) == [] or count == 0
    assert len(view["blocks"]) <= 100
