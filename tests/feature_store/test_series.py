"""Series beside bars: each column against its formula, what was known when, and real on-chain days."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from walks import close_to, same_bits

from feature_store.alignment import Observations, observations, widened
from feature_store.inputs import SERIES
from feature_store.leaks import bars_table, find_leaks
from feature_store.scan import Stream, compute
from feature_store.service import CHAIN_1D, DERIVATIVES_5M
from feature_store.view import BAR_COLUMNS, CLOSE, Floats, Times
from lake.intervals import DAY, HOUR, MINUTE

START = 1_704_067_200_000_000  # 2024-01-01
N = 400


def days(n: int = N) -> tuple[Times, Floats]:
    rng = np.random.default_rng(1)
    close = 40_000 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    bars = np.column_stack([close, close * 1.01, close * 0.99, close, rng.lognormal(3, 1, n)])
    return START + DAY * np.arange(n, dtype=np.int64), bars


def table(columns: dict[tuple[str, str], Floats], step: int = DAY, delay: int = 12 * HOUR) -> pl.DataFrame:
    """Rows of observations_v1: by entity and metric one value at each step's end."""
    parts = []
    for (entity, metric), values in columns.items():
        ends = START + step * np.arange(1, len(values) + 1, dtype=np.int64)
        times = {"event_time": ends, "available_time": ends + delay}
        clocks = [pl.Series(name, one).cast(pl.Datetime("us", "UTC")) for name, one in times.items()]
        words = [pl.Series(name, [one] * len(values)) for name, one in (("entity", entity), ("metric", metric))]
        parts.append(pl.DataFrame([*words, *clocks, pl.Series("value", values)]))
    return pl.concat(parts)


@pytest.fixture(scope="module")
def chain() -> tuple[Floats, dict[str, Floats], dict[str, Floats]]:
    """Closes, the series by input name as they lay on the grid (a day late), and the columns."""
    rng = np.random.default_rng(2)
    told = {s.name: 100.0 * np.exp(np.cumsum(rng.normal(0, 0.03, N))) for s in SERIES if s.name in CHAIN_1D.extras}
    named = {series.name: (series.entity_of("binance:BTC/USDT"), series.metric) for series in SERIES}
    source = table({named[name]: values for name, values in told.items()})
    times, bars = days()
    matrix, _ = widened(CHAIN_1D, times, bars, observations(source, CHAIN_1D, "binance:BTC/USDT"))
    shown = {name: np.concatenate([[np.nan], values[:-1]]) for name, values in told.items()}
    for i, name in enumerate(CHAIN_1D.extras):
        np.testing.assert_array_equal(matrix[:, 5 + i], shown[name])
    values = compute(CHAIN_1D, times, matrix)
    return bars[:, CLOSE], shown, {name: values[:, i] for i, name in enumerate(CHAIN_1D.feature_names)}


def test_growth_of_addresses_transactions_value_and_supply_is_that_of_seven_days(chain: tuple[Floats, ...]) -> None:
    _, shown, values = chain
    for column, name in (
        ("address_growth_7", "active_addresses"),
        ("transaction_growth_7", "transactions"),
        ("tvl_growth_7", "tvl"),
        ("stablecoin_flow_7", "stablecoin_supply"),
    ):
        close_to(values[column], np.log(pd.Series(shown[name])).diff(7).to_numpy(), 8, 1e-5)
    close_to(values["activity_1"], shown["transactions"] / shown["active_addresses"], 1)


def test_levels_are_the_newest_known_and_nvt_that_of_kalichkin(chain: tuple[Floats, ...]) -> None:
    _, shown, values = chain
    for name in ("market_cap", "dominance", "mvrv", "tvl", "loan_to_value"):
        np.testing.assert_array_equal(values[f"{name}_1"], shown[name])
    volume = pd.Series(shown["transfer_volume"]).rolling(28).mean().to_numpy()
    close_to(values["nvt_28"], shown["market_cap"] / volume, 28)


def test_correlation_with_reference_series_equals_that_of_pandas(chain: tuple[Floats, ...]) -> None:
    close, shown, values = chain
    pairs = pd.DataFrame({"own": np.log(close), "market": np.log(shown["total_market_cap"])})
    pairs["spread"] = shown["term_spread"]
    moves = pairs.dropna().diff().reindex(range(N))
    close_to(values["corr_market_60"], moves.own.rolling(60).corr(moves.market).to_numpy(), 61)
    beta = moves.own.rolling(60).cov(moves.market) / moves.market.rolling(60).var()
    close_to(values["beta_market_60"], beta.to_numpy(), 61)
    close_to(values["corr_term_spread_60"], moves.own.rolling(60).corr(moves.spread).to_numpy(), 61)


