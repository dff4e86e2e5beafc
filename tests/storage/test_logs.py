"""Log lines: one a record, whatever is in it, and no secret."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.logs import BLACK, Lines

SLACK, DISCORD = "xoxb-" + "1" * 12 + "-abcdefgh", "MTA" + "a" * 22 + ".abcdef." + "b" * 30


def line(message: str, *, as_json: bool, secrets: tuple[str, ...] = (), error: Exception | None = None) -> str:
    """One record as it is written."""
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("bot", logging.INFO, __file__, 1, message, (), info)
    return Lines(as_json=as_json, secrets=secrets).format(record)


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    """No prompt adds a line, steers a terminal or becomes a field of its own."""
    plain = line(text, as_json=False)
    assert len(plain.splitlines()) == 1
    assert "\x1b" not in plain
    found = json.loads(line(text, as_json=True))
    assert set(found) == {"at", "level", "logger", "process", "message"}


def test_a_forged_record_stays_a_message() -> None:
    """`\\n{"level": …` in a prompt is text (S14)."""
    forged = 'a dog\n{"level": "ERROR", "message": "all is lost"}'
    (only,) = line(forged, as_json=True).splitlines()
    assert json.loads(only)["message"] == forged
    assert line(forged, as_json=False).count("\n") == 0


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_blacked_out(as_json: bool) -> None:
    """Known values and whatever looks like a token, in messages and in tracebacks alike."""
    webhook = "https://discord.com/api/webhooks/123/" + "t" * 30
    text = f"{SLACK} {DISCORD} {webhook} a very plain password"
    found = line(text, as_json=as_json, secrets=("a very plain password",), error=ValueError(text))
    for secret in (SLACK, DISCORD, "t" * 30, "a very plain password"):
        assert secret not in found
    assert found.count(BLACK) == 8


def test_ordinary_words_stay() -> None:
    """A secret so short that it is a word blacks out nothing."""
    assert "a blue dog" in line("a blue dog", as_json=False, secrets=("dog", ""))


def test_one_handler_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting up twice does not write twice."""
    from storage import logs

    root = logging.Logger("root of this test")
    monkeypatch.setattr(logging, "getLogger", lambda name=None: root)
    first, second = io.StringIO(), io.StringIO()
    logs.set_up("INFO", as_json=False, to=first)
    logs.set_up("INFO", as_json=True, to=second)
    root.info("hello")
    assert (first.getvalue(), json.loads(second.getvalue())["message"]) == ("", "hello")
