"""From rows of results to the tables that people read: every way beside the others, and the search paper's own table.

Knows rows, prompts and statistics; draws nothing and runs nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluate.photographs import Photographs
from engine.evaluate.results import Row
from engine.evaluate.statistics import (
    best_of_any,
    bootstrap,
    first_above,
    fit,
    fit_logarithm,
    frechet,
    overfit,
    paired,
)

Table = list[dict[str, Any]]
RANDOM = "random draw"


def ways_of(rows: Iterable[Row]) -> list[str]:
    """The ways that there are, in the order in which they were run."""
    return list(dict.fromkeys(row["way"] for row in rows))


def scores(rows: Iterable[Row], way: str, what: str) -> dict[str, dict[int, float]]:
    """A score of one way, by prompt and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["way"] == way and row.get(what) is not None:
            found.setdefault(row["prompt"], {})[int(row["seed"])] = float(row[what])
    return found


def methods(rows: Sequence[Row], baseline: str, real: Photographs | None) -> Table:
    """A line a way: the judge's score and its gain over `baseline` with intervals; scorer, AugCLIP, seconds."""
    table: Table = []
    against = scores(rows, baseline, "judge")
    if drawn := scores(rows, baseline, "random_judge"):
        table.append(_line(RANDOM, drawn, against, real, {"clip": scores(rows, baseline, "random_clip")}))
    for way in ways_of(rows):
        judged = scores(rows, way, "judge")
        if judged:
            further = {what: scores(rows, way, what) for what in ("clip", "augclip", "seconds")}
            table.append(_line(way, judged, against, real, further))
    return table


def _line(
    way: str,
    judged: Mapping[str, Mapping[int, float]],
    against: Mapping[str, Mapping[int, float]],
    real: Photographs | None,
    further: Mapping[str, Mapping[str, Mapping[int, float]]],
) -> dict[str, Any]:
    line: dict[str, Any] = {"way": way, "trials": sum(map(len, judged.values()))}
    interval = bootstrap({prompt: list(seeds.values()) for prompt, seeds in judged.items()})
    line |= {"judge": interval.mean, "judge low": interval.low, "judge high": interval.high}
    gain = paired(against, judged)
    line |= {"gain": gain.mean, "gain low": gain.low, "gain high": gain.high}
    line |= {what: float(np.mean(_flat(found))) if found else None for what, found in further.items()}
    clip = further.get("clip")
    honest = None if real is None or not clip else overfit(_flat(clip), _flat(judged), real.scorer, real.judge)
    return line | {"overfit": honest}


def csc2516(rows: Sequence[Row], real: Photographs | None) -> Table:
    """The search paper's tables on this pack: a line a k, with the law of the best of n fitted to its curve.

    The law is fitted to the mean over all prompts and seeds of the expected best of n (`curve`), the plain logarithm of
    the paper's title beside it: mu + sigma m(n) and a + b ln n, each with its root mean square distance and its worst.
    `to beat photographs`: after how many pictures the mean best score over all prompts passes photographs' mean score,
    averaged over the seeds; None where a seed never passes. `Fréchet`: of kept pictures to photographs in the judge's
    feature space, which is no FID.
    """
    threshold = None if real is None else float(real.scorer.mean())
    table: Table = []
    for way in ways_of(rows):
        mine = [row for row in rows if row["way"] == way and "curve" in row]
        if not mine:
            continue
        mean = curve(mine)
        law, log = fit(mean), fit_logarithm(mean)
        line: dict[str, Any] = {"way": way, "best": float(mean[-1]), "mu": law.mu, "sigma": law.sigma}
        line |= {"error": law.error, "worst": law.worst, "logarithm's error": log.error, "its worst": log.worst}
        line |= {"labels": len({row["label"] for row in mine})}
        line["to beat photographs"] = None if threshold is None else _to_beat(mine, threshold)
        line["Fréchet"] = None if real is None else _distance(mine, real)
        table.append(line)
    return table


def curve(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The mean best score after 1, 2, … pictures.

    Over all orders of every trial's scores: prompts share their seeds, so one order would show the same luck in all.
    """
    mean: NDArray[np.float64] = np.mean([_best(row) for row in rows], axis=0)
    return mean


def _best(row: Row) -> NDArray[np.float64]:
    return best_of_any(row["scores"]) if "scores" in row else np.array(row["curve"])


def _to_beat(rows: Sequence[Row], threshold: float) -> float | None:
    seeds = sorted({int(row["seed"]) for row in rows})
    found = [first_above(curve([row for row in rows if row["seed"] == seed]), threshold) for seed in seeds]
    known = [n for n in found if n is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def _distance(rows: Sequence[Row], real: Photographs) -> float | None:
    width = real.features.shape[1]
    kept = [np.frombuffer(base64.b64decode(row["kept"]), "<f2").reshape(-1, width) for row in rows]
    features = np.concatenate(kept).astype(np.float64)
    return frechet(features, real.features) if len(features) > 1 else None


def _flat(found: Mapping[str, Mapping[int, float]]) -> NDArray[np.float64]:
    return np.array([score for seeds in found.values() for score in seeds.values()])


def as_text(table: Table) -> str:
    """Columns side by side; a line a row."""
    if not table:
        return "no rows"
    names = list(table[0])
    lines = [names, *([_cell(row.get(name)) for name in names] for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
