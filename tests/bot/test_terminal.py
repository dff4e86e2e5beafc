"""Pictures in a terminal, and what must not reach it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bot.terminal import picture, plain
from tests.bot.jobs import job
from tests.fakes.engine import pixels, png


class Tty(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A tiny PNG."""
    path = tmp_path / "x.png"
    path.write_bytes(png(pixels(job(), 0)))
    return path


@pytest.mark.parametrize(
    ("environ", "sign"),
    [
        ({"TERM": "xterm-kitty"}, "\x1b_Ga=T,f=100"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "\x1b]1337;File=inline=1"),
        ({"TERM": "xterm-256color"}, "▀"),
    ],
)
def test_each_terminal_gets_its_own_picture(file: Path, environ: dict[str, str], sign: str) -> None:
    """kitty's and iTerm2's protocols where they are spoken, half blocks elsewhere."""
    out = Tty()
    assert picture(file.read_bytes(), out, environ)
    assert sign in out.getvalue()


def test_a_pipe_gets_no_picture(file: Path) -> None:
    """Nothing is drawn where nobody looks."""
    out = io.StringIO()
    assert not picture(file.read_bytes(), out, {"TERM": "xterm-kitty"})
    assert not picture(file.read_bytes(), Tty(), {"TERM": "dumb"})
    assert out.getvalue() == ""


def test_control_characters_become_visible() -> None:
    """Escapes and direction marks are shown as a sign; emoji sequences and line ends stay."""
    assert plain("a\x1b[2Jb\u202ec\n👩\u200d🚀") == "a␦[2Jb␦c\n👩\u200d🚀".replace("␦", "\N{SYMBOL FOR SUBSTITUTE}")
