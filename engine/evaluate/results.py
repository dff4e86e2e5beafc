"""The file of results: one JSON line a trial, so that a run that was killed goes on where it was.

Knows lines and keys; what stands in a row is the bench's affair.
A line that a crash tore is dropped, and its trial runs anew.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
FLAT = ("way", "prompt", "seed", "clip", "augclip", "judge", "label", "seconds", "steps")


class Results:
    """Rows by key, in the order in which they were found, on disk as they come."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Read what is there. ValueError where it was made with another pack or other settings than `header` says."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = list(_whole_lines(path))
        if lines and lines[0] != dict(header):
            raise ValueError(f"{path.name} holds results of {lines[0]}, not of {dict(header)}; choose another folder.")
        self._rows: dict[str, Row] = {row["key"]: row for row in lines[1:]}
        kept = [dict(header), *self._rows.values()]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    @property
    def rows(self) -> list[Row]:
        """Every row there is."""
        return list(self._rows.values())

    def add(self, row: Row) -> None:
        """Append one row; it is in the file when this returns."""
        self._rows[row["key"]] = row
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(row)}\n")

    def write_csv(self, path: Path) -> None:
        """The flat part of every row."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, FLAT, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)


def _whole_lines(path: Path) -> Iterator[Row]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row: Row = json.loads(line)
        except ValueError:
            continue
        yield row
