"""A prompt's own syntax: several parts, each with a weight, as in `a castle::2 | fog::-0.5`.

Knows how people write it; nothing of embeddings. Bot and engine call the same function, so that what was accepted is
what is dreamt.

    prompt = part { "|" part }
    part   = text [ "::" weight ]        weight: a decimal number from -10 to 10 that is not 0; 1 where none is given
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.errors import UserError

MAX_PARTS = 8
MAX_WEIGHT = 10.0
SHOWN = 40  # characters of a wrong part that a sentence repeats
JOINING = re.compile(r"\s+(?:and|in front of|in|on|under|over|by|before)\s+", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d{1,6}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Words and how much they count; a negative weight leads away from them."""

    text: str
    weight: float = 1.0


def parse(prompt: str) -> tuple[Part, ...]:
    """The parts of a prompt, in order. UserError: an empty part, a wrong weight, too many parts, or none to go to."""
    pieces = prompt.split("|")
    if len(pieces) > MAX_PARTS:
        raise UserError(f"A prompt has at most {MAX_PARTS} parts between |; this one has {len(pieces)}.")
    parts = tuple(_part(piece) for piece in pieces)
    if all(part.weight < 0 for part in parts):
        raise UserError("A prompt needs a part with a positive weight, as in `a castle::2 | fog::-0.5`.")
    return parts


def _part(piece: str) -> Part:
    text, mark, weight = piece.rpartition("::")
    if not mark:
        text, weight = piece, "1"
    text = text.strip()
    if not text:
        raise UserError("A part of a prompt has words, with | between the parts, as in `a castle::2 | fog::-0.5`.")
    return Part(text, _weight(weight.strip()))


def _weight(written: str) -> float:
    value = float(written) if _NUMBER.fullmatch(written) else 0.0
    if not 0.0 < abs(value) <= MAX_WEIGHT:
        raise UserError(
            f"After :: stands a weight, a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g} that is not 0,"
            f" as in `fog::-0.5`; {written[:SHOWN]!r} is not."
        )
    return value


def scene(parts: tuple[Part, ...]) -> tuple[str, str]:
    """What stands in front, and what behind it: the first two positive parts, or one cut at its first joining word.

    UserError where there are not two things.
    """
    wanted = [part.text for part in parts if part.weight > 0]
    if len(wanted) == 2:
        return wanted[0], wanted[1]
    cut = JOINING.split(wanted[0], maxsplit=1) if len(wanted) == 1 else []
    if len(cut) != 2:
        raise UserError(
            "compose needs two things, as in `a goldfish | a mountain lake`, the one in front first; or one sentence"
            " with and, in, on, under, over, by, before or in front of between them."
        )
    return cut[0], cut[1]
