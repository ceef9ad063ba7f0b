"""Rows that keep every rule of their table and are wrong all the same: declared checks over a stretch of rows.

Each check names what it looks at, how severe a finding is, and gives a flag per row:
- stop: nothing may be built on it; flag: the row stays, and whoever reads it should know; warn: a person should look.

What is certainly wrong by itself (a crossed quote or book, a price of zero) never gets here: the table's contract
refuses it into quarantine. What only its surroundings tell stays in the table: a check reads rows of other times, past
and future, so it runs where a stretch is complete and never in a feature, and real crashes look alike. A check that
needs another table names it in `against` and gets its rows second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

Severity = Literal["stop", "flag", "warn"]

SPIKE_RATIO = 5.0
"""A print this many times off the market's level is no trade at the market. Real crashes of the past, down to a ninth
of the price within minutes, are kept, because prices on the way and after them were low, too."""

BAND_ROWS = 5
"""Rows on each side whose ranges are the local band."""

MOVE = 0.05
"""From the last close to the bar's high or low, as a logarithm: what is less may be a venue's own mood."""
TIMES = 3.0
BAND_MINUTES = timedelta(minutes=5)
"""Venues do not move in the same minute."""

NEIGHBOURS = 5
QUIET = 0.005
"""Typical daily change below which one day's label cannot be told from the next one's."""
FROZEN_ROWS = 30
SKEW_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One declared check: `flags` gives a Boolean per row, true where the row is wrong."""

    name: str
    severity: Severity
    why: str
    flags: Callable[..., pl.Series]
    columns: tuple[str, ...]
    """What it reads."""
    against: tuple[str, ...] = ()
    """Another table, and what it reads of that; not run where that is not stored."""


def spikes(bars: pl.DataFrame) -> pl.Series:
    """Bars with a price that no neighbour ever came near: below a fifth of what each of them reached, or the reverse.

    Args:
        bars: instrument, open_time, open, high, low, close; flags come in the rows' own order.
    """
    around = [k for k in range(-BAND_ROWS, BAND_ROWS + 1) if k]
    ordered = bars.with_row_index("at").sort("instrument", "open_time")

    def neighbours(name: str) -> list[pl.Expr]:
        return [pl.col(name).shift(k).over("instrument") for k in around]

    level = pl.concat_list(neighbours("close")).list.median()
    down = pl.col("low") * SPIKE_RATIO < pl.min_horizontal(level, *neighbours("high"))
    up = pl.col("high") > SPIKE_RATIO * pl.max_horizontal(level, *neighbours("low"))
    return ordered.with_columns(flag=(down | up).fill_null(False)).sort("at")["flag"]


def diverged(bars: pl.DataFrame) -> pl.Series:
    """Bars that moved by over `MOVE` from the close before, at most `BAND_MINUTES` ago, and over `TIMES` the range that
    any other venue's bars of the pair had within as long on both sides; not judged where none has a bar near.

    Args:
        bars: as for `spikes`; dollars and dollar coins are one quote currency, spot and perpetual one pair.
    """
    ordered = bars.with_row_index("at").with_columns(pair=_pair()).sort("open_time")
    near = pl.col("open_time") - pl.col("open_time").shift(1) <= BAND_MINUTES
    before = pl.when(near).then(pl.col("close").shift(1)).over("instrument")
    move = pl.max_horizontal((pl.col("high") / before).log().abs(), (pl.col("low") / before).log().abs())
    moved = ordered.with_columns(move=move).filter(pl.col("move") > MOVE)
    wild: list[int] = []
    for (pair,), mine in moved.group_by("pair"):
        others = ordered.filter(pl.col("pair") == pair)
        for row in mine.iter_rows(named=True):
            near = pl.col("open_time").is_between(row["open_time"] - BAND_MINUTES, row["open_time"] + BAND_MINUTES)
            seen = others.filter(near, pl.col("instrument") != row["instrument"])
            ranges = seen.group_by("instrument").agg(range=(pl.col("high").max() / pl.col("low").min()).log())["range"]
            if len(ranges) and row["move"] > TIMES * float(ranges.sort()[-1]):
                wild.append(row["at"])
    return bars.with_row_index("at").select(pl.col("at").is_in(wild)).to_series()


def _pair() -> pl.Expr:
    """BTC/USD of binance:BTC/USDT:USDT."""
    symbol = pl.col("instrument").str.split(":").list.get(1)
    return symbol.str.replace(r"/(USDT|USDC|BUSD|FDUSD|TUSD|DAI)$", "/USD")


