"""The terminal as a surface: draws cards, a progress bar and, where the terminal can, the picture itself.

Knows Rich and the escape codes of kitty and iTerm2. Does not know the store. Text of people is drawn as text: no
markup, and control characters are made visible.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import unicodedata
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Self

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bot.cards import Card, Tone
from storage.events import Event, Kind

STYLES = {Tone.WAITING: "yellow", Tone.RUNNING: "cyan", Tone.DONE: "green", Tone.WRONG: "red", Tone.INFO: "blue"}
LONGEST_TITLE = 50
WRAPPED = ("prompt", "detail", "arguments", "found", "value", "target")  # columns that may take several lines
CHUNK = 4096  # of kitty's protocol
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
CELLS = 32  # columns of a picture drawn with half blocks


def plain(text: str) -> str:
    """Text that cannot steer a terminal: control, direction and lone surrogate characters become visible."""
    return "".join("\N{SYMBOL FOR SUBSTITUTE}" if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    return (unicodedata.category(character) in ("Cc", "Cs") and character != "\n") or character in DIRECTIONS


def draw(card: Card) -> RenderableType:
    """A card as a panel."""
    style = STYLES[card.tone]
    title = Text(plain(card.title), style=f"bold {style}")
    parts: list[RenderableType] = []
    if len(title) > LONGEST_TITLE:  # a frame would cut it off
        parts.append(title)
        title = Text()
    if card.text:
        parts.append(Text(plain(card.text)))
    if card.cells:
        parts.append(_table(card))
    if card.fields:
        parts.append(_fields(card))
    if card.file is not None:
        parts.append(Text(plain(card.file), style="dim"))
    return Panel(Group(*parts), title=title or None, title_align="left", border_style=style, expand=False)


def _table(card: Card) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in card.columns:
        table.add_column(
            Text(column), overflow="fold" if column in WRAPPED else "ellipsis", no_wrap=column not in WRAPPED
        )
    for cells in card.cells:
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _fields(card: Card) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for field in card.fields:
        grid.add_row(Text(field.name), Text(plain(field.value)))
    return grid


class Bar:
    """A progress bar on standard error, where that is a terminal; silent elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._task: TaskID = self._progress.add_task("waiting", total=None, best="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, text: str) -> None:
        """Show what is waited for."""
        self._progress.update(self._task, description=text)

    def see(self, event: Event) -> None:
        """Show an event of the job."""
        if event.kind is Kind.PROGRESSED:
            score = event.data.get("score")
            best = "" if score is None else f"best {score:.3f}"
            done, total = event.data.get("done"), event.data.get("total")
            self._progress.update(self._task, description="dreaming", completed=done, total=total, best=best)
        elif event.kind is Kind.STARTED:
            self._progress.update(self._task, description="started")
        elif event.kind is Kind.REQUEUED:
            self._progress.update(self._task, description="queued again", completed=0, total=None, best="")
        elif event.kind is Kind.CANCEL_REQUESTED:
            self._progress.update(self._task, description="stopping")


def picture(png: bytes, out: IO[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Show a PNG where `out` is a terminal; False if it cannot."""
    if not out.isatty() or environ.get("TERM") in (None, "dumb"):
        return False
    if "kitty" in environ.get("TERM", "") or environ.get("TERM_PROGRAM") == "ghostty":
        out.write(_kitty(png))
    elif environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm"):
        out.write(_iterm(png))
    else:
        Console(file=out).print(_blocks(png))
    out.flush()
    return True


def _kitty(png: bytes) -> str:
    text = base64.standard_b64encode(png).decode()
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    last = len(chunks) - 1
    heads = [("a=T,f=100,r=12," if index == 0 else "") + f"m={int(index < last)}" for index in range(len(chunks))]
    return "".join(f"\x1b_G{head};{chunk}\x1b\\" for head, chunk in zip(heads, chunks, strict=True)) + "\n"


def _iterm(png: bytes) -> str:
    text = base64.standard_b64encode(png).decode()
    return f"\x1b]1337;File=inline=1;height=12;size={len(png)}:{text}\x07\n"


def _blocks(png: bytes) -> Text:
    """Two pixels a character, for terminals without pictures of their own."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        rows = max(2, round(CELLS * image.height / image.width) // 2 * 2)
        small = image.convert("RGB").resize((CELLS, rows))
    pixels = small.tobytes()

    def colour(x: int, y: int) -> str:
        start = (y * CELLS + x) * 3
        return "#" + pixels[start : start + 3].hex()

    text = Text(no_wrap=True)
    for y in range(0, rows, 2):
        for x in range(CELLS):
            text.append("▀", style=f"{colour(x, y)} on {colour(x, y + 1)}")
        text.append("\n")
    return text


def say(sentence: str) -> None:
    """One sentence on standard error."""
    sys.stderr.write(plain(sentence) + "\n")
    sys.stderr.flush()
