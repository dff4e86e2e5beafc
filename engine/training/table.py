"""One measured figure, and many of them as a table for people and a JSON object for programs.

It knows names, numbers and bars. It does not know how anything is measured.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with what it is held against: the bar it must reach, photographs above it, chance below it."""

    name: str
    value: float
    bar: float | None = None
    sense: Literal["at least", "at most"] = "at least"
    photographs: float | None = None
    floor: float | None = None

    @property
    def passes(self) -> bool:
        """True where there is no bar."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.sense == "at least" else self.value <= self.bar


def as_table(figures: Sequence[Figure]) -> str:
    """A line per figure, columns aligned."""
    lines = [("figure", "measured", "bar", "photographs", "floor", "")]
    for figure in figures:
        bar = "" if figure.bar is None else f"{figure.sense} {figure.bar:.4g}"
        verdict = "" if figure.bar is None else ("ok" if figure.passes else "BELOW")
        lines.append(
            (figure.name, _short(figure.value), bar, _short(figure.photographs), _short(figure.floor), verdict)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_json(figures: Sequence[Figure]) -> str:
    """The same on one line, by name."""
    return json.dumps(
        {
            figure.name: {
                "value": figure.value,
                "bar": figure.bar,
                "sense": figure.sense,
                "photographs": figure.photographs,
                "floor": figure.floor,
                "passes": figure.passes,
            }
            for figure in figures
        }
    )


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
