"""The law of the best of n, bootstrap intervals, and how far a scorer was overfitted. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
RESAMPLES, SEED = 10_000, 1
GRID = np.linspace(-9.0, 9.0, 20_001)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, slots=True)
class Law:
    """The best of n draws from N(mu, sigma^2): mu + sigma m(n)."""

    mu: float
    sigma: float
    error: float  # root mean square distance to the curve that it was fitted to
    worst: float  # the largest distance

    def best_of(self, n: int) -> float:
        """The expected best score of n pictures."""
        return self.mu + self.sigma * expected_maximum(n)


@dataclass(frozen=True, slots=True)
class Logarithm:
    """What the search paper says in words: a + b ln n."""

    level: float
    rise: float
    error: float
    worst: float


@cache
def expected_maximum(n: int) -> float:
    """m(n): the mean of the largest of n standard normals, by quadrature; m(8) = 1.423, m(100) = 2.508."""
    density = np.exp(-GRID * GRID / 2) / np.sqrt(2 * np.pi)
    below = (np.cumsum(density) - density / 2) * (GRID[1] - GRID[0])
    return float(np.trapezoid(GRID * n * density * below.clip(0, 1) ** (n - 1), GRID))


def fit(curve: Sequence[float] | Numbers) -> Law:
    """Least squares of mu and sigma on the best score after 1, 2, … pictures. ValueError for fewer than three."""
    return Law(*_fitted(curve, [expected_maximum(n) for n in range(1, len(curve) + 1)]))


def fit_logarithm(curve: Sequence[float] | Numbers) -> Logarithm:
    """Least squares of a + b ln n on the same. ValueError for fewer than three."""
    return Logarithm(*_fitted(curve, np.log(np.arange(1, len(curve) + 1))))


def _fitted(curve: Sequence[float] | Numbers, steps: Sequence[float] | Numbers) -> tuple[float, float, float, float]:
    """Both coefficients, then the root mean square distance and the largest."""
    if len(curve) < 3:
        raise ValueError("the law needs a curve of at least three pictures.")
    table = np.stack([np.ones(len(steps)), np.asarray(steps, np.float64)], 1)
    found, *_ = np.linalg.lstsq(table, np.asarray(curve, np.float64), rcond=None)
    apart = table @ found - curve
    return float(found[0]), float(found[1]), float(np.sqrt(np.mean(apart**2))), float(np.abs(apart).max())


def best_of_any(scores: Sequence[float] | Numbers) -> Numbers:
    """The expected best of n of these scores, n = 1, 2, …, over all orders in which they might have been drawn.

    The i-th smallest of N is the best of (i-1 over n-1) among the (N over n) choices of n. The mean over many trials is
    that of their running maxima, without the accident of an order that trials with one seed share.
    """
    shares = _shares(len(scores))
    best: Numbers = shares @ np.sort(np.asarray(scores, np.float64))
    return best


@cache
def _shares(total: int) -> Numbers:
    """Row n - 1, column i - 1: how often the i-th smallest of `total` is the largest of n that were chosen of them."""
    return np.array(
        [[comb(i, n - 1) / comb(total, n) for i in range(total)] for n in range(1, total + 1)], dtype=np.float64
    )


def bootstrap(values: Mapping[str, Sequence[float]]) -> Interval:
    """The mean of means over prompts; prompts are drawn anew, their seeds stay together."""
    means = np.array([np.mean(scores) for scores in values.values()])
    drawn = np.random.default_rng(SEED).integers(0, len(means), (RESAMPLES, len(means)))
    low, high = np.quantile(means[drawn].mean(1), (0.025, 0.975))
    return Interval(float(means.mean()), float(low), float(high))


def paired(one: Mapping[str, Mapping[int, float]], other: Mapping[str, Mapping[int, float]]) -> Interval:
    """The gain of `other` over `one` on what both have, by prompt and seed. ValueError if that is nothing."""
    gains = {
        prompt: [other[prompt][seed] - score for seed, score in seeds.items() if seed in other.get(prompt, {})]
        for prompt, seeds in one.items()
    }
    shared = {prompt: scores for prompt, scores in gains.items() if scores}
    if not shared:
        raise ValueError("the two ways share no prompt and seed.")
    return bootstrap(shared)


def first_above(curve: Sequence[float] | Numbers, threshold: float) -> int | None:
    """After how many pictures the best score passes the threshold; None if it never does."""
    above = np.flatnonzero(np.asarray(curve) > threshold)
    return int(above[0]) + 1 if len(above) else None


def frechet(ours: Numbers, theirs: Numbers) -> float:
    """Fréchet distance of two sets of features (n, d) taken as Gaussians (arXiv 1706.08500, equation 6)."""
    covariances = [np.cov(features, rowvar=False) for features in (ours, theirs)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    apart = ((ours.mean(0) - theirs.mean(0)) ** 2).sum()
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross)


def overfit(scorer: Numbers, judge: Numbers, real_scorer: Numbers, real_judge: Numbers) -> float:
    """The overfit index: how many standard deviations of photographs' scores the scorer likes the pictures better than
    the judge does, each measured against what it thinks of photographs. 0 is honest, above 0 the scorer is fooled."""
    liked = (scorer.mean() - real_scorer.mean()) / real_scorer.std()
    judged = (judge.mean() - real_judge.mean()) / real_judge.std()
    return float(liked - judged)
