"""Payload in, bar out: one at a time and by the column."""

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import BadInput
from lake.intervals import MINUTE
from lake.wire.bars import FILE_FIELDS, Bar, bar_from_payload, bar_payload, parse_payloads
from tests.lake.raw_bars import START, frame, kline

numbers = st.one_of(
    st.decimals(min_value=0, max_value=10**9, places=8).map(lambda d: f"{d:f}"),
    st.sampled_from(["-1.0", "", "NaN", "1e5", "inf", " 1.0", "0", "00012.50"]),
)


def as_row(bar: Bar) -> tuple[object, ...]:
    return tuple(getattr(bar, name) for name in Bar.__slots__)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=20))
def test_a_column_parses_as_its_payloads_do_one_by_one(rows: list[tuple[str, ...]]) -> None:
    payloads = [kline(START + at * MINUTE, o=o, h=h, l=low, c=c, v=v) for at, (o, h, low, c, v) in enumerate(rows)] + [
        "[1,2]",
        "nonsense",
        '{"k":1}',
    ]
    parsed = parse_payloads("rest:klines_1m", pl.Series(payloads))
    assert parsed.height == len(payloads)
    for payload, row in zip(payloads, parsed.iter_rows(), strict=True):
        try:
            expected = as_row(bar_from_payload("rest:klines_1m", payload))
        except BadInput as error:
            assert row[:-1] == (None,) * 10
            assert str(error) in row[-1]
        else:
            assert repr(row) == repr((*expected, None))  # repr: NaN is not equal to itself


def test_a_frame_of_the_stream_parses() -> None:
    bar = bar_from_payload("ws:kline_5m", frame(START))
    assert (bar.open_time, bar.close_time) == (START, START + 5 * MINUTE)
    assert (bar.open, bar.volume, bar.quote_volume, bar.trade_count, bar.closed) == (100.0, 12.5, 1256.25, 35, True)


@given(st.integers(0, 2**42), st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=5, max_size=5))
def test_a_file_row_survives_render_and_parse(open_time: int, values: list[float | None]) -> None:
    row = dict(zip(FILE_FIELDS, values, strict=True))
    bar = bar_from_payload("file:bars_5m", bar_payload(open_time, row))
    assert [getattr(bar, name) for name in FILE_FIELDS] == [
        None if v is None or abs(v) == float("inf") else v for v in values
    ]
    assert (bar.open_time, bar.close_time, bar.quote_volume) == (open_time, open_time + 5 * MINUTE, None)


@pytest.mark.parametrize("open_time", [-MINUTE, 10**18])
def test_a_time_outside_the_calendar_is_bad_input(open_time: int) -> None:
    with pytest.raises(BadInput):
        bar_from_payload("file:bars_1m", orjson.dumps({"ts": open_time} | dict.fromkeys(FILE_FIELDS, 1.0)).decode())


def test_a_stream_without_a_parser_is_named() -> None:
    assert "rest:trades" in parse_payloads("rest:trades", pl.Series(["{}"]))["problem"][0]
