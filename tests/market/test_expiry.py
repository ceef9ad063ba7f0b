"""The fair basis: exact convergence at expiry, one process for past and present, mark price and funding by formula."""

import math

import numpy as np
import pytest

from lake.instruments import INSTRUMENTS
from market import basis as bases
from market.basis import DAY, SECOND, BasisAverage, BasisProcess
from market.contracts import future, perpetual, quarterly_expiries, spot

START = 1_672_617_600_000_000  # 2023-01-02
EXPIRY = quarterly_expiries(START, 1)[0]
CONTRACTS = [perpetual("BTC"), future("BTC", EXPIRY), spot(INSTRUMENTS["binance:BTC/USDT"])]


def test_the_basis_of_a_future_is_zero_to_the_tick_at_expiry_and_small_before() -> None:
    times = np.array([EXPIRY - 60 * SECOND, EXPIRY - SECOND, EXPIRY, EXPIRY + DAY])
    path = BasisProcess(CONTRACTS, 1, START).path(times)[1]
    assert abs(path[0]) < 1e-5 and abs(path[1]) < abs(path[0]) + 1e-8
    assert path[2] == path[3] == 0.0
    for index in (16_543.21, 27_000.05, 68_999.99):
        assert bases.fair_ticks(index, path[2], 0.1) == round(index / 0.1)


def test_a_future_far_from_expiry_carries_about_six_per_cent_a_year() -> None:
    annual = [
        BasisProcess(CONTRACTS, seed, START).step(START + SECOND)[1] * 365 * DAY / (EXPIRY - START - SECOND)
        for seed in range(200)
    ]
    assert np.mean(annual) == pytest.approx(0.06, abs=0.006)
    assert 0.015 < np.std(annual) < 0.03


def test_one_call_and_many_give_the_same_past() -> None:
    times = START + np.arange(1, 300) * 60 * SECOND
    whole = BasisProcess(CONTRACTS, 5, START).path(times)
    cut = BasisProcess(CONTRACTS, 5, START)
    parts = [cut.path(times[:100]), *(cut.step(int(t))[:, None] for t in times[100:150]), cut.path(times[150:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))
    assert not np.array_equal(whole, BasisProcess(CONTRACTS, 6, START).path(times))


def test_a_long_past_has_the_declared_moments() -> None:
    times = START + np.arange(1, 200_000, dtype=np.int64) * 600 * SECOND
    premium = BasisProcess([perpetual("BTC")], 3, START).path(times)[0]
    assert premium.std() == pytest.approx(math.hypot(bases.PREMIUM_SLOW, bases.PREMIUM_FAST), rel=0.05)
    assert premium.mean() == pytest.approx(bases.PREMIUM_MEAN, abs=3e-5)
    rates = [bases.funding_rate(premium[k : k + 48]) for k in range(0, len(premium), 48)]
    assert np.mean(rates) == pytest.approx(3e-5, abs=3e-5)  # BTC in 2025: 4e-5, deviation 4e-5
    assert np.std(rates) == pytest.approx(4.4e-5, abs=2e-5)
    assert 0.02 < np.mean(np.array(rates) == bases.INTEREST) < 0.6


def test_spot_has_no_basis() -> None:
    assert BasisProcess(CONTRACTS, 1, START).step(START + DAY)[2] == 0.0


@pytest.mark.parametrize(
    ("last", "average", "rate", "share", "expected"),
    [
        (101.0, 0.5, 0.01, 0.5, 100.5),  # 100.5 by both formulas, whatever the last trade
        (90.0, 0.2, 0.001, 1.0, 100.1),  # a wild last trade does not move the mark
        (100.15, 0.2, 0.001, 1.0, 100.15),  # a last trade between the two is the mark
        (math.nan, 0.2, 0.001, 1.0, 100.2),
    ],
)
def test_the_mark_is_the_median(last: float, average: float, rate: float, share: float, expected: float) -> None:
    assert bases.mark_price(100.0, last, average, rate, share) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("premium", "expected"),
    [(0.0, 0.0001), (0.0003, 0.0001), (0.0006, 0.0001), (0.0008, 0.0003), (-0.001, -0.0005), (0.9, 0.02)],
)
def test_the_funding_rate_is_the_interest_inside_the_clamp_and_the_premium_outside(
    premium: float, expected: float
) -> None:
    assert bases.funding_rate(np.full(96, premium)) == pytest.approx(expected, abs=1e-12)


def test_the_newest_premium_weighs_most() -> None:
    assert bases.funding_rate(np.array([0.0, 0.003])) == round(0.002 - 0.0005, 8)
    assert bases.funding_rate(np.zeros(0)) == bases.INTEREST


def test_the_premium_index_counts_only_a_book_beside_the_index() -> None:
    assert bases.premium_index(100.0, 99.9, 100.1) == 0.0
    assert bases.premium_index(100.0, 100.2, 100.4) == pytest.approx(0.002)
    assert bases.premium_index(100.0, 99.6, 99.7) == pytest.approx(-0.003)


def test_the_average_forgets_what_is_older_than_five_minutes() -> None:
    average = BasisAverage(2)
    assert average.value(0) == 0.0
    average.add(0, 0, 10.0)
    assert average.add(0, 299 * SECOND, 20.0) == 15.0
    assert average.add(0, 300 * SECOND, 40.0) == 30.0
    assert (average.value(0), average.value(1)) == (30.0, 0.0)
