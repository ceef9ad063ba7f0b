"""Round trips out of fills: from flat to flat, or to the turn of a position."""

from typing import Any

import numpy as np
import polars as pl

from market import execution as x
from market.bars import Bars
from market.execution import Floats
from market.kernel import njit

# Columns of a round trip; EXIT_BAR is -1 of one still open, then EXIT_PRICE is the last close.
(
    INSTRUMENT, ENTRY_BAR, EXIT_BAR, QUANTITY, ENTRY_PRICE, EXIT_PRICE, PNL, FEES, COSTS, NOTIONAL, TRIP_FIELDS,
) = range(11)  # fmt: skip


@njit(cache=True, nogil=True)
def _trips(fills: Any, k: int, out: Any) -> int:
    """Fill `out` with closed round trips, then one open row per position left; answers the rows."""
    held, rows = np.zeros(k), 0
    work = np.zeros((k, TRIP_FIELDS))  # PNL holds the cash so far, ENTRY_/EXIT_PRICE notionals
    bought, sold = np.zeros(k), np.zeros(k)
    for fill in fills:
        j = int(fill[x.FILL_INSTRUMENT])
        left, whole = fill[x.FILL_QUANTITY], abs(fill[x.FILL_QUANTITY])
        while left != 0.0:
            if held[j] == 0.0:
                work[j, :] = 0.0
                work[j, INSTRUMENT], work[j, ENTRY_BAR] = j, fill[x.FILL_BAR]
                bought[j], sold[j] = 0.0, 0.0
            part = left
            if held[j] * left < 0.0 and abs(left) > abs(held[j]):
                part = -held[j]
            share = abs(part) / whole
            trip = work[j]
            if held[j] * part >= 0.0:
                trip[ENTRY_PRICE] += abs(part) * fill[x.FILL_PRICE]
                bought[j] += abs(part)
                trip[NOTIONAL] = max(trip[NOTIONAL], abs(held[j] + part) * fill[x.FILL_PRICE])
            else:
                trip[EXIT_PRICE] += abs(part) * fill[x.FILL_PRICE]
                sold[j] += abs(part)
            trip[PNL] -= part * fill[x.FILL_PRICE] + share * fill[x.FILL_FEE]
            trip[FEES] += share * fill[x.FILL_FEE]
            trip[COSTS] += share * fill[x.FILL_COST]
            held[j] += part
            if abs(held[j]) < 1e-9 * bought[j]:
                held[j] = 0.0
            if abs(held[j]) > abs(trip[QUANTITY]):
                trip[QUANTITY] = held[j]
            left = 0.0 if part == left else left - part
            if held[j] == 0.0:
                trip[EXIT_BAR] = fill[x.FILL_BAR]
                trip[ENTRY_PRICE] /= bought[j]
                trip[EXIT_PRICE] /= sold[j]
                out[rows] = trip
                rows += 1
    for j in range(k):
        if held[j] != 0.0:
            out[rows] = work[j]
            out[rows, EXIT_BAR] = -1
            out[rows, ENTRY_PRICE] /= bought[j]
            out[rows, EXIT_PRICE] = held[j]  # the caller marks it
            rows += 1
    return rows


def round_trips(fills: Floats, bars: Bars) -> Floats:
    """[trips, TRIP_FIELDS], closed ones in the order of their exits, then those open, marked at the last close.

    PNL is net of fees; QUANTITY is the largest held, negative when short; NOTIONAL its worth; prices are means.
    """
    k = len(bars.instruments)
    out = np.zeros((2 * len(fills) + k, TRIP_FIELDS))
    rows = _trips(fills, k, out)
    trips = out[:rows]
    last = bars.last_closes()[-1]
    still_open = trips[:, EXIT_BAR] < 0
    marks = last[trips[still_open, INSTRUMENT].astype(np.int64)]
    trips[still_open, PNL] += trips[still_open, EXIT_PRICE] * marks
    trips[still_open, EXIT_PRICE] = marks
    return trips


def trips_frame(trips: Floats, bars: Bars) -> pl.DataFrame:
    """Round trips with times and names, for people and files."""
    entry, leaving = trips[:, ENTRY_BAR].astype(np.int64), trips[:, EXIT_BAR].astype(np.int64)
    closed = leaving >= 0
    times = pl.Series("exit_time", bars.open_time[leaving]).set(pl.Series(~closed), None)
    utc = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {
            "instrument": [bars.instruments[int(j)] for j in trips[:, INSTRUMENT]],
            "side": np.where(trips[:, QUANTITY] > 0, "long", "short").tolist(),
            "entry_time": pl.Series(bars.open_time[entry]).cast(utc),
            "exit_time": times.cast(utc),
            "bars": pl.Series(np.where(closed, leaving - entry, len(bars.open_time) - 1 - entry)),
            "quantity": np.abs(trips[:, QUANTITY]),
            "entry_price": trips[:, ENTRY_PRICE],
            "exit_price": trips[:, EXIT_PRICE],
            "pnl": trips[:, PNL],
            "return": trips[:, PNL] / trips[:, NOTIONAL],
            "fees": trips[:, FEES],
            "slippage": trips[:, COSTS],
        }
    )


def fills_frame(fills: Floats, bars: Bars) -> pl.DataFrame:
    """Fills with times and names."""
    kinds = np.array(["market", "limit", "stop"])
    return pl.DataFrame(
        {
            "time": pl.Series(bars.open_time[fills[:, x.FILL_BAR].astype(np.int64)]).cast(pl.Datetime("us", "UTC")),
            "instrument": [bars.instruments[int(j)] for j in fills[:, x.FILL_INSTRUMENT]],
            "side": np.where(fills[:, x.FILL_QUANTITY] > 0, "buy", "sell").tolist(),
            "kind": kinds[fills[:, x.FILL_KIND].astype(np.int64)].tolist(),
            "quantity": np.abs(fills[:, x.FILL_QUANTITY]),
            "price": fills[:, x.FILL_PRICE],
            "fee": fills[:, x.FILL_FEE],
            "slippage": fills[:, x.FILL_COST],
            "decided_price": fills[:, x.FILL_DECIDED],
        }
    )
