"""What Discord is sent: whatever people type, nothing in it is alive, and everything is within the limits."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from bot import boards, cards
from bot.cards import Button, Card, Field, Form, Input, Standing, Tone
from bot.discord_cards import draw, embed, filled_in, modal
from bot.discord_pictures import fitting
from bot.discord_text import GAP, MARKDOWN, TICK, length, neutral, plain, table
from storage.events import Event, Kind
from storage.job import By, Caller, Job, Method, State
from tests.bot.jobs import job
from tests.fakes.discord import overlay
from tests.fakes.discord.overlay import MENTION

SIDE, LIMIT = 256, 10 << 20
ALIVE = re.compile(r"@everyone|@here|<(?=[@#:at/i])|(?<!\\)\[[^\]]*\]\(|https?://|[\u202a-\u202e\u2066-\u2069]")
HOSTILE = [
    "@everyone @here <@300000000000000001> <@&100000000000000001> <#200000000000000001>",
    "```\n``` ` `` **bold** __u__ ~~s~~ ||spoiler|| > quote\n# title\n- list",
    "[free](https://example.org/) https://example.org/ <t:0:R> <:lemon:1> </dream:1> <id:guide>",
    "\u202e\u2067reversed\u2069 مرحبا\u200f שלום",
    "\u200b\u200d\ufeff\u2060 a\u0300\u0301\u0302 👩‍👩‍👧‍👦 🏳️‍🌈",
    "\\" * 300,
    "*" * 3_000,
    "@" * 3_000,
    "🍋" * 1_500,
    "x" * 3_000,
    "a\nb\rc\td\x07e",
]
prompts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=3_000),
    st.lists(st.sampled_from([*HOSTILE, "@", "<", "`", "\\", "*", "[", "]("]), min_size=1, max_size=8).map(
        lambda parts: "".join(parts)[:3_000]
    ),
).filter(lambda text: text.strip())


def faces(prompt: str) -> list[Card]:
    """Every card in which a prompt or a name stands."""
    person = Caller(user="300000000000000001", name=prompt[:80], guild="1", surface="discord")
    done = job(prompt, caller=person, note=prompt[:300])
    waiting: Job = replace(done, state=State.QUEUED, images=(), finished_at=None)
    event = Event(kind=Kind.PROGRESSED, job=done.id, at=1.0, data={"done": 1, "total": 2, "score": 0.3})
    standing = Standing(job=waiting, position=3, eta=(5.0, 60.0))
    rows = [{"rank": n, "score": 0.3, "name": prompt, "job": "k7f3q2", "prompt": prompt} for n in range(60)]
    return [
        cards.job_card(done),
        cards.queued_card(standing, engine=True, paused=False),
        cards.progress_card(waiting, event),
        cards.job_card(replace(done, state=State.FAILED, message=prompt)),
        boards.queue_card([standing] * 50, engine=True, paused=False),
        boards.history_card([done] * 50),
        boards.table_card("Leaderboard", rows, empty="", columns=("rank", "score", "name", "job", "prompt")),
        cards.error_card(prompt),
        Card(tone=Tone.INFO, title=prompt, text=prompt, fields=(Field(prompt[:300], prompt),) * 30),
    ]


def sent(card: Card) -> dict[str, Any]:
    """The payload of a card."""
    return {"embeds": [embed(card).to_dict()], "allowed_mentions": discord.AllowedMentions.none().to_dict()}


def words(payload: dict[str, Any]) -> str:
    """All text of a payload outside of code."""
    found = []
    for one in payload["embeds"]:
        found += [one.get("title", ""), one.get("description", "")]
        found += [text for field in one.get("fields", ()) for text in (field["name"], field["value"])]
    return re.sub(r"```\n.*?\n```", "", "\n".join(found), flags=re.DOTALL)


@settings(max_examples=50, deadline=None)
@given(prompts)
def test_no_prompt_is_alive_or_too_long(prompt: str) -> None:
    """No mention, link, timestamp or direction override in any card, and every limit of the platform kept."""
    for card in faces(prompt):
        payload = sent(card)
        assert list(overlay.message(payload, [], LIMIT)) == []
        assert overlay.pings(payload) == []
        assert ALIVE.search(words(payload)) is None, payload


@settings(max_examples=100, deadline=None)
@given(prompts, st.integers(1, 400))
def test_neutral_text_keeps_its_signs_and_its_limit(prompt: str, limit: int) -> None:
    """Every sign of markdown is escaped, escapes are never cut in two, and what was typed can be read back."""
    shown = neutral(prompt, limit)
    assert length(shown) <= limit
    bare = re.sub(r"\\(.)", lambda m: "" if m[1] in MARKDOWN else m[0], shown.removesuffix("…"), flags=re.DOTALL)
    assert not set(bare) & (MARKDOWN - {"\\"})
    assert not MENTION.search(shown)
    whole = neutral(prompt, 10_000)
    if length(whole) <= limit:
        assert shown == whole


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(prompts, min_size=3, max_size=3), max_size=12), st.integers(20, 3_000))
def test_a_table_is_one_code_block(rows: list[list[str]], limit: int) -> None:
    """Whatever the cells hold: two fences, no more, and within the limit."""
    shown = table(("a", "b", "c"), rows, limit)
    assert length(shown) <= limit
    assert shown.count("`") in (0, 6)


def test_code_holds_no_fence() -> None:
    """Back-ticks cannot be escaped in code, so others stand for them."""
    assert plain("a `b` c", 50) == f"a {TICK}b{TICK} c"
    assert neutral("a `b` @here", 50) == f"a \\`b\\` @{GAP}here"


@settings(max_examples=60, deadline=None)
@given(prompts)
def test_a_form_holds_any_prompt(prompt: str) -> None:
    """The prompt stands in the form word for word, and every limit of forms is kept."""
    form = Form(id="v1:edit:k7f3q2", title="Edit prompt", inputs=(Input(name="prompt", label="P", value=prompt),))

    async def drawn() -> dict[str, Any]:
        return modal(form).to_dict()

    data = run(drawn())
    assert list(overlay.modal(data)) == []
    (part,) = data["components"]
    assert prompt.startswith(part["component"]["value"])
    assert length(prompt) > 4_000 or part["component"]["value"] == prompt


def run(drawing: Any) -> Any:
    """discord.py makes views and forms within a loop only."""
    import asyncio

    return asyncio.run(drawing)


def test_a_filled_in_form_is_read_whoever_wrapped_it() -> None:
    """Labels and action rows both carry inputs."""
    one = {"type": 18, "component": {"type": 4, "custom_id": "prompt", "value": "a lemon"}}
    other = {"type": 1, "components": [{"type": 4, "custom_id": "by", "value": None}]}
    assert filled_in([one, other, "noise"]) == {"prompt": "a lemon", "by": ""}


def png(path: Path, side: int = 64) -> Path:
    """A picture that does not compress."""
    Picture.effect_noise((side, side), 90).convert("RGB").save(path)
    return path


@pytest.mark.parametrize("limit", [10 << 20, 60_000, 11_000, 5_000, 3_500])
def test_a_picture_fits(tmp_path: Path, limit: int) -> None:
    """Enlarged, as it is, or as a smaller and smaller JPEG: the first that fits."""
    found = fitting(png(tmp_path / "a.png"), "k7f3q2-1", SIDE, limit)
    assert found is not None
    assert len(found.data) <= limit
    with Picture.open(io.BytesIO(found.data)) as image:
        assert found.name == f"k7f3q2-1.{'jpg' if image.format == 'JPEG' else 'png'}"


def test_a_picture_that_fits_nowhere_or_is_gone(tmp_path: Path) -> None:
    """None, and the message says that one is missing."""
    assert fitting(png(tmp_path / "a.png"), "a", SIDE, 100) is None
    assert fitting(tmp_path / "gone.png", "a", SIDE, LIMIT) is None
    card = replace(cards.result_card(job()), images=("a" * 64,))
    drawn = draw(card, lambda _: tmp_path / "gone.png", side=SIDE, limit=LIMIT)
    assert "1 of the pictures cannot be shown here" in (drawn.embed.description or "")


@pytest.mark.parametrize(
    ("spoiler", "nsfw", "covered"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_spoilers(tmp_path: Path, spoiler: bool, nsfw: bool, covered: bool) -> None:
    """What the house wants covered is covered, except in a channel that is age-restricted."""
    path = png(tmp_path / "a.png")
    card = replace(cards.result_card(job()), spoiler=spoiler)
    drawn = draw(card, lambda _: path, side=SIDE, limit=LIMIT, nsfw=nsfw)
    assert [file.filename.startswith("SPOILER_") for file in drawn.files] == [covered]


def test_buttons_stand_in_rows_of_five() -> None:
    """As many as there are, each with its id, none twice."""
    card = Card(tone=Tone.DONE, title="x", buttons=tuple(Button(f"B{n}", "show", f"j{n}") for n in range(12)))

    async def drawn() -> list[dict[str, Any]]:
        return draw(card, Path, side=SIDE, limit=LIMIT).view.to_components()

    rows = run(drawn())
    assert [len(row["components"]) for row in rows] == [5, 5, 2]
    assert list(overlay.message({"content": "x", "components": rows}, [], LIMIT)) == []


def test_whose_dream_it_is_stands_at_the_foot() -> None:
    """Whoever pressed a button under somebody else's picture is named below what came of it."""
    person = Caller(user="1", name="ada `\u202e", guild="1", surface="discord")
    assert embed(cards.job_card(job("a lemon", caller=person))).footer.text == f"for ada {TICK}"


def test_a_rerank_says_by_what() -> None:
    """The method of a re-ranking stands in its card."""
    done = job()
    params = replace(done.params, method=Method.RERANK, by=By.JUDGE)
    shown = embed(cards.result_card(replace(done, params=params)))
    assert any("judge" in str(field.value) for field in shown.fields)


def test_a_file_goes_with_the_pictures(tmp_path: Path) -> None:
    """An export is handed over as one more upload, under a name that says nothing of the person; twice if need be."""
    file = tmp_path / "dreams-1.zip"
    file.write_bytes(b"PK")
    drawn = draw(Card(tone=Tone.INFO, title="Export", file=str(file)), Path, side=SIDE, limit=LIMIT)
    for _ in range(2):
        (upload,) = drawn.files
        assert (upload.filename, upload.fp.read()) == ("dreams.zip", b"PK")
        upload.close()
