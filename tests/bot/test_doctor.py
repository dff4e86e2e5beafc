"""What doctor finds without the engine's libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.doctor import examine


def test_a_healthy_home_is_told_row_by_row(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line; no engine is no fault."""
    assert examine(json=True)
    rows = {row["check"]: row for row in _rows(capsys.readouterr().out)}
    assert rows["home"] == {"check": "home", "found": str(home), "ok": True}
    assert rows["store"]["ok"] is True
    assert rows["engine"]["ok"] is None


def test_a_broken_store_is_a_finding(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no database is told, not raised."""
    (home / "dreambot.db").write_bytes(b"this is no database, however long one reads it" * 100)
    assert not examine(json=False)
    assert "BAD" in capsys.readouterr().out


def test_a_home_that_cannot_be_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the place of the folder is told, not raised."""
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("DREAMBOT_HOME", str(tmp_path / "home"))
    assert not examine(json=True)
    assert {"home", "store"} == {row["check"] for row in _rows(capsys.readouterr().out) if row["ok"] is False}


def _rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_broken_block_list_and_an_open_home_are_findings(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one is bad, the other worth knowing."""
    (home / "list").write_text("/(/\n")
    monkeypatch.setenv("DREAMBOT_BLOCKLIST", str(home / "list"))
    home.chmod(0o755)
    assert not examine(json=True)
    rows = {row["check"]: row for row in _rows(capsys.readouterr().out)}
    assert (rows["block list"]["ok"], rows["privacy"]["ok"]) == (False, None)
    home.chmod(0o700)
    monkeypatch.delenv("DREAMBOT_BLOCKLIST")
    assert examine(json=True)
