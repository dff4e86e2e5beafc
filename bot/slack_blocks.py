"""Cards and forms as Slack's Block Kit. Pure: knows the platform's limits and markup, no chat library and no network.

What people wrote can neither ring anybody nor become markup: `& < >` are escaped everywhere, titles and texts are plain
text, and tables stand in a code block that no back-tick can leave. Lengths are counted after escaping, in UTF-16 units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.cards import Button, Card, Form, Input

Block = dict[str, Any]

HEADER, SECTION, ALT, LABEL, BUTTON, TITLE, FIELD = 150, 3_000, 100, 2_000, 75, 24, 150
PICTURES = 16
CELLS_IN_ALL, FACTS_IN_ALL = 4_500, 1_000  # of the 13,000 characters that a message's blocks may have
COLUMN = 60
FACTS_IN_A_ROW = 10  # elements of a context
FALLBACK = 1_000
DANGEROUS = frozenset({"cancel", "erase", "forget"})
CONTROL = {code: None for code in range(32) if chr(code) not in "\n\t"} | {127: None}


def escaped(text: str, most: int) -> str:
    """The text with `& < >` as entities, at most `most` UTF-16 units of it; a cut is marked and splits no entity."""
    clean = text.translate(CONTROL).encode("utf-16", "replace").decode("utf-16", "replace")
    parts = [{"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(letter, letter) for letter in clean]
    if sum(_units(part) for part in parts) <= most:
        return "".join(parts)
    kept: list[str] = []
    left = most - 1
    for part in parts:
        left -= _units(part)
        if left < 0:
            break
        kept.append(part)
    return "".join(kept) + "…"


def _units(text: str) -> int:
    return len(text) + sum(letter > "\uffff" for letter in text)


def message(card: Card, files: Mapping[str, str]) -> dict[str, Any]:
    """What chat.postMessage and chat.update take: blocks, and a text to notify with. `files`: digest to Slack file."""
    return {"text": fallback(card), "blocks": blocks(card, files)}


def fallback(card: Card) -> str:
    """The card in a line, for notifications and for readers aloud."""
    said = ": ".join(part for part in (card.title, card.text) if part)
    return escaped(said, FALLBACK) or "…"


def blocks(card: Card, files: Mapping[str, str]) -> list[Block]:
    """The card from top to bottom."""
    made: list[Block] = []
    if card.title.strip():
        made.append({"type": "header", "text": plain(card.title, HEADER)})
    if card.text.strip():
        made.append({"type": "section", "text": plain(card.text, SECTION)})
    made += _pictures(card, files)
    made += _table(card)
    made += _facts(card)
    if card.buttons:
        made.append({"type": "actions", "elements": [_button(button) for button in card.buttons[:25]]})
    return made or [{"type": "section", "text": plain("…", 1)}]


def plain(text: str, most: int) -> Block:
    """A text object without markup; Slack takes no empty one."""
    said = escaped(text, most)
    return {"type": "plain_text", "text": said if said.strip() else "…", "emoji": False}


def _pictures(card: Card, files: Mapping[str, str]) -> Iterator[Block]:
    if card.spoiler and card.images:
        yield _context(["The picture is held back here; Details tells what is known of it."])
        return
    shown = [files[digest] for digest in card.images[:PICTURES] if digest in files]
    for number, file in enumerate(shown, start=1):
        which = f"{number} of {len(shown)}: " if len(shown) > 1 else ""
        alt = plain(which + card.title, ALT)["text"]
        yield {"type": "image", "slack_file": {"id": file}, "alt_text": alt}


def _table(card: Card) -> Iterator[Block]:
    """Aligned columns in as many sections as they need, as many rows as a message holds."""
    if not card.cells:
        return
    rows = [[_cell(cell) for cell in row] for row in (card.columns, *card.cells)]
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(card.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    written, chunk, total = 0, "", 0
    for line in (escaped(line, SECTION - 10) for line in lines):
        if total + len(line) > CELLS_IN_ALL:
            break
        if len(chunk) + len(line) > SECTION - 10:
            yield _code(chunk)
            chunk = ""
        chunk += line + "\n"
        total += len(line) + 1
        written += 1
    yield _code(chunk)
    if written < len(lines):
        yield _context([f"{len(lines) - written} more."])


def _cell(text: str) -> str:
    flat = " ".join(text.replace("`", "ˋ").split())
    return flat if len(flat) <= COLUMN else flat[: COLUMN - 1] + "…"


def _code(lines: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": f"```{lines.rstrip()}```"}}


def _facts(card: Card) -> Iterator[Block]:
    asker = [("for", card.asker)] if card.asker else []
    said = [*asker, *((field.name, field.value) for field in card.fields)]
    facts = [f"*{_words(name)}* {_words(value)}" for name, value in said]
    while sum(map(len, facts)) > FACTS_IN_ALL:
        facts.pop()
    for at in range(0, len(facts), FACTS_IN_A_ROW):
        yield _context(facts[at : at + FACTS_IN_A_ROW])


def _words(text: str) -> str:
    """Text among markup: what could be markup of its own is taken out."""
    return escaped("".join(letter for letter in " ".join(text.split()) if letter not in "*_~`"), FIELD)


def _context(texts: Sequence[str]) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text} for text in texts]}


def _button(button: Button) -> Block:
    made: Block = {
        "type": "button",
        "text": plain(button.label, BUTTON),
        "action_id": button.id[:255],
        "value": button.job[:2_000],
    }
    if button.verb in DANGEROUS:
        made["style"] = "danger"
    return made


def view(form: Form, private_metadata: str) -> dict[str, Any]:
    """A form as a modal; `private_metadata` comes back with what was typed (at most 3,000 characters)."""
    return {
        "type": "modal",
        "callback_id": form.id,
        "private_metadata": private_metadata,
        "title": plain(form.title, TITLE),
        "submit": plain("Dream", TITLE),
        "close": plain("Never mind", TITLE),
        "blocks": [_input(one) for one in form.inputs],
    }


def _input(one: Input) -> Block:
    element: Block = {
        "type": "plain_text_input",
        "action_id": "value",
        "multiline": one.long,
        "max_length": SECTION,
    }
    if one.value:
        element["initial_value"] = _first(one.value, SECTION)
    return {
        "type": "input",
        "block_id": one.name,
        "label": plain(one.label, LABEL),
        "element": element,
        "optional": not one.required,
    }


def _first(text: str, most: int) -> str:
    """The text itself: an input shows what was typed, entities and all, so nothing is escaped here."""
    clean = text.translate(CONTROL).encode("utf-16", "replace").decode("utf-16", "replace")
    while _units(clean) > most:
        clean = clean[: len(clean) - max(1, (_units(clean) - most) // 2)]
    return clean


def values(state: Mapping[str, Any]) -> dict[str, str]:
    """What was typed into a form, by the inputs' names."""
    return {name: str(held.get("value", {}).get("value") or "") for name, held in state.items()}


def home(parts: Sequence[tuple[Card, Mapping[str, str]]]) -> dict[str, Any]:
    """A home tab of several cards, one below the other, within its 100 blocks."""
    made: list[Block] = []
    for card, files in parts:
        drawn = blocks(card, files)
        if len(made) + len(drawn) + 1 > 100:
            break
        made += [*([{"type": "divider"}] if made else []), *drawn]
    return {"type": "home", "blocks": made}
