"""The crash storms, with their figures kept: `python -m tests.benchmarks.storm a|b [--seconds 600]`.

Each ends with an AssertionError, and keeps nothing, if an acknowledged dream is lost, told twice or broken.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.common import keep
from tests.scenarios.storm_full import storm_a
from tests.scenarios.storm_served import storm_b


async def storm(which: str, seconds: float) -> dict[str, Any]:
    """One of them, with kills in proportion to its length: 300 and 60 of each kind, or 40 of each, in ten minutes."""
    with tempfile.TemporaryDirectory(prefix="dreambot-storm-") as folder:
        home, part = Path(folder) / "home", seconds / 600
        if which == "a":
            return await storm_a(home, seconds=seconds, kills=round(300 * part), each=round(60 * part), crowd=12)
        return await storm_b(home, seconds=seconds, each=round(40 * part))


def main() -> None:
    """A storm to its end."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("which", choices=("a", "b"))
    words.add_argument("--seconds", type=float, default=600.0)
    asked = words.parse_args()
    figures = asyncio.run(storm(asked.which, asked.seconds))
    print(figures)
    keep(f"storm-{asked.which}", figures)


if __name__ == "__main__":
    main()
