"""What may not be asked for: a file of words and patterns, read again whenever it changes, checked before a submit.

    # a comment
    some words        whole words, whatever their case, accents, width or spacing
    /nud(e|ity)\\b/    a regular expression over the same plain form

Knows text. What pictures show is checked by the engine (`engine.concepts`), who may be shown them by `storage`.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UserError

log = logging.getLogger(__name__)

INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file."""

    line: int
    pattern: re.Pattern[str]


class Moderation:
    """The block list. A file that cannot be read or understood at the start is a UserError; later, the last good one
    stays in force and the log says so once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._rules: Sequence[Rule] = ()
        if path is not None:
            self._rules, self._stamp = read(path), _stamp(path)

    def check(self, prompt: str) -> None:
        """UserError if a rule matches; it names the rule's line for an admin, and not its words."""
        self._again()
        text = plain(prompt)
        for rule in self._rules:
            if rule.pattern.search(text):
                log.info("a prompt was refused by rule %d of the block list", rule.line)
                raise UserError(f"This prompt is not allowed here (rule {rule.line}); ask an admin if you think it is.")

    def _again(self) -> None:
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._rules = read(self._path)
        except UserError as error:
            log.error("the block list stays as it was: %s", error)


def plain(text: str) -> str:
    """Lower case, without accents, widths, invisible signs and repeated spaces: how people write around a list."""
    decomposed = unicodedata.normalize("NFKD", INVISIBLE.sub("", text)).casefold()
    return " ".join("".join(sign for sign in decomposed if not unicodedata.combining(sign)).split())


def read(path: Path) -> list[Rule]:
    """The file's rules; UserError names the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"DREAMBOT_BLOCKLIST is a file that can be read; {str(path)!r}: {why}.") from None
    return [rule for number, line in enumerate(lines, 1) if (rule := _rule(path, number, line.strip())) is not None]


def _rule(path: Path, number: int, line: str) -> Rule | None:
    if not line or line.startswith("#"):
        return None
    if len(line) > 2 and line[0] == line[-1] == "/":
        try:
            return Rule(number, re.compile(line[1:-1]))
        except re.error as error:
            raise UserError(f"{path}, line {number} is not a regular expression: {error}.") from None
    words = r"\W+".join(re.escape(word) for word in plain(line).split())
    return Rule(number, re.compile(rf"(?<!\w){words}(?!\w)"))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
