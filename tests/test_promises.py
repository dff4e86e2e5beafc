"""Pages name tests; each of them exists. And what is promised by having no code has none."""

from __future__ import annotations

import ast
import re

import pytest

from tests.readme_map import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PAGE = (ROOT / "deploy" / "SECURITY.md").read_text(encoding="utf-8")
PLAN = (ROOT / "tests" / "engine" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [PAGE, PLAN], ids=["SECURITY.md", "tests/engine/README.md"])
def test_every_named_test_exists(page: str) -> None:
    """A row whose test was renamed or removed is found."""
    missing = []
    for path, name in NAMED.findall(page):
        file = ROOT / path
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in functions:
            missing.append(f"{path}::{name}")
    assert missing == []


@pytest.mark.parametrize(("sign", "count"), [("S", 18), ("", 11)])
def test_every_control_and_every_lesson_has_a_row_with_a_test(sign: str, count: int) -> None:
    """Eighteen controls, eleven lessons; a row without a test says so in words."""
    rows = re.findall(rf"^\| {sign}(\d+)[. |].*$", PAGE, re.MULTILINE)
    assert [int(number) for number in rows] == list(range(1, count + 1))
    for row in re.findall(rf"^\| {sign}\d+[. |].*$", PAGE, re.MULTILINE):
        assert NAMED.search(row) or "none yet" in row, row


def test_every_point_of_the_plan_without_weights_has_a_test() -> None:
    """Nine points, a to i."""
    rows = re.findall(r"^\| ([a-i])\. .*$", PLAN, re.MULTILINE)
    assert "".join(rows) == "abcdefghi"
    assert all(NAMED.search(row) for row in re.findall(r"^\| [a-i]\. .*$", PLAN, re.MULTILINE))


def test_no_url_is_taken_from_a_person() -> None:
    """Only adapters and the operator's puller of packs know an HTTP client; no option of a dream is an address."""
    clients = re.compile(r"^\s*(?:import|from) (?:aiohttp|urllib\.request|requests|httpx|http\.client)\b", re.MULTILINE)
    for folder in ("bot", "engine", "storage"):
        for file in (ROOT / folder).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            adapter = name.startswith(("bot/slack_", "bot/discord_"))
            operators = name.startswith(("engine/fetch.py", "engine/packs/", "engine/training/", "engine/evaluate/"))
            if not (adapter or operators):
                assert not clients.search(file.read_text(encoding="utf-8")), name


def test_ray_is_not_here_without_its_token() -> None:
    """No file imports Ray, whose ports take anybody's code by default, unless it insists on the token of its own."""
    imports = re.compile(r"^\s*(?:import|from) ray\b", re.MULTILINE)
    for folder in ("bot", "engine", "storage"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not imports.search(text) or "check_token(os.environ)" in text, file.name
