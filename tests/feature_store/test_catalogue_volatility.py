"""The catalogue's returns, volatilities and quantiles against pandas and the formulas they are named after."""

import numpy as np
import pandas as pd
import pytest
from walks import close_to, column, walk

from feature_store.scan import compute
from feature_store.service import CATALOGUE
from feature_store.view import CLOSE, HIGH, LOW, OPEN, VOLUME, Floats
from feature_store.views import further_returns, simple_returns

N = 5_000
LENGTH = 60


@pytest.fixture(scope="module", params=[40_000.0, 0.5])
def bars(request: pytest.FixtureRequest) -> Floats:
    """A walk whose bars also open with a jump, as at venues that pause."""
    rows = walk(N, seed=23, price=request.param)[1]
    rows[:, OPEN] *= 1 + np.random.default_rng(1).normal(0.0, 2e-4, N)
    rows[:, HIGH] = rows[:, :VOLUME].max(axis=1)
    rows[:, LOW] = rows[:, :VOLUME].min(axis=1)
    return rows


@pytest.fixture(scope="module")
def values(bars: Floats) -> Floats:
    return compute(CATALOGUE, walk(N)[0], bars)


def of(values: Floats, name: str) -> Floats:
    return column(values, name, CATALOGUE)


def logs(bars: Floats, above: int, below: int) -> pd.Series:
    return pd.Series(np.log(bars[:, above] / bars[:, below]))


def deviation(variance: pd.Series) -> Floats:
    return np.sqrt(variance.to_numpy())


def test_returns_equal_those_of_pandas(bars: Floats, values: Floats) -> None:
    close = pd.Series(bars[:, CLOSE])
    for horizon in simple_returns.HORIZONS:
        close_to(of(values, f"return_{horizon}"), close.pct_change(horizon).to_numpy(), horizon, scale=1e-5)
    for horizon in further_returns.HORIZONS:
        oracle = np.log(close).diff(horizon).to_numpy()
        close_to(of(values, f"log_return_{horizon}"), oracle, horizon, scale=1e-5)


@pytest.mark.parametrize("length", [12, 288])
def test_close_to_close_volatility_equals_that_of_pandas(bars: Floats, values: Floats, length: int) -> None:
    oracle = np.log(pd.Series(bars[:, CLOSE])).diff().rolling(length).std().to_numpy()
    close_to(of(values, f"realized_vol_{length}"), oracle, length, 1e-5)


def test_parkinson_equals_his_formula(bars: Floats, values: Floats) -> None:
    """Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, 1980."""
    variance = (logs(bars, HIGH, LOW) ** 2).rolling(LENGTH).mean() / (4 * np.log(2))
    close_to(of(values, "parkinson_vol_60"), deviation(variance), LENGTH - 1, 0.0)


def test_garman_klass_equals_their_formula(bars: Floats, values: Floats) -> None:
    """Garman and Klass, On the Estimation of Security Price Volatilities from Historical Data, 1980."""
    term = 0.5 * logs(bars, HIGH, LOW) ** 2 - (2 * np.log(2) - 1) * logs(bars, CLOSE, OPEN) ** 2
    close_to(of(values, "garman_klass_vol_60"), deviation(term.rolling(LENGTH).mean()), LENGTH - 1, 1e-5)


def rogers_satchell(bars: Floats) -> pd.Series:
    """Rogers and Satchell, Estimating Variance from High, Low and Closing Prices, 1991: u(u - c) + d(d - c)."""
    up, down, close = logs(bars, HIGH, OPEN), logs(bars, LOW, OPEN), logs(bars, CLOSE, OPEN)
    return (up * (up - close) + down * (down - close)).rolling(LENGTH).mean()


def test_rogers_satchell_equals_their_formula(bars: Floats, values: Floats) -> None:
    close_to(of(values, "rogers_satchell_vol_60"), deviation(rogers_satchell(bars)), LENGTH - 1, 1e-5)


