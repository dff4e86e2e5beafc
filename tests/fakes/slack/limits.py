"""Slack's limits that no published schema states: what it refuses in blocks, views and texts.

Pure: each function lists what is wrong, empty if nothing is. Figures from Slack's Block Kit reference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

TEXT = 40_000  # characters of a message's text
BLOCKS_TEXT = 13_000  # characters in all of a message's blocks
MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100
WHERE = {
    "message": frozenset({"actions", "context", "divider", "header", "image", "input", "section", "rich_text"}),
    "modal": frozenset({"actions", "context", "divider", "header", "image", "input", "section", "rich_text"}),
    "home": frozenset({"actions", "context", "divider", "header", "image", "input", "section", "rich_text"}),
}
LIVE = re.compile(r"<(?:[!@#]|https?:|mailto:)")

Block = Mapping[str, Any]


def of_blocks(blocks: object, surface: str = "message") -> list[str]:
    """What is wrong with a list of blocks on a message, a modal or a home tab."""
    if not isinstance(blocks, list):
        return ["blocks must be a list"]
    most = MESSAGE_BLOCKS if surface == "message" else VIEW_BLOCKS
    problems = [f"no more than {most} items allowed [json-pointer:/blocks]"] if len(blocks) > most else []
    for number, block in enumerate(blocks):
        found = list(_of_block(block, surface)) if isinstance(block, dict) else ["a block must be an object"]
        problems += [f"{problem} [json-pointer:/blocks/{number}]" for problem in found]
    names = Counter(block["block_id"] for block in blocks if isinstance(block, dict) and block.get("block_id"))
    problems += [f"block_id {name!r} is not unique" for name, count in names.items() if count > 1]
    if surface == "message" and sum(len(text) for text in texts(blocks)) > BLOCKS_TEXT:
        problems.append("msg_blocks_too_long")
    return problems


def of_view(view: object) -> list[str]:
    """What is wrong with a modal or a home tab."""
    if not isinstance(view, dict):
        return ["view must be an object"]
    kind = view.get("type")
    if kind not in ("modal", "home"):
        return ["view type must be modal or home"]
    problems = of_blocks(view.get("blocks"), kind)
    for name, most in (("private_metadata", 3_000), ("callback_id", 255), ("external_id", 255)):
        problems += _length(name, view.get(name, ""), most, least=0)
    if kind == "modal":
        problems += _plain("title", view.get("title"), 24)
        for name in ("submit", "close"):
            if name in view:
                problems += _plain(name, view[name], 24)
        if "submit" not in view and any(block.get("type") == "input" for block in view.get("blocks") or ()):
            problems.append("submit is required when an input block is there")
    return problems


def texts(node: object) -> Iterator[str]:
    """Every text in blocks, wherever it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("text", "alt_text") and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(node, list):
        for child in node:
            yield from texts(child)


def files(node: object) -> Iterator[str]:
    """Every Slack file that blocks show."""
    if isinstance(node, dict):
        if isinstance(node.get("slack_file"), dict):
            yield str(node["slack_file"].get("id"))
        for value in node.values():
            yield from files(value)
    elif isinstance(node, list):
        for child in node:
            yield from files(child)


def mentions(text: str, blocks: object) -> list[str]:
    """Texts that would ring somebody or become a link."""
    return [found for found in (text, *texts(blocks)) if LIVE.search(found)]


def _of_block(block: Block, surface: str) -> Iterator[str]:
    kind = str(block.get("type"))
    if kind not in WHERE[surface]:
        yield f"unsupported type: {kind}"
        return
    yield from _length("block_id", block.get("block_id", ""), 255, least=0)
    yield from CHECKS[kind](block)


def _section(block: Block) -> Iterator[str]:
    if not block.get("text") and not block.get("fields"):
        yield "a section has text or fields"
    if "text" in block:
        yield from _text("text", block["text"], 3_000)
    fields = block.get("fields", [])
    if len(fields) > 10:
        yield "no more than 10 fields"
    for field in fields:
        yield from _text("field", field, 2_000)
    if "accessory" in block:
        yield from _element(block["accessory"], ("button", "image"))


