"""People's words made harmless for Discord: shown as they were typed, and nothing in them alive.

No mention, no markdown, no masked link, no timestamp, no direction override. Pure functions; knows no chat library.
Lengths are UTF-16 units, the stricter of the two ways in which Discord's client and server count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

GAP = "\u200b"  # after @ and <, which then begin nothing
MARKDOWN = frozenset("\\*_~|`>#-+[]()=")
STARTS = frozenset("@<")
OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
TICK = "ˋ"  # stands for a back-tick where nothing can be escaped
LEAST = 12  # columns of a cell that is cut
WIDTH = 58  # columns of a code block that a desktop client shows without a break
LINK = re.compile(r"(?<=[a-zA-Z]):(?=//)")


def length(text: str) -> int:
    """How long Discord finds a text."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def neutral(text: str, limit: int) -> str:
    """The text for a title, a description or a field: at most `limit` units, cut between signs, never in an escape."""
    shown = [_sign(sign) for sign in LINK.sub(":" + GAP, text) if _harmless(sign)]
    return _fit(shown, limit)


def plain(text: str, limit: int) -> str:
    """The text for a code block or a form: nothing is escaped, back-ticks are replaced."""
    shown = [TICK if sign == "`" else sign for sign in text if _harmless(sign)]
    return _fit(shown, limit)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], limit: int) -> str:
    """Rows in a code block, columns aligned, the widest one cut; rows that do not fit are counted."""
    if not rows:
        return ""
    lines = _aligned([list(map(str, columns)), *(list(map(str, row)) for row in rows)])
    kept: list[str] = []
    left = limit - length("```\n\n```") - length(f"\n… and {len(lines)} more")
    for line in lines:
        if length(line) + 1 > left:
            break
        left -= length(line) + 1
        kept.append(line)
    more = f"\n… and {len(lines) - len(kept)} more" if len(kept) < len(lines) else ""
    return "```\n" + "\n".join(kept) + "\n```" + more if len(kept) > 1 else ""


def _aligned(rows: list[list[str]]) -> list[str]:
    cells = [[plain(" ".join(cell.split()), WIDTH) for cell in row] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    widest = widths.index(max(widths))
    room = max(LEAST, WIDTH - sum(widths) + widths[widest] - 2 * (len(widths) - 1))
    for row in cells:
        row[widest] = plain(row[widest], room)
    widths[widest] = max(_columns(row[widest]) for row in cells)
    return ["  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _harmless(sign: str) -> bool:
    if sign == "\n":
        return True
    return sign not in OVERRIDES and unicodedata.category(sign) not in ("Cc", "Cs")


def _sign(sign: str) -> str:
    if sign in MARKDOWN:
        return "\\" + sign
    return sign + GAP if sign in STARTS else sign


def _fit(shown: list[str], limit: int) -> str:
    text = "".join(shown)
    if length(text) <= limit:
        return text
    kept, left = [], limit - 1
    for sign in shown:
        if length(sign) > left:
            break
        left -= length(sign)
        kept.append(sign)
    return "".join(kept) + "…"