def test_yang_zhang_equals_their_formula(bars: Floats, values: Floats) -> None:
    """Yang and Zhang, Drift-Independent Volatility Estimation Based on High, Low, Open, and Close Prices, 2000."""
    jump = pd.Series(np.log(bars[1:, OPEN] / bars[:-1, CLOSE]), index=range(1, N)).reindex(range(N))
    k = 0.34 / (1.34 + (LENGTH + 1) / (LENGTH - 1))
    body = logs(bars, CLOSE, OPEN).rolling(LENGTH).var()
    variance = jump.rolling(LENGTH).var() + k * body + (1 - k) * rogers_satchell(bars)
    close_to(of(values, "yang_zhang_vol_60"), deviation(variance), LENGTH, 1e-5)


def test_volatility_of_volatility_equals_that_of_pandas(bars: Floats, values: Floats) -> None:
    rolling = np.log(pd.Series(bars[:, CLOSE])).diff().rolling(12).std().rolling(48)
    close_to(of(values, "vol_of_vol_12_48"), (rolling.std() / rolling.mean()).to_numpy(), 59, 1e-3)


def test_amihud_equals_his_formula_and_leaves_idle_bars_out(bars: Floats, values: Floats) -> None:
    """Amihud, Illiquidity and Stock Returns, 2002: the mean over days with volume."""
    close, volume = pd.Series(bars[:, CLOSE]), pd.Series(bars[:, VOLUME])
    ratio = close.pct_change().abs() / (close * volume).where(volume > 0)
    oracle = 1e6 * ratio.iloc[1:].rolling(LENGTH, min_periods=1).mean().reindex(range(N)).to_numpy()
    close_to(of(values, "amihud_60"), oracle, LENGTH, 0.0)


def test_amihud_is_missing_where_nothing_traded_and_back_with_the_first_trade() -> None:
    times, bars = walk(600, seed=2)
    bars[400:500, VOLUME] = 0.0
    found = of(compute(CATALOGUE, times, bars), "amihud_60")
    assert np.isnan(found[459:500]).all()
    assert np.isfinite(found[60:459]).all()
    assert np.isfinite(found[500:]).all()


@pytest.mark.parametrize("percent", [5, 25, 50, 75, 95])
def test_quantiles_of_the_sketch_lie_within_its_error(bars: Floats, values: Floats, percent: int) -> None:
    """DDSketch's promise: within (γ - 1) / (γ + 1) of the value of that rank, γ = 2^(1/8); 0 for what is below 1e-6."""
    rows = bars.copy()
    rows[2_000:2_600, CLOSE] *= np.where(np.arange(600) % 2, 1.05, 1.0)  # moves of up to 5 %
    rows[3_000:3_600, CLOSE] = rows[3_000, CLOSE]  # and none at all
    found = of(compute(CATALOGUE, walk(N)[0], rows), f"return_quantile_{percent}_480")
    rolling = pd.Series(np.log1p(pd.Series(rows[:, CLOSE]).pct_change())).rolling(480)
    oracle = rolling.quantile(percent / 100, interpolation="lower").to_numpy()
    assert np.isnan(found[:480]).all()
    growth = 2 ** (1 / 8)
    bound = (growth - 1) / (growth + 1) * np.abs(oracle) * (1 + 1e-9) + 1e-6
    np.testing.assert_array_less(np.abs(found - oracle)[480:], bound[480:])


def test_a_market_that_does_not_move_has_no_volatility() -> None:
    times, rows = walk(600)
    rows[:, :VOLUME], rows[:, VOLUME] = 0.1, 0.3
    last = dict(zip(CATALOGUE.feature_names, compute(CATALOGUE, times, rows)[-1], strict=True))
    still = [name for name in last if "return" in name or "_vol" in name or name == "amihud_60"]
    assert len(still) == 32
    assert {name: last[name] for name in still} == dict.fromkeys(still, 0.0)
