"""The world of the embedded pack: its labels, their numbers in Tiny-ImageNet and the words people type for them.

It knows `world.toml` and nothing of pictures, networks or training.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

WORLD = Path(__file__).with_name("world.toml")


@dataclass(frozen=True, slots=True)
class Label:
    """One thing the pack can draw."""

    name: str
    tiny: int  # its number among Tiny-ImageNet's 200
    synonyms: tuple[str, ...] = ()


def load_world(path: Path = WORLD) -> tuple[Label, ...]:
    """The labels in the order of the pack's class numbers."""
    rows = tomllib.loads(path.read_text())["labels"]
    return tuple(Label(row["name"], int(row["tiny"]), tuple(row.get("synonyms", ()))) for row in rows)
