"""Read any exchange that ccxt knows from Spark: `spark.read.format("ccxt")` and `spark.readStream.format("ccxt")`.

    register(session)
    reader = session.read.format("ccxt").option("symbols", "BTC/USDT,ETH/USDT").option("timeframe", "5m")
    reader.load().where("symbol = 'BTC/USDT' AND open_time >= '2024-01-01'")

Reads   the exchange's public REST, as `jobs.exchanges` asks it: patiently, and at ccxt's pace for all tasks together
Writes  nothing

Only what is final is read: bars before the exchange's newest, trades before the millisecond of its newest. So a span
gives the same rows whenever it is read, and a stream that restarts loses and doubles nothing. Filters on `symbol`,
`instrument` and the times become fewer and shorter requests; Spark applies them again.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    EqualNullSafe,
    EqualTo,
    Filter,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    InputPartition,
    LessThan,
    LessThanOrEqual,
)
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)
from pyspark.sql.types import StructType

from jobs.exchanges import PAGE, REDIRECTED, Exchange, exchange, ohlcv_pages
from jobs.ingest_market import trades
from jobs.settings import VenueSettings
from lake.errors import UsageError
from lake.intervals import DAY, MILLISECOND, Interval, parse_time, timeframe_us, to_us
from lake.table import TIME, Column
from lake.tables.bars import PUBLICATION_DELAY
from lake.wire.ccxt_frames import unit
from lake.wire.feeds import VENUES

NAME = "ccxt"
_HEAD = (
    Column("instrument", pa.string(), "Instrument id, e.g. binance:BTC/USDT."),
    Column("symbol", pa.string(), "ccxt's unified symbol."),
)
BARS = (
    *_HEAD,
    Column("open_time", TIME, "First instant of the bar."),
    Column("event_time", TIME, "Close of the bar: open_time plus the timeframe."),
    Column("available_time", TIME, "Close plus the publication delay of one second."),
    Column("open", pa.float64(), "First trade.", "quote"),
    Column("high", pa.float64(), "Highest trade.", "quote"),
    Column("low", pa.float64(), "Lowest trade.", "quote"),
    Column("close", pa.float64(), "Last trade.", "quote"),
    Column("volume", pa.float64(), "Traded quantity.", "unit"),
    Column("unit", pa.string(), "Of volume: base or contracts."),
)
TRADES = (
    *_HEAD,
    Column("event_time", TIME, "When it traded."),
    Column("available_time", TIME, "event_time plus the publication delay of one second."),
    Column("trade_id", pa.string(), "The exchange's id, at Binance of the aggregate trade.", nullable=True),
    Column("price", pa.float64(), "Traded price.", "quote"),
    Column("quantity", pa.float64(), "Traded quantity.", "unit"),
    Column("unit", pa.string(), "Of quantity: base or contracts."),
    Column("side", pa.string(), "Of the taker: buy or sell; null where the exchange tells none.", nullable=True),
)
COLUMNS: dict[str, tuple[Column, ...]] = {"bars": BARS, "trades": TRADES}


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader asks for. Every field is an option of the same name; times are UTC microseconds."""

    symbols: tuple[str, ...] = ()
    """ccxt's unified symbols, separated by commas: BTC/USDT, or BTC/USDT:USDT for a perpetual."""
    exchange: str = "binance"
    """ccxt id."""
    kind: str = "bars"
    """bars or trades."""
    timeframe: str = "1m"
    """Of bars."""
    start: int | None = None
    """From here on, ISO 8601; bars begin with the exchange's first one without it, trades need it."""
    end: int | None = None
    """Up to here, exclusive; else up to the newest."""
    rest: str = ""
    """Base URL that replaces the exchange's own, e.g. the embedded exchange's."""
    page_rows: int = PAGE
    """Most rows of one request."""
    rows_per_batch: int = 10_000
    """Most rows of one micro-batch of a stream; a millisecond of trades is never split."""
    days_per_partition: int = 30
    """Longest span that one task reads of one symbol."""
    requests_per_second: float = 0.0
    """Pace of all tasks together; 0 keeps ccxt's own for the exchange."""
    tasks: int = os.cpu_count() or 1
    """Most tasks that run at a time: they share the pace. On a cluster, its cores."""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Options":
        """Raises:
        UsageError: an option is unknown, missing or has no such value; it names the expected and the found.
        """
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - names):
            raise UsageError(f"option {unknown[0]!r}: expected one of {', '.join(sorted(names))}.")
        read = cls(**{name: _value(name, text) for name, text in given.items()})
        read._check()
        return read

    def _check(self) -> None:
        import ccxt

        if not self.symbols:
            raise UsageError("option symbols: expected symbols like BTC/USDT,ETH/USDT, found none.")
        if self.kind not in COLUMNS:
            raise UsageError(f"option kind: expected {' or '.join(COLUMNS)}, found {self.kind!r}.")
        if self.exchange not in ccxt.exchanges:
            raise UsageError(f"option exchange: expected a ccxt id such as binance or kraken, found {self.exchange!r}.")
        if self.rest and self.exchange not in REDIRECTED:
            raise UsageError(f"option rest: expected exchange {', '.join(REDIRECTED)} with it, found {self.exchange}.")
        timeframe_us(self.timeframe)
        if self.start is not None:
            Interval.open(self.start, self.end)

    @property
    def step(self) -> int:
        return timeframe_us(self.timeframe)

    @property
    def venue(self) -> str:
        return VENUES.get(self.exchange, self.exchange)

    def delays(self) -> dict[str, int]:
        """Each time column's distance from the time that is asked of the exchange."""
        if self.kind == "trades":
            return {"event_time": 0, "available_time": PUBLICATION_DELAY}
        return {"open_time": 0, "event_time": self.step, "available_time": self.step + PUBLICATION_DELAY}


