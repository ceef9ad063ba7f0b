"""A venue that changes its messages, for every market table: each drift is refused with a reason, none is taken for
good, none touches the frame beside it."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import orjson
import polars as pl
import pytest

from jobs.market_rows import ROWS, outcome_of
from jobs.raw_frames import raw_frames
from lake.intervals import HOUR, Interval, parse_time
from lake.tables import TABLES

NOON = parse_time("2024-08-08T12:00")
MS = NOON // 1000
EVER = Interval(0, 10**16)
Message = dict[str, Any]


class Wire(NamedTuple):
    """A table's message on the wire: numbers and words that it must carry, and the path of its time."""

    venue: str
    stream: str
    message: Message
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    time: str
    as_text: bool = True
    """Numbers are sent as text."""


_OPTION = {
    "instrument_name": "BTC-27DEC24-100000-C", "timestamp": MS, "underlying_price": 62e3, "mark_price": 0.01,
    "mark_iv": 55.5, "best_bid_price": 0.009, "best_bid_amount": 3.0, "best_ask_price": 0.02, "best_ask_amount": 1.0,
    "open_interest": 1.0, "stats": {"volume": 2.0},
}  # fmt: skip
_LEVELS = {"b": [["61000.1", "1.5"]], "a": [["61000.2", "0.5"]]}
_BYBIT = {"topic": "orderbook.50.BTCUSDT", "type": "snapshot", "ts": MS}

WIRES: dict[str, Wire] = {
    "trades_v1": Wire(
        "binance_usdm", "ws",
        {"e": "trade", "E": MS, "s": "BTCUSDT", "t": 7, "p": "61000.1", "q": "0.5", "T": MS, "m": True, "X": "MARKET"},
        ("p", "q"), ("s", "m", "t"), "T",
    ),
    "book_changes_v1": Wire(
        "binance_usdm", "ws", {"e": "depthUpdate", "E": MS, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, **_LEVELS},
        ("b.0.0", "b.0.1", "a.0.0"), ("s",), "E",
    ),
    "books_v1": Wire(
        "bybit_linear", "ws", {**_BYBIT, "data": {"s": "BTCUSDT", **_LEVELS, "u": 5, "seq": 9}},
        ("data.b.0.0", "data.b.0.1", "data.a.0.0"), ("data.s",), "ts",
    ),
    "quotes_v1": Wire(
        "binance_usdm", "ws",
        {"e": "bookTicker", "u": 1, "E": MS, "s": "BTCUSDT", "b": "61000.1", "B": "1", "a": "61000.2", "A": "2"},
        ("b", "a"), ("s",), "E",
    ),
    "liquidations_v1": Wire(
        "binance_usdm", "ws",
        {"e": "forceOrder", "E": MS, "o": {"s": "BTCUSDT", "S": "SELL", "q": "1.5", "p": "61000.1", "ap": "61000",
                                           "T": MS}},
        ("o.p", "o.q"), ("o.s", "o.S"), "o.T",
    ),
    "funding_v1": Wire(
        "binance_usdm", "rest:history:funding:BTCUSDT",
        {"symbol": "BTCUSDT", "fundingTime": MS, "fundingRate": "0.0001", "markPrice": "61000.1"},
        ("fundingRate",), ("symbol",), "fundingTime",
    ),
    "open_interest_v1": Wire(
        "binance_usdm", "rest:open_interest:BTCUSDT", {"symbol": "BTCUSDT", "time": MS, "openInterest": "1000.5"},
        ("openInterest",), ("symbol",), "time",
    ),
    "marks_v1": Wire(
        "binance_usdm", "ws",
        {"e": "markPriceUpdate", "E": MS, "s": "BTCUSDT", "p": "61000.1", "i": "61000.2", "r": "0.0001",
         "T": MS + HOUR // 1000},
        ("p",), ("s",), "E",
    ),
    "option_quotes_v1": Wire(
        "deribit", "ws", {"params": {"channel": f"ticker.{_OPTION['instrument_name']}.raw", "data": _OPTION}},
        ("params.data.underlying_price",), ("params.data.instrument_name",), "params.data.timestamp", False,
    ),
}  # fmt: skip


def changed(message: Message, path: str, change: Callable[[Any], Any]) -> Message:
    """A copy in which the value at `path` is what `change` makes of it; KeyError takes it out."""
    copy = orjson.loads(orjson.dumps(message))
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at = copy
    for step in way:
        at = at[step]
    try:
        at[last] = change(at[last])
    except KeyError:
        del at[last]
    return dict(copy)


def take_out(_: Any) -> Any:
    raise KeyError


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "absent": take_out,
    "null": lambda v: None,
    "a word": lambda v: "n/a",
    "empty": lambda v: "",
    "an object": lambda v: {"value": v},
    "a list": lambda v: [v],
    "with its unit": lambda v: f"{v} USDT",
    "with a decimal comma": lambda v: str(v).replace(".", ","),
    "beyond any price": lambda v: "1e300",
}
WORDS: dict[str, Callable[[Any], Any]] = {
    "absent": take_out,
    "null": lambda v: None,
    "an object": lambda v: {"value": v},
    "another word": lambda v: {"id": v} if isinstance(v, (bool, int, list)) else "NOPE",
}
TIMES: dict[str, Callable[[Any], Any]] = {
    "in seconds": lambda v: v // 1000,
    "in microseconds": lambda v: v * 1000,
    "in nanoseconds": lambda v: v * 1_000_000,
    "in ISO 8601": lambda v: "2024-08-08T12:00:00Z",
    "an object": lambda v: {"ms": v},
    "a day ahead": lambda v: v + 86_400_000,
}


