"""Logs: one line a record, as text for people or as JSON for programs; control characters escaped, secrets blacked out.

Knows how lines look. What is worth one is each module's business; prompts are not, at INFO and above.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

BLACK = "[secret]"
SHORTEST = 8  # a shorter value would black out ordinary words
TOKENS = re.compile(
    r"xox[abeprs]-[\w-]{10,}"  # Slack: bot, user, refresh
    r"|xapp-[\w-]{10,}"  # Slack: Socket Mode
    r"|[MNO][\w-]{23,}\.[\w-]{6}\.[\w-]{27,}"  # Discord: bot
    r"|aW50ZXJhY3Rpb246[\w-]{20,}"  # Discord: interaction
    r"|(?<=/webhooks/)\d+/[\w-]{20,}"
    r"|(?<=//hooks\.slack\.com/)\S+"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def set_up(
    level: str | int, *, as_json: bool, secrets: Iterable[str] = (), to: Path | IO[str] | None = None
) -> logging.Handler:
    """One handler on the root logger: to a file, a stream, or standard error."""
    handler = logging.FileHandler(to) if isinstance(to, Path) else logging.StreamHandler(to)
    handler.setFormatter(Lines(as_json=as_json, secrets=secrets))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, Lines):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    return handler


def clean(text: str) -> str:
    """The text without this process's secrets: for what is written elsewhere than into the log."""
    lines = [handler.formatter for handler in logging.getLogger().handlers if isinstance(handler.formatter, Lines)]
    for line in lines:
        text = line.clean(text)
    return TOKENS.sub(BLACK, text)


class Lines(logging.Formatter):
    """A record as one line."""

    def __init__(self, *, as_json: bool, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._as_json = as_json
        known = sorted((re.escape(secret) for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
        self._secret = re.compile("|".join(known)) if known else None

    def format(self, record: logging.LogRecord) -> str:
        """Blacked out last, so that nothing that was put together escapes."""
        at = datetime.fromtimestamp(record.created, UTC)
        error = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        if self._as_json:
            fields = {
                "at": at.isoformat(timespec="milliseconds"),
                "level": record.levelname,
                "logger": record.name,
                "process": record.process,
                "message": self.clean(record.getMessage()),
            }
            return json.dumps(fields | ({"error": self.clean(error)} if error else {}), ensure_ascii=True)
        head = f"{at:%Y-%m-%d %H:%M:%S} {record.levelname} {record.process} {record.name}: "
        lines = [_escaped(self.clean(record.getMessage()))]
        lines += ["    " + _escaped(line) for line in self.clean(error).splitlines()]
        return head + "\n".join(lines)

    def clean(self, text: str) -> str:
        """Without known secrets and whatever looks like a token."""
        text = self._secret.sub(BLACK, text) if self._secret else text
        return TOKENS.sub(BLACK, text)


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
