"""Five-minute bars out of minutes."""

from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from jobs.bar_rows import fold, typed_rows
from jobs.five_minutes import exact_sums, five_minute_bars
from lake.intervals import MINUTE, SECOND
from lake.tables import BARS_1M, BARS_5M
from tests.lake.raw_bars import START, frame_of, kline, raw


def minutes(*rows: dict[str, object]) -> pl.DataFrame:
    bars, _, _ = fold(typed_rows(frame_of(rows), BARS_1M), BARS_1M)
    return bars.select(BARS_1M.schema.names)


def five(start: int = START) -> list[dict[str, object]]:
    prices = [("10", "15", "9", "12"), ("12", "13", "11", "13"), ("13", "20", "12", "14"), ("14", "14", "8", "9")]
    prices.append(("9", "10", "9", "10"))
    return [
        raw(kline(start + at * MINUTE, o=o, h=h, l=low, c=c, v="0.1", q="0.7", n=at), start + at * MINUTE)
        for at, (o, h, low, c) in enumerate(prices)
    ]


def test_five_minutes_make_one_bar() -> None:
    (bar,) = five_minute_bars(minutes(*reversed(five()))).iter_rows(named=True)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (10.0, 20.0, 8.0, 10.0)
    assert (bar["volume"], bar["quote_volume"], bar["trade_count"], bar["source"]) == (0.5, 3.5, 10, "bars_1m")
    assert bar["event_time"].timestamp() * SECOND == START + 5 * MINUTE
    assert bar["market_time"] == bar["event_time"]
    assert bar["available_time"].timestamp() * SECOND == START + 5 * MINUTE + SECOND


def test_a_bar_that_lacks_a_minute_is_not_made() -> None:
    rows = five()
    assert five_minute_bars(minutes(*rows[:2], *rows[3:])).is_empty()


def test_a_corrected_minute_delays_the_bar_it_is_part_of() -> None:
    sent = START + 60 * MINUTE
    fixed = raw(kline(START, o="10", h="15", l="9", c="12", v="9.9"), START, market_time=sent)
    (bar,) = five_minute_bars(minutes(*five(), fixed)).iter_rows(named=True)
    assert bar["volume"] == 10.3
    assert bar["available_time"].timestamp() * SECOND == sent


def test_the_columns_are_the_tables() -> None:
    assert set(five_minute_bars(minutes(*five())).columns) == {*BARS_5M.schema.names, "market_time"}
    assert five_minute_bars(minutes(*five()).clear()).is_empty()


decimals = st.one_of(
    st.decimals(min_value=0, max_value=10**7, places=8),
    st.decimals(min_value=0, max_value=10**12, places=3),
    st.decimals(min_value=0, max_value=1, places=12),
)


@given(st.lists(st.lists(decimals, min_size=5, max_size=5), min_size=1, max_size=10))
def test_a_sum_is_the_float_of_the_exact_decimal_sum(rows: list[list[Decimal]]) -> None:
    found = exact_sums(np.array([[float(value) for value in row] for row in rows]))
    expected = [float(sum(Decimal(repr(float(value))) for value in row)) for row in rows]
    assert found.tolist() == expected