_WHOLE = ("page_rows", "rows_per_batch", "days_per_partition", "tasks")


def _value(name: str, text: str) -> Any:
    if name in ("start", "end"):
        return parse_time(text)
    if name == "symbols":
        return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if name in _WHOLE:
        if not text.isdigit() or int(text) < 1 or (name == "page_rows" and int(text) > PAGE):
            most = f" to {PAGE:,}" if name == "page_rows" else ""
            raise UsageError(f"option {name}: expected a whole number from 1{most}, found {text!r}.")
        return int(text)
    if name == "requests_per_second":
        try:
            pace = float(text)
        except ValueError:
            pace = -1
        if not 0 <= pace < float("inf"):
            raise UsageError(f"option {name}: expected a number from 0, found {text!r}.")
        return pace
    return text


@dataclass(frozen=True)
class Span(InputPartition):
    """One task: a symbol's rows in [start, end), UTC microseconds."""

    market: dict[str, Any]
    start: int
    end: int
    sharing: int
    """Tasks that keep the pace together with this one."""


def connected(options: Options, sharing: int = 1) -> Exchange:
    """The exchange at a share of its pace; kept, so that a worker's next task goes on at that pace."""
    return _connected(options.exchange, options.rest, options.requests_per_second, sharing)


@lru_cache(maxsize=16)
def _connected(name: str, rest: str, requests_per_second: float, sharing: int) -> Exchange:
    asked = exchange(name, VenueSettings(rest=rest, requests_per_second=requests_per_second))
    asked.client.rateLimit *= sharing
    return asked


def newest(options: Options, symbol: str) -> int:
    """Where what is final ends: the newest bar, still open, or the newest trade's millisecond; 0 before the first."""
    asked = connected(options)
    if options.kind == "bars":
        rows = asked.ask("fetch_ohlcv", symbol, options.timeframe, None, 1)
        found = int(rows[-1][0]) * MILLISECOND if rows else 0
    else:
        rows = asked.ask("fetch_trades", symbol, None, 1)
        found = int(rows[-1]["timestamp"]) * MILLISECOND if rows else 0
    return found if options.end is None else min(found, options.end)


def first(options: Options, symbol: str) -> int:
    """Where a symbol's rows begin: at the asked start, else with the exchange's first bar.

    Raises:
        UsageError: trades without a start.
    """
    if options.start is not None:
        return options.start
    if options.kind == "trades":
        raise UsageError("option start: expected a time with kind=trades (or a filter event_time >= …), found none.")
    rows = connected(options).ask("fetch_ohlcv", symbol, options.timeframe, 0, 1)
    return int(rows[0][0]) * MILLISECOND if rows else 0


