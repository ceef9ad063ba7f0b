"""Tails, moments and correlations against hand-worked cases and independently written formulas."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lake.errors import UsageError
from market import metrics

RETURNS = np.random.default_rng(11).standard_t(3, 731) * 0.02 + 0.001
TEN = [-0.05, 0.01, 0.02, -0.03, 0.04, 0.0, 0.01, -0.01, 0.03, 0.02]


def test_value_at_risk_is_the_observed_loss_at_the_level() -> None:
    assert metrics.value_at_risk(TEN, 0.9) == 0.05  # one of ten is worse or equal
    assert metrics.value_at_risk(TEN, 0.8) == 0.03
    assert metrics.value_at_risk(RETURNS) == -np.sort(RETURNS)[math.ceil(731 * 0.05) - 1]


def test_expected_shortfall_averages_the_tail_with_the_fraction_on_its_boundary() -> None:
    assert metrics.expected_shortfall(TEN, 0.8) == pytest.approx((0.05 + 0.03) / 2)
    assert metrics.expected_shortfall(TEN, 0.85) == pytest.approx((0.05 + 0.5 * 0.03) / 1.5)
    assert metrics.expected_shortfall(TEN, 0.95) == pytest.approx(0.05)


def test_expected_shortfall_is_the_integral_of_value_at_risk() -> None:
    levels = np.linspace(0.95, 1, 200_001)[:-1] + 0.05 / 400_000
    losses = -np.sort(RETURNS)[np.ceil(731 * (1 - levels) - 1e-9).astype(int).clip(1) - 1]
    assert metrics.expected_shortfall(RETURNS) == pytest.approx(losses.mean(), rel=1e-4)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_expected_shortfall_is_never_below_value_at_risk(level: float) -> None:
    assert metrics.expected_shortfall(RETURNS, level) >= metrics.value_at_risk(RETURNS, level)


def test_the_tail_ratio_compares_both_ends() -> None:
    right, left = np.percentile(RETURNS, 95), np.percentile(RETURNS, 5)
    assert metrics.tail_ratio(RETURNS) == pytest.approx(abs(right) / abs(left))
    assert metrics.tail_ratio([0.0, 0.0]) == 0
    assert math.isinf(metrics.tail_ratio([0.01, 0.02]))


def test_moments_agree_with_scipy() -> None:
    assert metrics.skewness(RETURNS) == pytest.approx(stats.skew(RETURNS))
    assert metrics.kurtosis(RETURNS) == pytest.approx(stats.kurtosis(RETURNS, fisher=False))
    assert (metrics.skewness([0.1, 0.1]), metrics.kurtosis([0.1, 0.1])) == (0, 3)


def test_correlation_and_beta_agree_with_scipy_and_pandas() -> None:
    reference = 0.5 * RETURNS + np.random.default_rng(1).normal(0, 0.01, 731)
    assert metrics.correlation(RETURNS, reference) == pytest.approx(stats.pearsonr(RETURNS, reference).statistic)
    assert metrics.correlation(RETURNS, reference) == pytest.approx(pd.Series(RETURNS).corr(pd.Series(reference)))
    assert metrics.beta(RETURNS, reference) == pytest.approx(stats.linregress(reference, RETURNS).slope)
    assert metrics.beta([0.02, 0.04, 0.0], [0.01, 0.02, 0.0]) == pytest.approx(2)


def test_what_never_moves_correlates_with_nothing() -> None:
    assert metrics.correlation([0.0, 0.0], [0.1, 0.2]) == metrics.beta([0.1, 0.2], [0.1, 0.1]) == 0


def test_measures_refuse_what_they_cannot_measure() -> None:
    with pytest.raises(UsageError, match="3 returns"):
        metrics.correlation([0.1, 0.2, 0.3], [0.1, 0.2])
    with pytest.raises(UsageError, match="level"):
        metrics.value_at_risk(RETURNS, 1.0)
