"""The terminal as scripts see it: exit statuses, one sentence for a wrong request, the fixed JSON.

The engine is `python -m tests.fakes.engine`, a process of its own, started by the command under test.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.cli import main
from bot.enlarge import enlarged
from bot.report import report
from tests.bot.jobs import job

FAKE = f"{sys.executable} -m tests.fakes.engine"
KEYS = [
    "job",
    "state",
    "reason",
    "user",
    "guild",
    "prompt",
    "method",
    "pack",
    "seed",
    "parent",
    "again_of",
    "identical",
    "difference",
    "recipe_digest",
    "images",
    "seconds",
]
IMAGE_KEYS = [
    "path",
    "sha256",
    "pixels_sha256",
    "width",
    "height",
    "clip_score",
    "augclip_score",
    "judge_score",
    "label",
    "candidate",
]
BROKEN = f"{sys.executable} -S -c 'raise SystemExit(1)'"
SECONDS = ["engine_start", "queued", "first_image", "total"]


@pytest.fixture(autouse=True)
def at_home(home: Path) -> Path:
    """Every command of these tests finds this home."""
    return home


class Terminal:
    """Runs a command and keeps what it printed."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        self._capfd.readouterr()
        status = main(words)
        self.out, self.err = self._capfd.readouterr()
        return status

    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON: every line of it."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal."""
    return Terminal(capfd)


