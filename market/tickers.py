"""Rolling statistics over a window of minutes, as Binance's tickers and ticker streams show them.

The window is made of whole one-minute bars and ends now, in the open one; its first bar opens `minutes - 1` before it.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from lake.intervals import MINUTE
from market.accounts import LOT_UNITS, TICK_LOT_UNITS
from market.book import BUY, SELL, UNIT
from market.candles import CLOSE, FIRST_ID, HIGH, LOTS, LOW, OPEN, QUOTE_UNITS, TRADES
from market.reports import amount, milliseconds, price_text, quantity_text, signed
from market.trades import TRADE_LOTS

if TYPE_CHECKING:
    from market.exchange import Exchange

DAY_MINUTES = 1440
WINDOWS = {"1h": 60, "4h": 240, "1d": DAY_MINUTES}
"""Windows of the `@ticker_<window>` streams."""


class Rolling(NamedTuple):
    """One instrument's window; prices in ticks, times in µs."""

    opened: int
    closed: int
    before: int
    """Last price before the window; the open where there is none."""
    open: int
    high: int
    low: int
    last: int
    last_lots: int
    lots: int
    quote_units: int
    first_id: int
    """-1 without trades, as `last_id`."""
    last_id: int
    trades: int


def rolling(exchange: "Exchange", i: int, minutes: int = DAY_MINUTES) -> Rolling:
    """The window of an instrument that ends now; shorter where the history is."""
    candles = exchange.candles
    first = max(0, candles.minutes - minutes)
    bars = candles.bars[i, first:]
    before = int(candles.bars[i, first - 1, CLOSE]) if first else int(bars[0, OPEN])
    trades = int(bars[:, TRADES].sum())
    first_id = int(bars[0, FIRST_ID])
    newest = exchange.trade_log.trades[i].all[-1:, TRADE_LOTS].tolist()
    return Rolling(
        candles.start + first * MINUTE, exchange.time, before, int(bars[0, OPEN]), int(bars[:, HIGH].max()),
        int(bars[:, LOW].min()), int(bars[-1, CLOSE]), newest[0] if newest else 0, int(bars[:, LOTS].sum()),
        int(bars[:, QUOTE_UNITS].sum()), first_id if trades else -1, first_id + trades - 1 if trades else -1, trades,
    )  # fmt: skip


def _average(exchange: "Exchange", i: int, window: Rolling) -> str:
    """Volume-weighted price; the last one if nothing traded."""
    if not window.lots:
        return price_text(exchange, i, window.last)
    scale = exchange.scales[i]
    return amount(window.quote_units * UNIT // (window.lots * int(scale[LOT_UNITS])))


def _change(exchange: "Exchange", i: int, window: Rolling) -> tuple[str, str]:
    """Absolute and in percent."""
    scale = exchange.scales[i]
    tick = int(scale[TICK_LOT_UNITS]) * UNIT // int(scale[LOT_UNITS])
    return signed((window.last - window.open) * tick), f"{(window.last / window.open - 1) * 100:.3f}"


def book_ticker(exchange: "Exchange", i: int) -> list[str]:
    """Bid, its quantity, ask, its quantity; zeros where a side is empty."""
    texts = []
    for side in (BUY, SELL):
        best = exchange.depth(i, side, 1).tolist()
        price, lots = best[0] if best else (0, 0)
        texts += [price_text(exchange, i, price), quantity_text(exchange, i, lots)]
    return texts


def ticker(exchange: "Exchange", i: int, window: Rolling, full: bool, quotes: bool) -> dict[str, Any]:
    """A row of `ticker/24hr` (with `quotes`), `ticker` and `ticker/tradingDay`; MINI where not `full`."""
    row: dict[str, Any] = {"symbol": exchange.contracts[i].venue_symbol}
    if full:
        row["priceChange"], row["priceChangePercent"] = _change(exchange, i, window)
        row["weightedAvgPrice"] = _average(exchange, i, window)
        if quotes:
            row["prevClosePrice"] = price_text(exchange, i, window.before)
    row["lastPrice"] = price_text(exchange, i, window.last)
    if full and quotes:
        row["lastQty"] = quantity_text(exchange, i, window.last_lots)
        row |= dict(zip(("bidPrice", "bidQty", "askPrice", "askQty"), book_ticker(exchange, i), strict=True))
    return row | {
        "openPrice": price_text(exchange, i, window.open),
        "highPrice": price_text(exchange, i, window.high),
        "lowPrice": price_text(exchange, i, window.low),
        "volume": quantity_text(exchange, i, window.lots),
        "quoteVolume": amount(window.quote_units),
        "openTime": milliseconds(window.opened),
        "closeTime": milliseconds(window.closed),
        "firstId": window.first_id,
        "lastId": window.last_id,
        "count": window.trades,
    }


def mini_ticker_event(exchange: "Exchange", i: int, window: Rolling) -> dict[str, Any]:
    """The event of `<symbol>@miniTicker`."""
    return {
        "e": "24hrMiniTicker", "E": milliseconds(exchange.time), "s": exchange.contracts[i].venue_symbol,
        "c": price_text(exchange, i, window.last), "o": price_text(exchange, i, window.open),
        "h": price_text(exchange, i, window.high), "l": price_text(exchange, i, window.low),
        "v": quantity_text(exchange, i, window.lots), "q": amount(window.quote_units),
    }  # fmt: skip


def ticker_event(exchange: "Exchange", i: int, window: Rolling, name: str = "24hr") -> dict[str, Any]:
    """The event of `<symbol>@ticker`, or of `<symbol>@ticker_<name>`, which knows no quotes."""
    change, percent = _change(exchange, i, window)
    event = {
        "e": f"{name}Ticker", "E": milliseconds(exchange.time), "s": exchange.contracts[i].venue_symbol,
        "p": change, "P": percent, "w": _average(exchange, i, window),
        "c": price_text(exchange, i, window.last), "o": price_text(exchange, i, window.open),
        "h": price_text(exchange, i, window.high), "l": price_text(exchange, i, window.low),
        "v": quantity_text(exchange, i, window.lots), "q": amount(window.quote_units),
        "O": milliseconds(window.opened), "C": milliseconds(window.closed),
        "F": window.first_id, "L": window.last_id, "n": window.trades,
    }  # fmt: skip
    if name == "24hr":
        event["x"] = price_text(exchange, i, window.before)
        event["Q"] = quantity_text(exchange, i, window.last_lots)
        event |= dict(zip("bBaA", book_ticker(exchange, i), strict=True))
    return event