def _header(block: Block) -> Iterator[str]:
    yield from _plain("text", block.get("text"), 150)


def _image(block: Block) -> Iterator[str]:
    yield from _length("alt_text", block.get("alt_text"), 2_000)
    if ("image_url" in block) == ("slack_file" in block):
        yield "exactly one of image_url and slack_file"
    if "image_url" in block:
        yield from _length("image_url", block["image_url"], 3_000)
    if "slack_file" in block and len([key for key in ("id", "url") if block["slack_file"].get(key)]) != 1:
        yield "slack_file has exactly one of id and url"
    if "title" in block:
        yield from _plain("title", block["title"], 2_000)


def _actions(block: Block) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        yield "actions has 1 to 25 elements"
        return
    for element in elements:
        yield from _element(element, ("button",))
    names = Counter(element.get("action_id") for element in elements if element.get("action_id"))
    yield from (f"action_id {name!r} is not unique" for name, count in names.items() if count > 1)


def _context(block: Block) -> Iterator[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        yield "context has 1 to 10 elements"
        return
    for element in elements:
        if element.get("type") == "image":
            yield from _image(element)
        else:
            yield from _text("element", element, 3_000)


def _input(block: Block) -> Iterator[str]:
    yield from _plain("label", block.get("label"), 2_000)
    if "hint" in block:
        yield from _plain("hint", block["hint"], 2_000)
    yield from _element(block.get("element"), ("plain_text_input", "static_select"))


def _element(element: object, allowed: Sequence[str]) -> Iterator[str]:
    if not isinstance(element, dict) or element.get("type") not in allowed:
        yield f"an element is one of {', '.join(allowed)}"
        return
    yield from _length("action_id", element.get("action_id", ""), 255, least=0)
    if element["type"] == "button":
        yield from _plain("button text", element.get("text"), 75)
        yield from _length("value", element.get("value", ""), 2_000, least=0)
        if element.get("style") not in (None, "primary", "danger"):
            yield "style is primary or danger"
    elif element["type"] == "image":
        yield from _image(element)
    elif element["type"] == "plain_text_input":
        most = element.get("max_length", 3_000)
        if not 1 <= most <= 3_000:
            yield "max_length is 1 to 3000"
        yield from _length("initial_value", element.get("initial_value", ""), min(most, 3_000), least=0)
    elif element["type"] == "static_select":
        yield from _select(element)


def _select(element: Block) -> Iterator[str]:
    options = element.get("options") or []
    if not 1 <= len(options) <= 100:
        yield "a select has 1 to 100 options"
    for option in options:
        yield from _plain("option", option.get("text"), 75)
        yield from _length("option value", option.get("value"), 150)


def _text(name: str, text: object, most: int) -> Iterator[str]:
    if not isinstance(text, dict) or text.get("type") not in ("plain_text", "mrkdwn"):
        yield f"{name} is a text object"
        return
    if "emoji" in text and text["type"] != "plain_text":
        yield f"{name}: emoji goes with plain_text only"
    yield from _length(name, text.get("text"), most)


def _plain(name: str, text: object, most: int) -> Iterator[str]:
    if not isinstance(text, dict) or text.get("type") != "plain_text":
        yield f"{name} is plain_text"
        return
    yield from _length(name, text.get("text"), most)


def _length(name: str, text: object, most: int, *, least: int = 1) -> Iterator[str]:
    if not isinstance(text, str):
        yield f"{name} is text"
    elif len(text) > most:
        yield f"must be less than {most + 1} characters: {name}"
    elif len(text) < least:
        yield f"must be more than {least - 1} characters: {name}"


def _nothing(_block: Block) -> Iterator[str]:
    return iter(())


CHECKS: Mapping[str, Callable[[Block], Iterator[str]]] = {
    "actions": _actions,
    "context": _context,
    "divider": _nothing,
    "header": _header,
    "image": _image,
    "input": _input,
    "rich_text": _nothing,
    "section": _section,
}
