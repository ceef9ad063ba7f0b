"""The lake's tables as series: whose they are, and what was known of them when."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_store.alignment import observations, widened
from feature_store.inputs import SERIES
from feature_store.scan import compute
from feature_store.service import CHAIN_1D, DERIVATIVES_5M, FeatureService
from feature_store.view import Floats
from jobs.series_rows import perpetual_of, series_rows, tables_read
from lake.intervals import DAY, HOUR, MINUTE, to_datetime
from lake.tables import MARKS, OBSERVATIONS, OPEN_INTEREST, OPTION_SURFACE
from tests.jobs.series_tables import derivatives, observed, rows
from tests.lake.raw_bars import BTC, START

STEP = 5 * MINUTE
Tables = dict[str, pl.DataFrame]


def told(tables: Tables, instrument: str = BTC) -> pl.DataFrame:
    return series_rows({name: frame.lazy() for name, frame in tables.items()}, instrument).collect()


def features(tables: Tables, service: FeatureService, count: int) -> Floats:
    step = service.periods.bar_us
    times = START + step * np.arange(count)
    bars = np.random.default_rng(8).lognormal(0, 0.01, (count, 5))
    matrix, _ = widened(service, times, bars, observations(told(tables), service, BTC))
    return compute(service, times, matrix)


def known_by(tables: Tables, cut: int) -> Tables:
    return {name: frame.filter(pl.col("available_time") <= to_datetime(cut)) for name, frame in tables.items()}


def chain_tables(count: int, delay: Any) -> Tables:
    rng = np.random.default_rng(5)
    ends = START + DAY * np.arange(1, count + 1)
    series = [(s.metric, s.entity_of(BTC)) for s in SERIES if s.name in CHAIN_1D.extras]
    parts = [observed(m, e, ends, delay, 100 * np.exp(np.cumsum(rng.normal(0, 0.05, count)))) for m, e in series]
    return {OBSERVATIONS.name: pl.concat(parts)}


def corrected(tables: Tables, later: int) -> Tables:
    """Every third row was said otherwise before; the row that stands came `later` µs after it."""
    done = {}
    for name, frame in tables.items():
        third = pl.int_range(pl.len()) % 3 == 0
        late = pl.col("available_time") + pl.duration(microseconds=later)
        standing = frame.with_columns(pl.when(third).then(late).otherwise("available_time").alias("available_time"))
        numbers = [c for c in ("rate", "mark_price", "quantity", "atm_iv", "sentiment", "value") if c in frame.columns]
        replaced = frame.filter(third).with_columns(pl.col(numbers) * 0.5)
        done[name] = pl.concat([standing, replaced])
    return done


@pytest.mark.parametrize("service", [DERIVATIVES_5M, CHAIN_1D], ids=lambda s: s.name)
def test_rows_and_corrections_available_later_change_no_earlier_feature(service: FeatureService) -> None:
    count, step = (700, STEP) if service is DERIVATIVES_5M else (120, DAY)
    delays = np.random.default_rng(6).integers(0, 3 * step, count)
    plain = derivatives(count, STEP, delays) if service is DERIVATIVES_5M else chain_tables(count, delays)
    tables = corrected(plain, 4 * step)
    whole = features(tables, service, count)
    assert np.isfinite(whole[-20:]).any(axis=0).all(), "every column says something"
    for rows_known in np.random.default_rng(7).integers(1, count, 25):
        cut = START + step * int(rows_known)
        np.testing.assert_array_equal(features(known_by(tables, cut), service, count)[:rows_known], whole[:rows_known])


def test_a_correction_counts_from_when_it_was_known_and_the_old_value_until_then() -> None:
    end = START + DAY
    old = observed("tvl_usd", "chain/Ethereum", [end], [0], [5.0])
    new = observed("tvl_usd", "chain/Ethereum", [end], [DAY], [7.0])
    at = CHAIN_1D.feature_names.index("tvl_1")
    both = features({OBSERVATIONS.name: pl.concat([new, old])}, CHAIN_1D, 5)[:, at]
    np.testing.assert_array_equal(both, [5.0, 7.0, 7.0, 7.0, np.nan])
    alone = features({OBSERVATIONS.name: new}, CHAIN_1D, 5)[:, at]
    assert np.isnan(alone[0]), "without its history the day would look untold"


def test_an_instrument_reads_its_own_perpetual_and_the_tenors_and_units_that_are_meant() -> None:
    assert perpetual_of("binance:BTC/USDT") == perpetual_of("binance:BTC/USDT:USDT") == "binance:BTC/USDT:USDT"
    events = [START + STEP]
    tables = {
        MARKS.name: pl.concat(
            rows(MARKS, events, 0, instrument=name, mark_price=[price])
            for name, price in (
                ("binance:BTC/USDT:USDT", 1.0),
                ("okx:BTC/USDT:USDT", 2.0),
                ("binance:BTC/USD:BTC", 3.0),
            )
        ),
        OPEN_INTEREST.name: rows(OPEN_INTEREST, events, 0, instrument="binance:BTC/USDT:USDT", unit="contracts"),
        OPTION_SURFACE.name: pl.concat(
            rows(OPTION_SURFACE, events, 0, instrument="deribit:BTC", tenor=tenor, atm_iv=[iv], term_slope=[iv])
            for tenor, iv in (("30d", 0.3), ("90d", 0.9))
        ),
        OBSERVATIONS.name: pl.concat(
            [observed("funding_rate", "BTC", events, 0, [9.0]), observed("mvrv", "ETH", events, 0, [9.0])]
        ),
    }
    found = told(tables).select("source", "entity", "metric", "value").rows()
    assert found == [
        ("deribit", "BTC", "atm_iv", 0.3),
        ("binance", "BTC", "mark_price", 1.0),
        ("deribit", "BTC", "term_slope", 0.9),
    ]
    shuffled = {name: frame.reverse() for name, frame in tables.items()}
    assert told(shuffled).equals(told(tables))


def test_a_service_reads_the_tables_of_its_series_for_as_long_as_they_may_count() -> None:
    assert [(t.name, age) for t, age in tables_read(CHAIN_1D)] == [(OBSERVATIONS.name, 6 * DAY)]
    ages = {table.name: age for table, age in tables_read(DERIVATIVES_5M)}
    assert (len(ages), ages[MARKS.name], ages[OPTION_SURFACE.name]) == (5, 15 * MINUTE, HOUR)
    assert told({}).is_empty()
