"""The two CLIPs' figures beside their bars, for `python -m engine.training evaluate`.

It knows the bars; `evaluate_clip` measures. The judge is held against the scorer, five points below at most.
"""

from pathlib import Path
from typing import Any

from engine.training.evaluate_clip import measure as measure_one
from engine.training.table import Figure
from engine.training.text import open_trained

SCORER_BARS = {
    "pack top-1": 0.78,
    "200 labels top-1": 0.40,
    "caption R@10": 0.30,
    "plain right of 24": 24,
    "free right of 28": 24,
}
SLACK = 0.05  # by how much the judge may be below the scorer
ALONGSIDE = ("pack top-1", "200 labels top-1", "caption R@10")


def measure(folder: Path, cache: Path, sheets: Path) -> list[Figure]:
    """Scorer, then judge."""
    scorer, judge = (measure_one(open_trained(name), folder, cache) for name in ("scorer", "judge"))
    return [
        *(Figure(f"scorer {name}", float(scorer[name]), SCORER_BARS.get(name)) for name in _numbers(scorer)),
        *(Figure(f"judge {name}", float(judge[name]), _judge_bar(name, scorer)) for name in _numbers(judge)),
    ]


def _judge_bar(name: str, scorer: dict[str, Any]) -> float | None:
    return float(scorer[name]) - SLACK if name in ALONGSIDE else None


def _numbers(figures: dict[str, Any]) -> list[str]:
    return [name for name, value in figures.items() if isinstance(value, int | float)]
