"""The README's map of files, made from the first sentence of each file's docstring.

`python -m tests.readme_map` writes it into the README; a test holds that it is up to date.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- map -->\n", "<!-- /map -->\n"


def render() -> str:
    """The map: a folder a line, then its files with what each is for."""
    lines = []
    for package in ("storage", "bot", "engine"):
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            lines.append(f"{folder.relative_to(ROOT)}/")
            lines += [f"    {path.name:<20} {purpose(path)}" for path in sorted(folder.glob("*.py")) if purpose(path)]
    return "```\n" + "\n".join(lines) + "\n```\n"


def purpose(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    head, stop, _ = text.partition(". ")
    return head.rstrip(".") if stop or text else ""


def refreshed(readme: str) -> str:
    """The README with the map as it is now."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + render() + END + after


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
