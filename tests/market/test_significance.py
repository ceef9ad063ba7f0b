"""Probabilistic and deflated Sharpe against the papers' own examples; intervals against what they must cover."""

import math

import numpy as np
import pytest
from scipy import stats

from lake.errors import UsageError
from market import metrics, significance
from market.significance import SharpeSample


def test_the_probabilistic_sharpe_ratio_of_the_2012_paper() -> None:
    # A hedge fund's 24 months: 0.458 a month, skewness −2.448, kurtosis 10.164.
    assert significance.probabilistic_sharpe(SharpeSample(0.458, 24)) == pytest.approx(0.982, abs=1e-3)
    assert significance.probabilistic_sharpe(SharpeSample(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=1e-3)


def test_the_minimum_track_record_turns_the_probabilistic_ratio_around() -> None:
    sample = SharpeSample(0.1, 999, -0.5, 5.0)
    needed = significance.minimum_track_record(sample, 0.02, 0.95)
    again = SharpeSample(0.1, round(needed), -0.5, 5.0)
    assert significance.probabilistic_sharpe(again, 0.02) == pytest.approx(0.95, abs=1e-3)
    assert math.isinf(significance.minimum_track_record(sample, 0.1))


def test_the_deflated_sharpe_ratio_of_the_2014_paper() -> None:
    # 2.5 a year over five years of 250 days; 100 trials whose yearly ratios vary by 1/2.
    sample = SharpeSample(2.5 / math.sqrt(250), 1250, -3.0, 10.0)
    deviation = math.sqrt(0.5 / 250)
    assert significance.expected_maximum_sharpe(100, deviation) == pytest.approx(0.1132, abs=1e-4)
    assert significance.deflated_sharpe(sample, 100, deviation) == pytest.approx(0.9004, abs=1e-4)
    assert significance.deflated_sharpe(sample, 46, deviation) == pytest.approx(0.9505, abs=1e-4)


def test_the_expected_maximum_agrees_with_simulated_trials() -> None:
    best = np.random.default_rng(3).normal(0, 0.05, (20_000, 50)).max(axis=1).mean()
    assert significance.expected_maximum_sharpe(50, 0.05) == pytest.approx(best, rel=0.02)
    assert significance.expected_maximum_sharpe(1, 0.05) == 0


def test_the_probabilistic_ratio_agrees_with_an_independent_formula() -> None:
    returns = np.random.default_rng(4).standard_t(4, 500) * 0.01 + 0.0008
    ratio = returns.mean() / returns.std(ddof=1)
    moments = 1 - stats.skew(returns) * ratio + (stats.kurtosis(returns, fisher=False) - 1) / 4 * ratio**2
    expected = stats.norm.cdf((ratio - 0.01) * math.sqrt(499) / math.sqrt(moments))
    assert significance.probabilistic_sharpe(SharpeSample.of_returns(returns), 0.01) == pytest.approx(expected)


def test_one_trial_deflates_nothing_and_more_deflate_more() -> None:
    sample = SharpeSample(0.08, 700)
    levels = [significance.deflated_sharpe(sample, trials) for trials in (1, 5, 50, 500)]
    assert levels[0] == significance.probabilistic_sharpe(sample)
    assert levels == sorted(levels, reverse=True)


def test_worthless_strategies_pass_the_deflated_test_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(6)
    passed = 0
    for _ in range(200):
        trials = rng.normal(0, 0.01, (20, 250))
        best = max((SharpeSample.of_returns(row) for row in trials), key=lambda sample: sample.sharpe)
        passed += significance.deflated_sharpe(best, 20) > 0.95
    assert passed / 200 < 0.05


def mean_and_sharpe(returns: metrics.Floats) -> dict[str, float]:
    return {"mean": float(returns.mean()), "sharpe": metrics.sharpe(returns)}


def test_intervals_of_the_mean_agree_with_the_bootstrap_of_metrics() -> None:
    series = np.random.default_rng(8).normal(0.001, 0.02, 365)
    low, high = significance.bootstrap_intervals(series, mean_and_sharpe, block=5, draws=3000)["mean"]
    expected_low, _, expected_high = metrics.bootstrap_mean_interval(series, block=5)
    width = expected_high - expected_low
    assert (low, high) == pytest.approx((expected_low, expected_high), abs=0.05 * width)


def test_intervals_of_the_sharpe_ratio_are_as_wide_as_its_asymptotic_error() -> None:
    series = np.random.default_rng(9).normal(0.001, 0.02, 1000)
    low, high = significance.bootstrap_intervals(series, mean_and_sharpe, block=1, draws=3000)["sharpe"]
    assert high - low == pytest.approx(2 * 1.645 * math.sqrt(365 / 1000), rel=0.08)


def test_intervals_are_fixed_by_their_seed_and_infinities_stay() -> None:
    series = np.array([0.01, 0.02] * 20)
    factors = lambda returns: {"factor": metrics.profit_factor(returns)}  # noqa: E731
    assert significance.bootstrap_intervals(series, factors, draws=50) == {"factor": (math.inf, math.inf)}
    noisy = np.random.default_rng(1).normal(size=50)
    first, again = (significance.bootstrap_intervals(noisy, mean_and_sharpe, draws=50, seed=2) for _ in range(2))
    assert first == again


def test_too_little_to_judge_is_refused() -> None:
    with pytest.raises(UsageError):
        significance.bootstrap_intervals([0.1], mean_and_sharpe)
    with pytest.raises(UsageError):
        SharpeSample(0.1, 1)
    with pytest.raises(UsageError):
        significance.expected_maximum_sharpe(0, 0.1)