def labelled_early(told: pl.DataFrame, bars: pl.DataFrame) -> pl.Series:
    """Prices whose label is a day before what they are about: markets moved like that only a day later.

    Changes from one value to the next are compared, which no premium of a venue disturbs: with the market's change
    between the same times, and between those a day later; medians over `NEIGHBOURS` on each side.

    Args:
        told: entity, metric, event_time, value; rows of another metric than price_usd are not judged.
        bars: instrument, event_time, close.
    """
    markets = bars.select("event_time", close=pl.col("close").log(), pair=_pair()).sort("event_time")
    ordered = told.with_row_index("at").filter(pl.col("metric") == "price_usd").sort("entity", "event_time")
    ordered = ordered.with_columns(pair=pl.col("entity") + "/USD")
    change = pl.col("value").log().diff().over("entity")
    for name, later in (("now", timedelta(0)), ("then", timedelta(days=1))):
        asked = ordered.select("at", "pair", event_time=pl.col("event_time") + later).sort("event_time")
        found = asked.join_asof(markets, on="event_time", by="pair", tolerance="15m", check_sortedness=False)
        ordered = ordered.join(found.select("at", pl.col("close").alias(name)), on="at", maintain_order="left")
        ordered = ordered.with_columns((change - pl.col(name).diff().over("entity")).abs().alias(name))
    apart = {
        name: pl.col(name).rolling_median(2 * NEIGHBOURS + 1, min_samples=NEIGHBOURS, center=True).over("entity")
        for name in ("now", "then")
    }
    ordered = ordered.filter(pl.col("now").is_not_null() & pl.col("then").is_not_null())
    wrong = ordered.filter(((apart["then"] * TIMES < apart["now"]) & (apart["now"] > QUIET)).fill_null(False))["at"]
    return told.with_row_index("at").select(pl.col("at").is_in(wrong.implode())).to_series()


def early(rows: pl.DataFrame) -> pl.Series:
    """Rows that claim to have been known before what they are about had ended."""
    return rows.select((pl.col("available_time") < pl.col("event_time")).fill_null(True)).to_series()


def locked(quotes: pl.DataFrame) -> pl.Series:
    """Quotes whose bid is not below the ask; null sides do not count."""
    return quotes.select((pl.col("bid") >= pl.col("ask")).fill_null(False)).to_series()


def crossed(books: pl.DataFrame) -> pl.Series:
    """Books whose best bid is not below the best ask."""
    apart = pl.col("bid_prices").list.max() < pl.col("ask_prices").list.min()
    return books.select(~apart.fill_null(True)).to_series()


def frozen(bars: pl.DataFrame) -> pl.Series:
    """Bars in a run of at least `FROZEN_ROWS` with the same four prices and volume above zero: a feed that repeats."""
    same = pl.struct("open", "high", "low", "close", "volume")
    ordered = bars.with_row_index("at").sort("instrument", "open_time")
    runs = ordered.with_columns(run=pl.struct("instrument", value=same).rle_id())
    flag = (pl.len().over("run") >= FROZEN_ROWS) & (pl.col("volume") > 0)
    return runs.with_columns(flag=flag).sort("at")["flag"]


def skewed(frames: pl.DataFrame) -> pl.Series:
    """Frames of a connection whose recorder's clock ran behind the venue's: received before they were sent."""
    late = (pl.col("received_time") - pl.col("event_time")).dt.total_microseconds() / 1e6
    median = late.median().over("connection")
    return frames.select(median < -SKEW_SECONDS).to_series()


_BARS = ("instrument", "open_time", "open", "high", "low", "close", "volume")
_CLOCKS = ("connection", "event_time", "received_time")
_KNOWN = ("event_time", "available_time")
_PRICES = ("entity", "metric", "event_time", "value")

_OF_BARS = (
    Anomaly("spike", "flag", "a price far from the bar's neighbours and never near them", spikes, _BARS),
    Anomaly("diverged", "flag", "a move that no other venue of the pair made", diverged, _BARS),
    Anomaly("frozen", "warn", f"{FROZEN_ROWS} equal bars in a row, with volume", frozen, _BARS),
)
_EARLY = Anomaly("look-ahead", "stop", "known before it ended", early, _KNOWN)
_LABELLED = Anomaly(
    "look-ahead label", "stop", "prices that markets had only a day later", labelled_early, _PRICES,
    ("bars_5m_v1", "instrument", "event_time", "close"),
)  # fmt: skip

ANOMALIES: Mapping[str, tuple[Anomaly, ...]] = {
    "bars_1m_v1": (*_OF_BARS, _EARLY),
    "bars_5m_v1": (*_OF_BARS, _EARLY),
    "quotes_v1": (Anomaly("locked", "warn", "the bid is not below the ask", locked, ("bid", "ask")), _EARLY),
    "books_v1": (
        Anomaly("crossed", "stop", "the best bid is not below the best ask", crossed, ("bid_prices", "ask_prices")),
        _EARLY,
    ),
    "raw_frames_v1": (Anomaly("clock", "warn", "the recorder's clock runs behind the venue's", skewed, _CLOCKS),),
    "observations_v1": (_LABELLED, _EARLY),
    **dict.fromkeys(
        (
            "trades_v1", "funding_v1", "open_interest_v1", "marks_v1", "option_quotes_v1", "option_surface_v1",
            "texts_v1", "text_features_v1", "features_5m_v1", "features_ref_5m_v1", "features_derivatives_5m_v1",
            "features_chain_1d_v1", "images_5m_v1",
        ),
        (_EARLY,),
    ),
}  # fmt: skip
