"""Cards as Discord shows them: an embed, buttons, pictures beside it, and forms as modals.

Knows Discord's limits and colours. Prompts and names are neutralised here, so nothing that people typed is alive.
Pictures are attachments and not part of the embed: only those can be covered by a spoiler.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import discord

from bot.cards import Button, Card, Form, Tone
from bot.discord_pictures import Picture, fitting, whole
from bot.discord_text import length, neutral, plain, table

TITLE, DESCRIPTION, FIELDS, FIELD_NAME, FIELD_VALUE, TOTAL = 256, 4_096, 25, 256, 1_024, 6_000
RESERVED = 1_000  # of the total, for the description
MOST_FILES = 10
REQUEST_BYTES = 24 << 20  # of 25 MiB, the rest is for the words
LABEL, MODAL_TITLE, INPUT_LABEL, INPUT_VALUE, ASKER = 80, 45, 45, 4_000, 100
COLOURS = {
    Tone.WAITING: 0x8A8F98,
    Tone.RUNNING: 0x3B82C4,
    Tone.DONE: 0x3F9E5A,
    Tone.WRONG: 0xC4453B,
    Tone.INFO: 0x6F6AB3,
}
TOO_LARGE = "The file is larger than this channel takes; ask the operator for it."
FILE = "dreams.zip"  # what a file that goes with a card is called
COPIED = ("job", "seed")  # shown so that a tap selects them
STYLES = dict.fromkeys(("cancel", "erase", "forget"), discord.ButtonStyle.danger)  # `delete` only asks


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A message, ready to be sent; may be sent more than once."""

    embed: discord.Embed
    buttons: tuple[Button, ...]
    pictures: tuple[Picture, ...]
    spoiler: bool
    document: Picture | None = None  # a file that is handed over with the words

    @property
    def files(self) -> list[discord.File]:
        """Everything as uploads; new ones at every look, as an upload is used up by sending."""
        found = [discord.File(io.BytesIO(p.data), filename=p.name, spoiler=self.spoiler) for p in self.pictures]
        if self.document is not None:
            found.append(discord.File(io.BytesIO(self.document.data), filename=self.document.name))
        return found

    @property
    def view(self) -> discord.ui.View:
        """The buttons; stopped, because presses are found by their ids and not by views in memory."""
        view = discord.ui.View(timeout=None)
        for button in self.buttons[:25]:
            style = STYLES.get(button.verb, discord.ButtonStyle.secondary)
            label = plain(button.label, LABEL)
            view.add_item(discord.ui.Button(label=label, custom_id=button.id, style=style))
        view.stop()
        return view


def draw(card: Card, picture: Callable[[str], Path], *, side: int, limit: int, nsfw: bool = False) -> Drawn:
    """The card as a message: pictures at least `side` pixels wide and of at most `limit` bytes each.

    `nsfw`: the channel is age-restricted, so that nothing is covered there.
    """
    name = card.job or "dream"
    wanted = card.images[:MOST_FILES]
    share = min(limit, REQUEST_BYTES // max(1, len(wanted)))
    found = [fitting(picture(digest), f"{name}-{n}", side, share) for n, digest in enumerate(wanted, start=1)]
    pictures = tuple(one for one in found if one is not None)
    missing = len(card.images) - len(pictures)
    document = None if card.file is None else whole(Path(card.file), FILE, limit)
    lost = card.file is not None and document is None
    return Drawn(
        embed=embed(replace(card, text=f"{card.text}\n{TOO_LARGE}") if lost else card, missing),
        buttons=card.buttons,
        pictures=pictures,
        spoiler=card.spoiler and not nsfw,
        document=document,
    )


def embed(card: Card, missing: int = 0) -> discord.Embed:
    """The words of a card; `missing` pictures could not be sent."""
    drawn = discord.Embed(colour=COLOURS[card.tone], title=neutral(card.title, TITLE))
    if card.asker:
        drawn.set_footer(text=plain(f"for {card.asker}", ASKER))
    for field in card.fields[:FIELDS]:
        name = neutral(field.name, FIELD_NAME)
        value = f"`{plain(field.value, 64)}`" if field.name in COPIED else neutral(field.value, FIELD_VALUE)
        if _size(drawn) + length(name) + length(value) <= TOTAL - RESERVED:
            drawn.add_field(name=name or "–", value=value or "–", inline=True)
    note = f"{missing} of the pictures cannot be shown here; `dreambot show` has them." if missing else ""
    room = min(DESCRIPTION, TOTAL - _size(drawn) - length(note) - 2)
    words = neutral(card.text, room)
    rows = table(card.columns, card.cells, room - length(words) - 1) if card.cells else ""
    drawn.description = "\n".join(part for part in (words, rows, note) if part) or None
    return drawn


def _size(drawn: discord.Embed) -> int:
    return (
        length(drawn.title or "")
        + length(drawn.footer.text or "")
        + sum(length(str(f.name)) + length(str(f.value)) for f in drawn.fields)
    )


def modal(form: Form) -> discord.ui.Modal:
    """A form; stopped, because what is sent in is found by its id, after a restart, too."""
    drawn = discord.ui.Modal(title=plain(form.title, MODAL_TITLE), custom_id=form.id, timeout=None)
    for one in form.inputs[:5]:
        value = _kept(one.value, INPUT_VALUE)
        style = discord.TextStyle.long if one.long else discord.TextStyle.short
        text: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
            custom_id=one.name, style=style, default=value or None, required=one.required, max_length=INPUT_VALUE
        )
        drawn.add_item(discord.ui.Label(text=plain(one.label, INPUT_LABEL), component=text))
    drawn.stop()
    return drawn


def _kept(text: str, limit: int) -> str:
    """What stands in a form comes back as it is: nothing is replaced, only what is too long is left out."""
    while length(text) > limit:
        text = text[: len(text) - max(1, (length(text) - limit) // 2)]
    return text


def filled_in(components: Sequence[object]) -> dict[str, str]:
    """The values of a form as it was sent in, by the names of its inputs."""
    values: dict[str, str] = {}
    for part in components:
        if not isinstance(part, dict):
            continue
        inner = [part["component"]] if isinstance(part.get("component"), dict) else part.get("components") or []
        values |= {one["custom_id"]: str(one.get("value") or "") for one in inner if "custom_id" in one}
    return values
