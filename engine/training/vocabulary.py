"""The words behind the CLIPs: what each of Tiny-ImageNet's 200 labels may be called, and the fixed evaluation lists.

It knows `world.toml`, `words.toml`, `prompts.toml` and strings. It does not know pictures, tensors or networks.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.training.colours import COLOURS
from engine.training.world import WORLD

WORDS = Path(__file__).with_name("words.toml")
PROMPTS = Path(__file__).with_name("prompts.toml")


@dataclass(frozen=True, slots=True)
class Saying:
    """One way to speak of some labels: a name, or a phrase that is a sentence of its own."""

    text: str
    labels: frozenset[int]
    phrase: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All sayings, and the templates they go into."""

    sayings: tuple[Saying, ...]
    templates: tuple[str, ...]
    phrase_templates: tuple[str, ...]
    colour_templates: tuple[str, ...]

    def of_label(self, label: int) -> tuple[int, ...]:
        """The numbers of the sayings that are true of this label."""
        return tuple(number for number, saying in enumerate(self.sayings) if label in saying.labels)

    def texts(self) -> list[str]:
        """Every string of ours that training can show, for the tokenizer."""
        return [
            *(s.text for s in self.sayings),
            *self.templates,
            *self.phrase_templates,
            *self.colour_templates,
            *COLOURS,
        ]


def load_vocabulary(names: Sequence[str], world: Path = WORLD, words: Path = WORDS) -> Vocabulary:
    """`names` are the data set's own, in the order of the label numbers."""
    rows = tomllib.loads(words.read_text())
    true_of: dict[tuple[str, bool], set[int]] = {}
    for label, name in enumerate(names):
        true_of.setdefault((name.lower(), False), set()).add(label)
    for group, members in rows["groups"].items():
        true_of.setdefault((group, False), set()).update(names.index(member) for member in members)
    for row in tomllib.loads(world.read_text())["labels"]:
        for text in (row["name"].lower(), *row.get("synonyms", ())):
            true_of.setdefault((text, False), set()).add(row["tiny"])
        for text in row.get("phrases", ()):
            true_of.setdefault((text, True), set()).add(row["tiny"])
    sayings = tuple(Saying(text, frozenset(labels), phrase) for (text, phrase), labels in true_of.items())
    return Vocabulary(
        sayings, tuple(rows["templates"]), tuple(rows["phrase_templates"]), tuple(rows["colour_templates"])
    )


def load_prompts(path: Path = PROMPTS) -> Mapping[str, Any]:
    """The fixed evaluation lists: plain, free, colour, outside."""
    return tomllib.loads(path.read_text())
