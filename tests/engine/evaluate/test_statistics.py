"""Promises of the evaluation's numbers: the law of the best of n, intervals that pair, an honest overfit index."""

from itertools import permutations

import numpy as np
import pytest

from engine.evaluate.statistics import (
    best_of_any,
    bootstrap,
    expected_maximum,
    first_above,
    fit,
    frechet,
    overfit,
    paired,
)


@pytest.mark.parametrize(("n", "mean"), [(1, 0.0), (8, 1.4236), (10, 1.5388), (100, 2.5076), (1000, 3.2414)])
def test_the_best_of_n_normals_has_the_known_mean(n: int, mean: float) -> None:
    """m(n) as tables of order statistics have it."""
    assert expected_maximum(n) == pytest.approx(mean, abs=2e-4)


def test_the_law_is_found_in_simulated_draws() -> None:
    """The mean best of n of normal draws gives mu and sigma back, and foretells the best of a thousand."""
    draws = np.random.default_rng(0).normal(0.25, 0.02, (4000, 100))
    law = fit(np.maximum.accumulate(draws, axis=1).mean(0).tolist())
    assert (law.mu, law.sigma) == pytest.approx((0.25, 0.02), abs=5e-4)
    assert law.best_of(1000) == pytest.approx(0.25 + 0.02 * 3.2414, abs=2e-3)
    with pytest.raises(ValueError, match="at least three"):
        fit([0.1, 0.2])


def test_the_expected_best_is_the_mean_over_all_orders() -> None:
    """Of four scores, by trying all 24 orders; and no order of the scores themselves matters."""
    scores = [0.3, 0.1, 0.7, 0.4]
    tried = np.mean([np.maximum.accumulate(order) for order in permutations(scores)], axis=0)
    assert best_of_any(scores) == pytest.approx(tried, abs=1e-12)
    assert best_of_any(sorted(scores)) == pytest.approx(best_of_any(scores), abs=1e-12)


def test_pairing_sees_a_small_gain_under_large_differences() -> None:
    """A gain of 0.01 for every prompt has an interval above nothing although prompts differ by ten times that."""
    rng = np.random.default_rng(1)
    level = {f"prompt {i}": float(rng.normal(0.3, 0.1)) for i in range(24)}
    one = {prompt: {seed: value + float(rng.normal(0, 0.005)) for seed in range(3)} for prompt, value in level.items()}
    other = {prompt: {seed: score + 0.01 for seed, score in seeds.items()} for prompt, seeds in one.items()}
    gain = paired(one, other)
    assert 0.009 < gain.low <= gain.mean <= gain.high < 0.011
    apart = bootstrap({prompt: list(seeds.values()) for prompt, seeds in one.items()})
    assert apart.high - apart.low > 0.03
    with pytest.raises(ValueError, match="no prompt and seed"):
        paired({"a": {0: 1.0}}, {"a": {1: 1.0}})


def test_pictures_needed_are_counted_from_one() -> None:
    """The first picture above the threshold, or none."""
    assert first_above([0.1, 0.3, 0.3], 0.2) == 2
    assert first_above([0.1, 0.3], 0.3) is None


def test_the_frechet_distance_of_shifted_clouds_is_their_shift() -> None:
    """Equal covariances leave the squared distance of the means."""
    cloud = np.random.default_rng(2).normal(size=(500, 4))
    assert frechet(cloud, cloud) == pytest.approx(0.0, abs=1e-9)
    assert frechet(cloud, cloud + np.array([3.0, 0, 0, 0])) == pytest.approx(9.0)


def test_a_fooled_scorer_has_an_overfit_index_above_nothing() -> None:
    """Pictures that both like alike are honest; those that only the scorer likes are not."""
    real = np.linspace(0.2, 0.4, 50)
    assert overfit(real, real, real, real) == pytest.approx(0.0)
    assert overfit(real + 0.1, real, real, real) > 1