def test_derivatives_and_texts_follow_their_formulas_and_go_stale() -> None:
    n = 900
    rng = np.random.default_rng(4)
    told = {s.name: 1.0 + rng.random(n) for s in SERIES if s.name in DERIVATIVES_5M.extras}
    named = {series.name: (series.entity_of("binance:BTC/USDT"), series.metric) for series in SERIES}
    source = table({named[name]: one for name, one in told.items()}, step=5 * MINUTE, delay=0)
    source = source.filter((pl.col("metric") != "mark_price") | (pl.col("event_time").dt.epoch("us") < START + 2 * DAY))
    times = START + 5 * MINUTE * np.arange(n, dtype=np.int64)
    bars = days(n)[1]
    matrix, _ = widened(DERIVATIVES_5M, times, bars, observations(source, DERIVATIVES_5M, "binance:BTC/USDT"))
    found = compute(DERIVATIVES_5M, times, matrix)
    values = {name: found[:, i] for i, name in enumerate(DERIVATIVES_5M.feature_names)}
    for column, name in (
        ("funding_rate_1", "funding_rate"),
        ("implied_vol_30d", "implied_volatility"),
        ("skew_25d_30d", "skew_25_delta"),
        ("term_slope_90d", "term_slope"),
        ("text_count_24h", "text_count"),
        ("text_sentiment_24h", "text_sentiment"),
    ):
        np.testing.assert_array_equal(values[column], told[name])
    change = np.log(pd.Series(told["open_interest"])).diff(288).to_numpy()
    close_to(values["open_interest_change_288"], change, 288, 1.0)
    last = 2 * DAY // (5 * MINUTE) - 2  # the bar that closes with the last mark price
    basis = np.log(told["perpetual_mark"] / told["index_price"])
    np.testing.assert_allclose(values["basis_1"][: last + 1], basis[: last + 1], rtol=1e-9, atol=1e-15)
    assert np.isnan(values["basis_1"][last + 4 :]).all(), "older than a quarter of an hour"


def test_series_leak_nothing_and_a_join_by_the_day_they_are_about_would() -> None:
    times, bars = days(200)
    source = table({("BTC", "active_addresses"): 100 * np.exp(np.random.default_rng(5).normal(0, 0.1, 200))})

    def features(tables: dict[str, pl.DataFrame], by_event: bool) -> pl.DataFrame:
        told, own = tables["observations"], tables["bars"]
        if by_event:
            told = told.with_columns(available_time=pl.col("event_time"))
        own_times = own["open_time"].dt.epoch("us").to_numpy()
        observed = observations(told, CHAIN_1D, "binance:BTC/USDT")
        matrix, _ = widened(CHAIN_1D, own_times, own.select(BAR_COLUMNS).to_numpy(), observed)
        values = compute(CHAIN_1D, own_times, matrix)
        return pl.DataFrame([own["available_time"].alias("decision_time"), pl.Series("growth", values[:, 0])])

    tables = {"bars": bars_table(times, bars, DAY), "observations": source}
    assert find_leaks(lambda known: features(known, False), tables, cuts=30) == []
    assert find_leaks(lambda known: features(known, True), tables, cuts=30) != []


def test_batch_equals_live_on_real_on_chain_days(shared_data: Path) -> None:
    def read(name: str) -> pl.DataFrame:
        frame = pl.read_csv(shared_data / "onchain" / "btc_daily" / f"{name}.csv", encoding="utf8-lossy")
        day, value = (frame[column] for column in frame.columns)
        day = day.str.to_datetime("%Y.%m.%d", time_unit="us", time_zone="UTC")
        return pl.DataFrame({"day": day, "value": value.cast(pl.Float64)})

    parts = [
        read(name).select(
            pl.lit("BTC").alias("entity"),
            pl.lit(metric).alias("metric"),
            (pl.col("day") + pl.duration(days=1)).alias("event_time"),
            (pl.col("day") + pl.duration(days=1, hours=12)).alias("available_time"),
            "value",
        )
        for name, metric in (("MVRV_ratio", "mvrv"), ("BTC_dominance", "dominance"))
    ]
    price = read("BTC_price").tail(1_000)
    times, close = price["day"].dt.epoch("us").to_numpy(), price["value"].to_numpy()
    bars = np.column_stack([close, close, close, close, np.ones(len(close))])
    told = observations(pl.concat(parts), CHAIN_1D, "binance:BTC/USDT")
    matrix, _ = widened(CHAIN_1D, times, bars, told)
    batch = compute(CHAIN_1D, times, matrix)
    stream = Stream(CHAIN_1D)
    assert same_bits(np.array([stream.update(int(t), row) for t, row in zip(times, matrix, strict=True)]), batch)
    column = CHAIN_1D.feature_names.index("mvrv_1")
    found = batch[:, column]
    assert np.isfinite(found).mean() > 0.9
    by_hand = dict(zip(told["mvrv"].event_times.tolist(), told["mvrv"].values.tolist(), strict=True))
    for row in np.flatnonzero(np.isfinite(found))[::50]:
        if int(times[row]) in by_hand:  # what ended when the day began was known by noon
            assert found[row] == by_hand[int(times[row])]


def test_an_entity_is_named_after_the_instrument() -> None:
    entities = {series.name: series.entity_of("binance:ETH/USDT") for series in SERIES}
    assert entities["active_addresses"] == "ETH"
    assert entities["policy_rate"] == "macro/DFF"
    assert Observations.closes(np.array([0]), np.ones((1, 5)), DAY).available_times.tolist() == [DAY + 1_000_000]
