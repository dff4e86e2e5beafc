"""The plots that people look at: best score against pictures with the law, score against steps and seconds, scorer
against judge. Knows rows and matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.evaluate.results import Row
from engine.evaluate.statistics import fit
from engine.evaluate.tables import curve, scores, ways_of


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write every plot that the rows have something for; returns the files."""
    import matplotlib as mpl  # a second to import, and only this needs it

    mpl.use("Agg")
    plots: dict[str, Callable[[Any, Sequence[Row]], bool]] = {
        "best_of_n": _best_of_n,
        "score_by_step": lambda axes, given: _climbs(axes, given, 0, "steps"),
        "score_by_second": lambda axes, given: _climbs(axes, given, 1, "seconds"),
        "scorer_and_judge": _scorer_and_judge,
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, plot in plots.items() if (path := _saved(name, plot, rows, folder)) is not None]


def _saved(name: str, plot: Callable[[Any, Sequence[Row]], bool], rows: Sequence[Row], folder: Path) -> Path | None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    try:
        if not plot(axes, rows):
            return None
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110)
        return path
    finally:
        plt.close(figure)


def _best_of_n(axes: Any, rows: Sequence[Row]) -> bool:
    """A line a k, the fitted law dashed."""
    for way in ways_of(rows):
        mine = [row for row in rows if row["way"] == way and "curve" in row]
        if not mine:
            continue
        mean = curve(mine)
        law, n = fit(mean), np.arange(1, len(mean) + 1)
        (line,) = axes.plot(n, mean, label=way)
        axes.plot(n, [law.best_of(int(i)) for i in n], "--", color=line.get_color(), linewidth=1)
    axes.set(xscale="log", xlabel="pictures drawn", ylabel="best CLIP score (dashed: the law of the best of n)")
    return bool(axes.lines)


def _climbs(axes: Any, rows: Sequence[Row], column: int, unit: str) -> bool:
    """The median best AugCLIP so far at every point that was measured."""
    for way in ways_of(rows):
        mine = [row["points"] for row in rows if row["way"] == way and len(row.get("points", ())) > 1]
        if not mine:
            continue
        last = max(points[-1][column] for points in mine)
        at = np.linspace(0, last, 60)
        best = [[max(p[2] for p in points if p[column] <= max(x, points[0][column])) for x in at] for points in mine]
        axes.plot(at, np.median(best, axis=0), label=way)
    axes.set(xlabel=unit, ylabel="best AugCLIP so far, median")
    return bool(axes.lines)


def _scorer_and_judge(axes: Any, rows: Sequence[Row]) -> bool:
    """A point a trial: what the scorer says against what the judge says."""
    for way in ways_of(rows):
        clip, judge = (scores(rows, way, what) for what in ("clip", "judge"))
        pairs = [
            (score, judge[p][s]) for p, seeds in clip.items() for s, score in seeds.items() if s in judge.get(p, {})
        ]
        if pairs:
            axes.scatter(*zip(*pairs, strict=True), s=10, alpha=0.6, label=way)
    axes.set(xlabel="scorer's cosine", ylabel="judge's cosine")
    return bool(axes.collections)
