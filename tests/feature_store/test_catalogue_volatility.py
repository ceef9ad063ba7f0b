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


def test_returns_equal_those_of_pandas(bars: Floats, values: Floats) -> None:
    close = pd.Series(bars[:, CLOSE])
    for horizon in simple_returns.HORIZONS:
        close_to(of(values, f"return_{horizon}"), close.pct_change(horizon).to_numpy(), horizon, scale=1e-5)
    for horizon in further_returns.HORIZONS:
        oracle = np.log(close).diff(horizon).to_numpy()
        close_to(of(values, f"log_return_{horizon}"), oracle, horizon, scale=1e-5)
