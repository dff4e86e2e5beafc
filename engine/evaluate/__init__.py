"""Methods compared: prompts x seeds x ways, every trial a line in a file, tables and plots from the lines.

The command's words stand here, where nothing large is imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

TABLES = ("methods", "csc2516")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("--pack", default="embedded")
    parser.add_argument("--prompts", default="held", help="held, pairs (of things), tuning, or a file")
    parser.add_argument("--seeds", type=int, default=3, help="of every prompt")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--steps", type=int, default=150, help="of a climb, at most")
    parser.add_argument("--table", choices=TABLES, default="methods")
    parser.add_argument("--ways", default="", help="only these ways, or all that begin so, comma between")
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation"), help="the folder of results; a run goes on there"
    )