def drifts() -> Iterator[tuple[str, str, str, Callable[[Any], Any]]]:
    for table, wire in WIRES.items():
        for paths, kinds in ((wire.numbers, NUMBERS), (wire.words, WORDS), ((wire.time,), TIMES)):
            for path in paths:
                for kind, change in kinds.items():
                    yield table, path, kind, change


CASES = list(drifts())


def judged(table: str, *messages: Any, of: str = "") -> pl.DataFrame:
    """`outcome_of` of a table's frames, received at noon, a millisecond apart; with `of` by another table's kernel."""
    wire = WIRES[table]
    frames = pl.DataFrame(
        {
            "venue": wire.venue, "connection": "c", "sequence": range(len(messages)), "stream": wire.stream,
            "received_us": [NOON + 1000 * (1 + at) for at in range(len(messages))],
            "market_us": [None] * len(messages), "payload": [orjson.dumps(message).decode() for message in messages],
        },
        schema_overrides={"market_us": pl.Int64},
    )  # fmt: skip
    found = outcome_of(TABLES[of or table], raw_frames(frames, "run"), EVER)
    return found if "reason" in found.columns else found.with_columns(reason=pl.lit(None, pl.String))


@cache
def good_rows(table: str) -> int:
    """Rows of the message that the drifts start from."""
    return len(judged(table, WIRES[table].message))


def test_every_market_table_is_tried() -> None:
    assert set(WIRES) == set(ROWS)


@pytest.mark.parametrize("table", WIRES)
def test_the_message_that_the_drifts_start_from_is_good(table: str) -> None:
    assert judged(table, WIRES[table].message)["reason"].to_list() in ([None], [None, None])


@pytest.mark.parametrize(("table", "path", "kind", "change"), CASES, ids=["-".join(case[:3]) for case in CASES])
def test_a_drift_is_refused_with_a_reason(table: str, path: str, kind: str, change: Callable[[Any], Any]) -> None:
    good = WIRES[table].message
    drifted = changed(good, path, change)
    alone = judged(table, drifted)
    assert alone["reason"].null_count() == 0, f"{path} {kind}: taken for good: {drifted}"
    told = len(alone) or any(len(judged(table, drifted, of=other)) for other in ROWS)
    assert told, f"{path} {kind}: vanished without a word: {drifted}"
    both = judged(table, drifted, good)
    kept = both.filter(pl.col("reason").is_null())
    assert len(kept) == good_rows(table), "a drifted frame touched a good one"


@pytest.mark.parametrize("unit", ["in seconds", "in microseconds"])
def test_a_second_time_of_a_message_is_judged_too(unit: str) -> None:
    found = judged("marks_v1", changed(WIRES["marks_v1"].message, "T", TIMES[unit]))
    assert found["reason"].to_list() == ["next funding is no time within two days"]


def test_a_book_of_which_one_level_cannot_be_read_is_refused_whole() -> None:
    spoilt = changed(WIRES["book_changes_v1"].message, "b.0.0", NUMBERS["a word"])
    found = judged("book_changes_v1", spoilt)
    assert found["reason"].to_list() == ["price is missing, zero, negative or not finite"] * 2
    assert found["row_hash"].n_unique() == 1, "the frame is kept once"


def test_a_crossed_book_is_refused() -> None:
    crossed = changed(WIRES["books_v1"].message, "data.b.0.0", lambda _: "61000.3")
    assert judged("books_v1", crossed)["reason"].to_list() == ["best bid is not below best ask"]
