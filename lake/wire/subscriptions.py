"""How to ask a venue for its public streams: addresses, requests, and where a book's snapshot comes from.

A recording names kinds (`trades`, `book`, `quotes`, `bars`, `marks`, `liquidations`) and instruments; a feed's
`Subscription` makes the requests of it, which are then sent exactly as told here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from lake.errors import UsageError
from lake.wire.feeds import FEEDS

KINDS = ("trades", "book", "quotes", "bars", "marks", "liquidations")


@dataclass(frozen=True, slots=True)
class Socket:
    """One connection to make, and what it carries."""

    path: str
    kinds: dict[str, str]
    """Kind to the venue's channel, with {symbol} where the channel has the symbol in its name."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A feed's public streams."""

    ws: str
    sockets: tuple[Socket, ...]
    requests: Callable[[Sequence[str], Sequence[str]], list[object]]
    """Channels and symbols to the messages that subscribe to them."""
    rest: str = ""
    snapshot: str = ""
    """Path of a book's snapshot, with {symbol}; empty: the stream sends its own."""
    lower: bool = False
    """Channels are named by symbols in lower case."""

    def messages(self, socket: Socket, kinds: Sequence[str], symbols: Sequence[str]) -> list[str]:
        """What to send on a socket, one text each; empty where it carries none of the kinds."""
        channels = [socket.kinds[kind] for kind in kinds if kind in socket.kinds]
        names = [symbol.lower() for symbol in symbols] if self.lower else list(symbols)
        return [orjson.dumps(message).decode() for message in self.requests(channels, names)] if channels else []

    def carries(self, kind: str) -> bool:
        return any(kind in socket.kinds for socket in self.sockets)


def _named(channels: Sequence[str], symbols: Sequence[str]) -> list[str]:
    return [channel.format(symbol=symbol) for channel in channels for symbol in symbols]


