"""Every feed whose frames we read, by the name under which they are stored."""

from lake.errors import UsageError
from lake.wire.binance_frames import ANDINA, BINANCE, BINANCE_COINM, BINANCE_USDM
from lake.wire.bybit_frames import BYBIT_INVERSE, BYBIT_LINEAR, BYBIT_SPOT
from lake.wire.ccxt_frames import PREFIX, ccxt_feed
from lake.wire.coinbase_frames import COINBASE
from lake.wire.deribit_frames import DERIBIT
from lake.wire.frames import Feed
from lake.wire.kraken_frames import KRAKEN, KRAKEN_FUTURES
from lake.wire.okx_frames import OKX

FEEDS: dict[str, Feed] = {
    feed.name: feed
    for feed in (
        BINANCE, BINANCE_USDM, BINANCE_COINM, ANDINA, BYBIT_SPOT, BYBIT_LINEAR, BYBIT_INVERSE, OKX, COINBASE, KRAKEN,
        KRAKEN_FUTURES, DERIBIT,
    )
}  # fmt: skip


VENUES = {"binanceusdm": "binance", "binancecoinm": "binance", "krakenfutures": "kraken"}
"""ccxt ids whose instruments go by another venue's name."""


def feed(name: str) -> Feed:
    """Look a feed up; `ccxt_<id>` is what ccxt says of that exchange.

    Raises:
        UsageError: there is none of that name; the message lists those there are.
    """
    if name.startswith(PREFIX):
        exchange = name.removeprefix(PREFIX)
        return ccxt_feed(exchange, VENUES.get(exchange, exchange))
    if name not in FEEDS:
        raise UsageError(f"unknown feed {name!r}: expected one of {', '.join(FEEDS)}.")
    return FEEDS[name]