def test_a_report_has_exactly_the_promised_keys() -> None:
    """Keys are never missing, and nothing but ours is added."""
    whole = report(job(), Path)
    assert set(whole) - set(KEYS) == {"message", "note", "params"}
    assert list(whole["seconds"]) == SECONDS
    assert list(whole["images"][0]) == IMAGE_KEYS
    assert whole["seconds"] == {"engine_start": None, "queued": 0.01, "first_image": 0.4, "total": 1.9}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["dream", ""], "1 to 3,000 characters"),
        (["dream", "x" * 5_000], "1 to 3,000 characters"),
        (["dream", "dog", "--candidates", "0"], "1 to 10000"),
        (["dream", "dog", "--seed", "-1"], "0 to 4294967295"),
        (["dream", "dog", "--seed", "seven"], "0 to 4294967295"),
        (["dream", "dog", "--method", "nosuch"], "method is one of search"),
        (["dream", "dog", "--pack", "nosuch", "--engine", FAKE], "pack is one of embedded"),
        (["dream", "dog", "--nosuch"], "--nosuch"),
        (["dream"], "prompt"),
        (["dream", "dog", "--as", ""], "1 to 100 printable"),
        (["dream", "dog", "--out", "/nowhere/x.png"], "folder that exists"),
        (["dream", "dog", "--no-wait", "--out", "x.png"], "--out"),
        (["nosuch"], "nosuch"),
        (["again", "zzzzzz"], "no job 'zzzzzz'"),
        (["rerank", "zzzzzz"], "no job 'zzzzzz'"),
        (["show", "../x"], "k7f3q2"),
        (["leaderboard", "--by", "luck"], "score, votes, person"),
        (["admin", "weight", "ada", "0"], "0.01 to 100"),
        (["admin", "limit", "ada", "some"], "0 to 100000"),
        (["admin", "pause", "--as", "ada"], "for admins"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_status_2(run: Terminal, words: list[str], named: str) -> None:
    """Nothing on standard output, one line on standard error, nothing in the queue."""
    assert run(*words) == 2
    assert run.out == ""
    assert named in run.err
    assert run.err.count("\n") == 1
    assert run("history", "--json") == 0
    assert run.out == ""


def test_a_dream_and_all_that_follows_it(run: Terminal, tmp_path: Path) -> None:
    """dream, show, again and rerank end in the fixed JSON; the engine is started and ended each time."""
    out = tmp_path / "dog.png"
    words = ("dream", "a blue dog", "--seed", "7", "--as", "ada", "--keep", "2", "--out", str(out), "--json")
    assert run(*words, "--engine", FAKE) == 0
    (dreamt,) = run.rows()
    assert set(KEYS) <= set(dreamt)
    assert (dreamt["state"], dreamt["user"], dreamt["guild"], dreamt["seed"]) == ("completed", "ada", "local", 7)
    assert list(dreamt["images"][0]) == IMAGE_KEYS
    assert dreamt["seconds"]["engine_start"] > 0
    assert out.read_bytes() == enlarged(Path(dreamt["images"][0]["path"]).read_bytes(), 256)

    assert run("show", dreamt["job"], "--json") == 0
    assert run.rows() == [dreamt | {"seconds": dreamt["seconds"] | {"engine_start": None}}]
    assert run("again", dreamt["job"], "--json", "--engine", FAKE) == 0
    assert (run.rows()[-1]["identical"], run.rows()[-1]["again_of"]) == (True, dreamt["job"])
    assert run("rerank", dreamt["job"], "a lime", "--by", "judge", "--json", "--engine", FAKE) == 0
    assert (run.rows()[-1]["parent"], run.rows()[-1]["prompt"]) == (dreamt["job"], "a lime")
    assert run("leaderboard", "--json") == 0
    assert {row["user"] for row in run.rows()} >= {"ada"}


@pytest.mark.parametrize(
    ("name", "value"), [("HOME", "/dev/null/x"), ("POLL_S", "x"), ("STORE", "postgresql://x"), ("PROGRESS_S", "-1")]
)
def test_a_wrong_setting_is_one_sentence(run: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """It names the variable, before anything is opened or started."""
    monkeypatch.setenv(f"DREAMBOT_{name}", value)
    for command in ("queue", "history") if name == "HOME" else ("queue", "serve"):
        assert run(command) == 2
        assert f"DREAMBOT_{name}" in run.err
        assert run.err.count("\n") == 1


def test_a_failed_dream_is_status_1(run: Terminal) -> None:
    """The JSON says why."""
    assert run("dream", "fail please", "--json", "--engine", FAKE) == 1
    assert (run.rows()[-1]["state"], run.rows()[-1]["reason"]) == ("failed", "error")


def test_without_a_working_engine_the_dream_is_taken_back(run: Terminal) -> None:
    """An engine that does not start is told in a sentence that names its log; nothing is left waiting."""
    assert run("dream", "dog", "--json", "--engine", BROKEN) == 1
    assert "engine.log" in run.err
    assert [row["state"] for row in run.rows()] == ["cancelled"]
    assert "Traceback" not in run.err
    assert run("history", "--json") == 0
    assert [row["state"] for row in run.rows()] == ["cancelled"]


def test_cancel_has_five_outcomes(run: Terminal) -> None:
    """Each with its exit status; `running` is shown with the commands' tests."""
    names = []
    for _ in range(2):
        assert run("dream", "dog", "--no-wait", "--json", "--as", "ada") == 0
        assert run.rows()[-1]["state"] == "queued"
        names.append(run.rows()[-1]["job"])
    seen = []
    for name, person in ((names[0], "bob"), (names[0], "ada"), (names[0], "ada"), ("zzzzzz", "ada")):
        status = run("cancel", name, "--json", "--as", person)
        assert list(run.rows()[-1]) == ["job", "outcome"]
        seen.append((run.rows()[-1]["outcome"], status))
    assert seen == [("not_yours", 2), ("cancelled", 0), ("finished", 1), ("unknown", 2)]
    assert run("queue", "--json") == 0
    assert [(row["job"], row["position"]) for row in run.rows()] == [(names[1], 1)]


def test_admin_acts_are_audited(run: Terminal) -> None:
    """Who did what to whom is in the log, latest first; refusals are not acts."""
    assert run("admin", "ban", "eve") == 0
    assert run("dream", "dog", "--no-wait", "--as", "eve") == 2
    assert "banned" in run.err
    assert run("admin", "unban", "eve", "--as", "eve") == 2
    assert run("admin", "unban", "eve") == 0
    assert run("admin", "limit", "eve", "1") == 0
    assert run("admin", "weight", "local", "2.5", "--of-guild") == 0
    assert run("admin", "audit", "--json") == 0
    assert [(row["verb"], row["target"]) for row in run.rows()] == [
        ("weight", "local:guild local"),
        ("limit", "local:eve"),
        ("unban", "local:eve"),
        ("ban", "local:eve"),
    ]


def test_help_does_not_import_what_it_does_not_need() -> None:
    """`dreambot --help` knows neither stores nor chat libraries."""
    import subprocess

    heavy = {"sqlalchemy", "discord", "alembic", "PIL", "pydantic", "rich", "asyncio"}
    script = f"import sys, bot.cli; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