def _binance(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    return [{"method": "SUBSCRIBE", "params": _named(channels, symbols), "id": 1}]


def _bybit(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    """At most ten topics a message, as spot demands."""
    topics = _named(channels, symbols)
    return [{"op": "subscribe", "args": topics[at : at + 10]} for at in range(0, len(topics), 10)]


def _okx(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    named = [
        {"channel": channel, "instType": "SWAP"} if channel == "liquidation-orders" else
        {"channel": channel, "instId": symbol}
        for channel in channels for symbol in symbols
    ]  # fmt: skip
    return [{"op": "subscribe", "args": [arg for at, arg in enumerate(named) if arg not in named[:at]]}]


def _coinbase(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    """Heartbeats keep a quiet subscription open."""
    asked = [*channels, "heartbeats"]
    return [{"type": "subscribe", "product_ids": list(symbols), "channel": channel} for channel in asked]


def _kraken(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    subscriptions = [{"name": name, "depth": 1000} if name == "book" else {"name": name} for name in channels]
    return [{"event": "subscribe", "pair": list(symbols), "subscription": asked} for asked in subscriptions]


def _kraken_futures(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    return [{"event": "subscribe", "feed": feed, "product_ids": list(symbols)} for feed in channels]


def _deribit(channels: Sequence[str], symbols: Sequence[str]) -> list[object]:
    params = {"channels": _named(channels, symbols)}
    return [{"jsonrpc": "2.0", "id": 0, "method": "public/subscribe", "params": params}]


_SPOT = {"trades": "{symbol}@trade", "book": "{symbol}@depth@100ms", "quotes": "{symbol}@bookTicker"}
_BARS = {"bars": "{symbol}@kline_1m"}
_FUTURES = {"trades": "{symbol}@aggTrade", "marks": "{symbol}@markPrice@1s", "liquidations": "{symbol}@forceOrder"}
_BYBIT = {
    "trades": "publicTrade.{symbol}", "book": "orderbook.200.{symbol}", "quotes": "tickers.{symbol}",
    "bars": "kline.1.{symbol}",
}  # fmt: skip
_BYBIT_FUTURES = _BYBIT | {"marks": "tickers.{symbol}", "liquidations": "allLiquidation.{symbol}"}

SUBSCRIPTIONS: dict[str, Subscription] = {
    "binance": Subscription(
        "wss://stream.binance.com:9443", (Socket("/stream", _SPOT | _BARS),), _binance,
        "https://api.binance.com", "/api/v3/depth?symbol={symbol}&limit=1000", lower=True,
    ),
    "binance_usdm": Subscription(
        "wss://fstream.binance.com",
        (
            Socket("/public/stream", {"book": _SPOT["book"], "quotes": _SPOT["quotes"]}),
            Socket("/market/stream", _FUTURES | _BARS),
        ),
        _binance, "https://fapi.binance.com", "/fapi/v1/depth?symbol={symbol}&limit=1000", lower=True,
    ),
    "binance_coinm": Subscription(
        "wss://dstream.binance.com", (Socket("/stream", _SPOT | _FUTURES | _BARS),), _binance,
        "https://dapi.binance.com", "/dapi/v1/depth?symbol={symbol}&limit=1000", lower=True,
    ),
    "bybit_spot": Subscription("wss://stream.bybit.com", (Socket("/v5/public/spot", _BYBIT),), _bybit),
    "bybit_linear": Subscription("wss://stream.bybit.com", (Socket("/v5/public/linear", _BYBIT_FUTURES),), _bybit),
    "bybit_inverse": Subscription("wss://stream.bybit.com", (Socket("/v5/public/inverse", _BYBIT_FUTURES),), _bybit),
    "okx": Subscription(
        "wss://ws.okx.com:8443",
        (
            Socket("/ws/v5/public", {
                "trades": "trades", "book": "books", "quotes": "tickers", "marks": "mark-price",
                "liquidations": "liquidation-orders",
            }),
            Socket("/ws/v5/business", {"bars": "candle1m"}),
        ),
        _okx,
    ),
    "coinbase": Subscription(
        "wss://advanced-trade-ws.coinbase.com",
        (Socket("", {"trades": "market_trades", "book": "level2", "quotes": "ticker", "bars": "candles"}),), _coinbase,
    ),
    "kraken": Subscription(
        "wss://ws.kraken.com", (Socket("", {"trades": "trade", "book": "book", "quotes": "ticker"}),), _kraken,
    ),
    "kraken_futures": Subscription(
        "wss://futures.kraken.com", (Socket("/ws/v1", {"trades": "trade", "book": "book", "quotes": "ticker_lite"}),),
        _kraken_futures,
    ),
    "deribit": Subscription(
        "wss://www.deribit.com",
        (Socket("/ws/api/v2", {
            "trades": "trades.{symbol}.100ms", "book": "book.{symbol}.100ms", "quotes": "ticker.{symbol}.100ms",
            "marks": "ticker.{symbol}.100ms",
        }),),
        _deribit,
    ),
}  # fmt: skip
SUBSCRIPTIONS["andina"] = SUBSCRIPTIONS["binance"]


def subscription(feed: str) -> Subscription:
    """Look a feed's subscription up.

    Raises:
        UsageError: there is none of that name.
    """
    if feed not in SUBSCRIPTIONS:
        raise UsageError(f"--venue {feed}: expected one of {', '.join(SUBSCRIPTIONS)}.")
    return SUBSCRIPTIONS[feed]


def venue_symbol(feed: str, instrument: str) -> str:
    """The venue's own name of an instrument: the spelling that its feed reads as this instrument.

    Raises:
        UsageError: the feed trades no such instrument.
    """
    unified = instrument.partition(":")[2]
    pair, _, settled = unified.partition(":")
    base, _, quote = pair.partition("/")
    expiry = settled.partition("-")[2]
    coin = {"BTC": "XBT", "DOGE": "XDG"}.get(base, base)
    spellings = [
        f"{base}PERP", base + quote, f"{base}{quote}_{expiry}", f"{base}{quote}_PERP", f"{base}-{quote}",
        f"{base}-{quote}-SWAP", f"{base}-{quote}-{expiry}", f"{coin}/{quote}", f"PI_{coin}{quote}", f"PF_{coin}{quote}",
        f"FI_{coin}{quote}_{expiry}", f"{base}-PERPETUAL", f"{base}_{quote}-PERPETUAL",
    ]  # fmt: skip
    for spelling in spellings:
        found = FEEDS[feed].instrument(spelling)
        if found and found[0] == instrument:
            return spelling
    raise UsageError(
        f"{instrument!r} is none of the feed {feed}: expected {FEEDS[feed].venue}:BASE/QUOTE as ccxt writes it, "
        "e.g. BTC/USDT for spot, BTC/USDT:USDT for a perpetual."
    )
