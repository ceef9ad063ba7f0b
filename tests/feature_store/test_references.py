"""Reference instruments: the oracles of what compares two instruments, and what was known of the other one when."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walks import BAR, close_to, column, same_bits, walk

from feature_store.__main__ import main
from feature_store.alignment import GRACE, Observations, newest_known, same_instant, widened
from feature_store.files import read_bars
from feature_store.leaks import bars_table, find_leaks
from feature_store.scan import Stream, compute
from feature_store.service import DEFAULT_REF, REFERENCES, FeatureService
from feature_store.view import BAR_COLUMNS, CLOSE, Floats
from lake.intervals import SECOND

N = 3_000
BOTH = FeatureService("both", "5m", (*DEFAULT_REF.views, *REFERENCES.views))


@pytest.fixture(scope="module")
def matrix() -> Floats:
    """An alt that follows BTC and ETH by half, one in fifty of whose bars is not known in time."""
    _, own = walk(N, seed=1, price=0.5)
    rng = np.random.default_rng(2)
    references = [walk(N, seed=seed, price=price)[1][:, CLOSE] for seed, price in ((3, 40_000.0), (4, 2_500.0))]
    own[:, :4] *= ((references[0] / 40_000.0) ** 0.5 * (references[1] / 2_500.0) ** 0.3)[:, None]
    extras = np.column_stack(references)
    extras[rng.random(extras.shape) < 0.02] = np.nan
    return np.column_stack([own, extras])


@pytest.fixture(scope="module")
def values(matrix: Floats) -> Floats:
    return np.asarray(compute(BOTH, walk(N)[0], matrix))


def known(matrix: Floats, place: int) -> tuple[np.ndarray, pd.Series, pd.Series]:
    """Rows with a reference, and the two closes of those rows alone."""
    rows = np.flatnonzero(np.isfinite(matrix[:, place]))
    return rows, pd.Series(matrix[rows, CLOSE]), pd.Series(matrix[rows, place])


@pytest.mark.parametrize(("name", "place"), [("btc", 5), ("eth", 6)])
def test_correlation_and_beta_equal_those_of_pandas_over_the_bars_that_both_have(
    matrix: Floats, values: Floats, name: str, place: int
) -> None:
    rows, own, other = known(matrix, place)
    x, y = np.log(own).diff(), np.log(other).diff()
    first = 60
    close_to(column(values, f"corr_{name}_60", BOTH)[rows], x.rolling(60).corr(y).to_numpy(), first)
    beta = x.rolling(60).cov(y) / y.rolling(60).var()
    close_to(column(values, f"beta_{name}_60", BOTH)[rows], beta.to_numpy(), first)
    absent = np.setdiff1d(np.arange(N), rows)
    for output in ("corr_{}_60", "beta_{}_60", "spread_z_{}_288", "coint_residual_{}_288", "hedge_ratio_{}_288"):
        assert np.isnan(column(values, output.format(name), BOTH)[absent]).all()


@pytest.mark.parametrize(("name", "place"), [("btc", 5), ("eth", 6)])
def test_the_spread_equals_that_of_pandas(matrix: Floats, values: Floats, name: str, place: int) -> None:
    rows, own, other = known(matrix, place)
    spread = np.log(own / other)
    spread -= spread.mean()  # pandas' own sums are then exact enough
    rolling = spread.rolling(288)
    oracle = ((spread - rolling.mean()) / rolling.std()).to_numpy()
    close_to(column(values, f"spread_z_{name}_288", BOTH)[rows], oracle, 287)


@pytest.mark.parametrize(("name", "place"), [("btc", 5), ("eth", 6)])
def test_the_cointegration_residual_equals_that_of_a_fitted_line(
    matrix: Floats, values: Floats, name: str, place: int
) -> None:
    rows, own, other = known(matrix, place)
    x, y = np.log(other.to_numpy()), np.log(own.to_numpy())
    assert np.isnan(column(values, f"hedge_ratio_{name}_288", BOTH)[rows[:287]]).all()
    for at in (287, 288, 700, 1_500, len(rows) - 1):
        window = slice(at - 287, at + 1)
        hedge, level = np.polyfit(x[window] - x[at], y[window] - y[at], 1)
        row = rows[at]
        assert column(values, f"hedge_ratio_{name}_288", BOTH)[row] == pytest.approx(hedge, rel=1e-9)
        found = column(values, f"coint_residual_{name}_288", BOTH)[row]
        assert found == pytest.approx(-level, rel=1e-9, abs=1e-12)


def test_an_instrument_is_its_own_reference_and_a_market_at_rest_has_none() -> None:
    times, bars = walk(400, seed=8)
    itself = compute(DEFAULT_REF, times, np.column_stack([bars, bars[:, CLOSE]]))[-1]
    np.testing.assert_allclose(itself[-2:], [1.0, 1.0], rtol=1e-9)
    still = compute(DEFAULT_REF, times, np.column_stack([bars, np.full(400, 7.3)]))[-1]
    assert still[-2:].tolist() == [0.0, 0.0]


def test_a_crash_of_the_reference_leaves_no_trace_in_the_sums() -> None:
    times, bars = walk(1_000, seed=9)
    reference = walk(1_000, seed=10)[1][:, CLOSE]
    calm = compute(DEFAULT_REF, times, np.column_stack([bars, reference]))
    reference = reference.copy()
    reference[500] *= 1e-6
    crashed = compute(DEFAULT_REF, times, np.column_stack([bars, reference]))
    np.testing.assert_allclose(crashed[570:, -2:], calm[570:, -2:], rtol=1e-9)
    assert not np.allclose(crashed[500:560, -1], calm[500:560, -1], rtol=1e-3)


# -- what was known when ----------------------------------------------------------------------------------------------


def test_a_reference_bar_counts_until_the_end_of_the_grace_and_not_after() -> None:
    events = BAR * np.arange(1, 6)
    available = events + np.array([SECOND, GRACE, GRACE + 1, SECOND, SECOND])
    closes = Observations(events[:4], available[:4], np.array([1.0, 2.0, 3.0, 4.0]))
    found, arrived = same_instant(events, closes)
    np.testing.assert_array_equal(found, [1.0, 2.0, np.nan, 4.0, np.nan])
    assert (arrived - events).tolist() == [SECOND, GRACE, GRACE, SECOND, GRACE], "a row without is known at its end"


def test_of_two_revisions_of_a_reference_bar_the_first_counts() -> None:
    twice = Observations(np.array([BAR, BAR]), BAR + np.array([2 * SECOND, SECOND]), np.array([9.0, 5.0]))
    assert same_instant(np.array([BAR]), twice)[0].tolist() == [5.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(1, 9)), max_size=25), st.integers(1, 30))
def test_the_newest_known_value_is_that_of_a_search_by_hand(rows: list[tuple[int, int, int]], age: int) -> None:
    events, delays, values = (np.array(part, np.int64) for part in zip(*rows, strict=True)) if rows else ([], [], [])
    series = Observations(np.array(events, np.int64), np.array(events, np.int64) + delays, np.array(values, float))
    times = np.arange(70)
    found = newest_known(times, series, age)
    for time, value in zip(times, found, strict=True):
        known_rows = [(e, e + d, i) for i, (e, d, _) in enumerate(rows) if e + d <= time]
        newest = max(known_rows, default=None)
        if newest is None or time - newest[0] > age:
            assert np.isnan(value)
        else:
            candidates = {float(rows[i][2]) for e, a, i in known_rows if (e, a) == newest[:2]}
            assert value in candidates


def test_batch_equals_live_where_reference_bars_are_late_or_missing() -> None:
    times, bars = walk(2_500, seed=5, missing=0.02)
    other_times, other = walk(2_500, seed=6, missing=0.02)
    rng = np.random.default_rng(7)
    events = other_times + BAR
    delays = np.where(rng.random(len(events)) < 0.05, GRACE + SECOND, SECOND)
    batch_matrix, _ = widened(
        DEFAULT_REF, times, bars, {"btc_close": Observations(events, events + delays, other[:, CLOSE])}
    )
    stream, live = Stream(DEFAULT_REF), []
    arrivals = dict(zip((events).tolist(), zip(delays.tolist(), other[:, CLOSE].tolist(), strict=True), strict=True))
    for time, bar in zip(times.tolist(), bars, strict=True):  # as live: take what is there when the grace ends
        delay, close = arrivals.get(time + BAR, (GRACE + 1, 0.0))
        live.append(stream.update(time, np.append(bar, close if delay <= GRACE else np.nan)))
    assert same_bits(np.array(live), compute(DEFAULT_REF, times, batch_matrix))
    assert np.isnan(batch_matrix[:, 5]).mean() > 0.05


def test_references_leak_nothing_and_a_join_by_open_time_alone_would() -> None:
    times, bars = walk(900, seed=11)
    btc = bars_table(*walk(900, seed=12), BAR).with_columns(
        available_time=pl.col("available_time") + pl.duration(seconds=pl.int_range(pl.len()) % 20)
    )

    def features(tables: dict[str, pl.DataFrame], punctual: bool) -> pl.DataFrame:
        own, other = tables["bars"], tables["btc"]
        clocks = [other[name].dt.timestamp("us").to_numpy() for name in ("event_time", "available_time")]
        closes = Observations(clocks[0], clocks[1] if punctual else clocks[0], other["close"].to_numpy())
        own_times = own["open_time"].dt.timestamp("us").to_numpy()
        matrix, known_at = widened(DEFAULT_REF, own_times, own.select(BAR_COLUMNS).to_numpy(), {"btc_close": closes})
        values = compute(DEFAULT_REF, own_times, matrix)
        decided = pl.Series("decision_time", known_at).cast(pl.Datetime("us", "UTC"))
        return pl.DataFrame([decided, pl.Series("corr", values[:, -2]), pl.Series("beta", values[:, -1])])

    tables = {"bars": bars_table(times, bars, BAR), "btc": btc}
    assert find_leaks(lambda known: features(known, True), tables, cuts=40) == []
    assert {leak.column for leak in find_leaks(lambda known: features(known, False), tables, cuts=40)} >= {"corr"}


# -- at the command line ----------------------------------------------------------------------------------------------


def test_compute_with_a_reference_writes_correlation_and_beta(tmp_path: Path, shared_data: Path) -> None:
    folder, out = shared_data / "ohlcv", tmp_path / "features.parquet"
    eth, btc = folder / "binance_spot_ETH-USDT_5m.parquet", folder / "binance_spot_BTC-USDT_5m.parquet"
    base = ["compute", "--bars", str(eth), "--instrument", "binance:ETH/USDT", "--timeframe", "5m", "--out", str(out)]
    assert main([*base, "--reference", str(btc)]) == 0
    rows, (times, bars), (other_times, other) = pl.read_parquet(out), read_bars(eth), read_bars(btc)
    assert rows.columns[-2:] == ["corr_btc_60", "beta_btc_60"]
    assert rows.height == len(times)
    both = pd.DataFrame({"x": np.log(bars[:, CLOSE])}, times).join(
        pd.DataFrame({"y": np.log(other[:, CLOSE])}, other_times)
    )
    moves = both.dropna().diff()
    oracle = moves.x.rolling(60).corr(moves.y).reindex(times).to_numpy()[3_000:]
    found = rows["corr_btc_60"].to_numpy()[3_000:]
    np.testing.assert_allclose(found, oracle, atol=1e-9)
    assert np.nanmedian(found) > 0.5


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--reference", "sol=x.parquet"], "expected btc=FILE or eth=FILE"),
        (["--reference", "missing.parquet"], "missing.parquet"),
    ],
)
def test_a_reference_that_cannot_be_used_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    base = ["compute", "--bars", "b.parquet", "--instrument", "i", "--timeframe", "5m", "--out", str(tmp_path / "o")]
    assert main([*base, *arguments]) in (64, 65)
    assert why in capsys.readouterr().err