def markets(options: Options) -> dict[str, dict[str, Any]]:
    """The exchange's markets of the asked symbols.

    Raises:
        UsageError: it trades no such symbol.
    """
    asked = connected(options)
    known = asked.ask("load_markets")
    if not all(symbol in known for symbol in options.symbols):  # listed since, or this worker knew but a task's own
        known = asked.ask("load_markets", True)
    for symbol in options.symbols:
        if symbol not in known:
            near = [name for name in sorted(known) if name.split("/")[0] == symbol.split("/")[0]][:5]
            expected = ", ".join(near or sorted(known)[:5])
            raise UsageError(f"option symbols: {options.exchange} trades {expected}, …; found {symbol!r}.")
    return {symbol: known[symbol] for symbol in options.symbols}


def spans(options: Options, wanted: Mapping[str, tuple[int, int]]) -> list[InputPartition]:
    """Tasks that cover each symbol's [start, end)."""
    known, longest = markets(options), options.days_per_partition * DAY
    cut = [
        (known[symbol], at, min(at + longest, end))
        for symbol, (start, end) in wanted.items()
        for at in range(start, end, longest)
    ]
    return [Span(market, start, end, min(len(cut), options.tasks)) for market, start, end in cut]


def read(options: Options, schema: StructType, span: InputPartition) -> Iterator[pa.RecordBatch]:
    """Arrow batches of a task, one per page."""
    if not isinstance(span, Span):  # Spark's stand-in where there is nothing to read
        return
    asked = connected(options, span.sharing)
    known = asked.client.markets or {}
    if span.market["symbol"] not in known:
        asked.client.set_markets([*known.values(), span.market])
    pages = _bar_columns if options.kind == "bars" else _trade_columns
    columns = to_arrow_schema(schema, timezone="UTC")
    head = {"instrument": f"{options.venue}:{span.market['symbol']}", "symbol": span.market["symbol"]}
    head["unit"] = unit(span.market)
    for page in pages(asked, options, span):
        count = len(page["event_time"])
        rows = page | {name: [text] * count for name, text in head.items()}
        yield pa.RecordBatch.from_pydict({name: rows[name] for name in columns.names}, schema=columns)


def _bar_columns(asked: Exchange, options: Options, span: Span) -> Iterator[dict[str, list[Any]]]:
    wanted = Interval(span.start, span.end)
    for rows in ohlcv_pages(asked, span.market["symbol"], options.timeframe, wanted, options.page_rows):
        times, *prices = (list(column) for column in zip(*rows, strict=True))
        yield _times(options, [t * MILLISECOND for t in times]) | {
            name: [float(value) for value in values]
            for name, values in zip(("open", "high", "low", "close", "volume"), prices, strict=True)
        }


def _trade_columns(asked: Exchange, options: Options, span: Span) -> Iterator[dict[str, list[Any]]]:
    for rows in trades(asked, span.market["symbol"], Interval(span.start, span.end), None, options.page_rows):
        yield _times(options, [int(row["timestamp"]) * MILLISECOND for row in rows]) | {
            "trade_id": [row["id"] for row in rows],
            "price": [float(row["price"]) for row in rows],
            "quantity": [float(row["amount"]) for row in rows],
            "side": [row["side"] for row in rows],
        }


def _times(options: Options, asked_times: list[int]) -> dict[str, list[Any]]:
    return {name: [t + delay for t in asked_times] for name, delay in options.delays().items()}


class Reader(DataSourceReader):
    """A batch: one task per symbol and span, no more than the filters leave."""

    def __init__(self, options: Options, schema: StructType) -> None:
        self._options, self._schema = options, schema
        self._symbols = options.symbols

    def pushFilters(self, filters: list[Filter]) -> Sequence[Filter]:
        """Narrow the requests by what every row must satisfy; all filters go back, and Spark applies them again."""
        for one in filters:
            match one:
                case EqualTo((name,), value) | EqualNullSafe((name,), value):
                    self._among(name, (value,))
                case In((name,), values):
                    self._among(name, values)
                case GreaterThan((name,), value) | GreaterThanOrEqual((name,), value):
                    self._from(name, value)
                case LessThan((name,), value):
                    self._until(name, value, 0)
                case LessThanOrEqual((name,), value):
                    self._until(name, value, 1)
        return filters

    def _among(self, name: str, values: Sequence[Any]) -> None:
        if name in ("symbol", "instrument"):
            prefix = f"{self._options.venue}:" if name == "instrument" else ""
            self._symbols = tuple(symbol for symbol in self._symbols if prefix + symbol in values)
        elif values and all(isinstance(value, datetime) for value in values):
            self._from(name, min(values))
            self._until(name, max(values), 1)

    def _from(self, name: str, value: Any) -> None:
        delay = self._options.delays().get(name)
        if delay is not None and isinstance(value, datetime):
            start = max(0, to_us(value) - delay)
            self._options = replace(self._options, start=max(start, self._options.start or 0))

    def _until(self, name: str, value: Any, more: int) -> None:
        delay, held = self._options.delays().get(name), self._options.end
        if delay is not None and isinstance(value, datetime):
            end = max(0, to_us(value) - delay + more)
            self._options = replace(self._options, end=end if held is None else min(end, held))

    def partitions(self) -> list[InputPartition]:
        options = self._options
        markets(options)
        wanted = {symbol: (first(options, symbol), newest(options, symbol)) for symbol in self._symbols}
        return spans(options, wanted)

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return read(self._options, self._schema, partition)


class StreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """A stream. Its offset is, per symbol, the time up to which rows were read; micro-batches hold `rows_per_batch`."""

    def __init__(self, options: Options, schema: StructType) -> None:
        self._options, self._schema = options, schema
        self._target: dict[str, int] | None = None
        self._seen: dict[str, int] | None = None

    def initialOffset(self) -> dict[str, int]:
        markets(self._options)
        return {symbol: first(self._options, symbol) for symbol in self._options.symbols}

    def prepareForTriggerAvailableNow(self) -> None:
        self._target = self._ends()

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxRows(self._options.rows_per_batch)

    def reportLatestOffset(self) -> dict[str, int] | None:
        """As the exchange last said: asking again would cost requests."""
        return self._seen

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:
        """The next step's end: those furthest behind go first, each with its share of the rows."""
        ends = self._seen = self._target or self._ends()
        start = self._whole(start)
        behind = sorted((symbol for symbol in ends if start[symbol] < ends[symbol]), key=lambda symbol: start[symbol])
        if isinstance(limit, ReadAllAvailable):
            return start | {symbol: ends[symbol] for symbol in behind}
        assert isinstance(limit, ReadMaxRows), f"expected the limit we asked for, found {limit}"
        left, offset = limit.max_rows, dict(start)
        for done, symbol in enumerate(behind):
            if share := -(-left // (len(behind) - done)):
                offset[symbol], used = self._ahead(symbol, start[symbol], ends[symbol], share)
                left = max(0, left - used)
        return offset

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> list[InputPartition]:
        start = self._whole(start)
        return spans(self._options, {symbol: (start[symbol], end[symbol]) for symbol in self._options.symbols})

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return read(self._options, self._schema, partition)

    def _ends(self) -> dict[str, int]:
        markets(self._options)
        return {symbol: newest(self._options, symbol) for symbol in self._options.symbols}

    def _whole(self, offset: dict[str, int]) -> dict[str, int]:
        """With a start for symbols that were not asked for when the stream began; those no longer asked for stay."""
        fresh = [symbol for symbol in self._options.symbols if symbol not in offset]
        return offset | {symbol: first(self._options, symbol) for symbol in fresh}

    def _ahead(self, symbol: str, start: int, end: int, share: int) -> tuple[int, int]:
        """How far a share of rows reaches, and how many rows that is at most."""
        if self._options.kind == "bars":
            count = min(share, -(-(end - start) // self._options.step))
            return min(end, start + count * self._options.step), count
        times: list[int] = []
        page = min(self._options.page_rows, share + 1)
        for rows in trades(connected(self._options), symbol, Interval(start, end), None, page):
            times += [int(row["timestamp"]) * MILLISECOND for row in rows]
            if len(times) > share:
                cut = max(times[share], times[0] + MILLISECOND)
                return cut, sum(time < cut for time in times)
        return end, len(times)


class CcxtSource(DataSource):
    """The data source; `Options` lists its options, `COLUMNS` its columns."""

    @classmethod
    def name(cls) -> str:
        return NAME

    def schema(self) -> StructType:
        columns = COLUMNS[self._asked().kind]
        return from_arrow_schema(pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in columns]))

    def reader(self, schema: StructType) -> Reader:
        return Reader(self._asked(), schema)

    def streamReader(self, schema: StructType) -> StreamReader:
        return StreamReader(self._asked(), schema)

    def _asked(self) -> Options:
        return Options.read(dict(self.options))


def register(session: SparkSession) -> None:
    """Let the session read `format("ccxt")`, filters pushed down."""
    session.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    session.dataSource.register(CcxtSource)
