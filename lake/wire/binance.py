"""Binance's spot wire format, and the one function that points ccxt at another host.

Prices and quantities stay the venue's decimal text until a caller chooses float64 (features) or Decimal (money).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from lake.errors import BadInput, Misconfigured
from lake.intervals import MILLISECOND

KLINE_PAGE = 1000
"""Most klines a spot answer holds."""


@dataclass(frozen=True, slots=True)
class Kline:
    """One bar as sent; times in UTC microseconds, `close_time` exclusive (the venue sends ms-1)."""

    open_time: int
    close_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    closed: bool


def kline_from_rest(row: list[Any]) -> Kline:
    """Read one row of GET /api/v3/klines. `closed` is unknown there and set True: the caller drops the open one.

    Raises:
        BadInput: the row has another shape.
    """
    try:
        return Kline(
            open_time=int(row[0]) * MILLISECOND,
            close_time=(int(row[6]) + 1) * MILLISECOND,
            open=str(row[1]), high=str(row[2]), low=str(row[3]), close=str(row[4]),
            volume=str(row[5]), quote_volume=str(row[7]), trade_count=int(row[8]), closed=True,
        )  # fmt: skip
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"not a Binance kline row: {row!r:.200}: {error}") from None


def kline_from_frame(frame: dict[str, Any]) -> Kline:
    """Read the event of a `<symbol>@kline_<interval>` stream.

    Raises:
        BadInput: the frame is of another kind or shape.
    """
    try:
        k = frame["k"]
        return Kline(
            open_time=int(k["t"]) * MILLISECOND,
            close_time=(int(k["T"]) + 1) * MILLISECOND,
            open=k["o"], high=k["h"], low=k["l"], close=k["c"],
            volume=k["v"], quote_volume=k["q"], trade_count=int(k["n"]), closed=bool(k["x"]),
        )  # fmt: skip
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"not a Binance kline frame: {frame!r:.200}: {error}") from None


def kline_from_payload(stream: str, payload: str) -> Kline:
    """Read a bronze payload by its stream: `rest:klines_*` holds an array, `ws:kline_*` an event.

    Raises:
        BadInput: unknown stream, or the payload does not parse.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{stream}: payload is not JSON: {error}") from None
    if stream.startswith("rest:klines_"):
        return kline_from_rest(value)
    if stream.startswith("ws:kline_"):
        return kline_from_frame(value)
    raise BadInput(f"no parser for stream {stream!r}: expected rest:klines_* or ws:kline_*")


def redirect_ccxt(rest: str, ws: str, client_class: type | None = None) -> dict[str, Any]:
    """Configuration that points a ccxt Binance client at another host, and at nothing else.

    Every address ccxt knows (spot, sapi, fapi, dapi, eapi, papi, streams, WebSocket API, test and demo nets, even the
    links of its documentation) keeps its path and gets the new host. Markets are spot alone, since anything else, and
    currencies or margin pairs, would make `load_markets` send signed requests to addresses that do not exist there.

    Args:
        rest: e.g. http://127.0.0.1:8080, without a trailing slash.
        ws: e.g. ws://127.0.0.1:8080.
        client_class: whose addresses to replace; by default ccxt.pro's, which include the plain client's.
    """
    if client_class is None:
        import ccxt.pro

        client_class = ccxt.pro.binance
    described = client_class().describe()["urls"]
    config = {
        "urls": _moved(described, rest.rstrip("/"), ws.rstrip("/")),
        "options": {
            "defaultType": "spot",
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
        },
        "has": {"fetchCurrencies": False},
    }
    refuse_foreign_urls(config["urls"], rest, ws)
    return config


def refuse_foreign_urls(urls: Mapping[str, Any], rest: str, ws: str) -> None:
    """Refuse a client that knows any address but ours.

    Raises:
        Misconfigured: names the first foreign address.
    """
    ours = (urlsplit(rest)[:2], urlsplit(ws)[:2])
    for path, address in _addresses(urls):
        if urlsplit(address)[:2] not in ours:
            raise Misconfigured(f"ccxt would reach {address} as urls.{path}: expected only {rest} and {ws}.")


def ccxt_client(rest: str, ws: str = "", api_key: str = "", secret: str = "", **config: Any) -> Any:
    """A blocking `ccxt.binance`. Empty `rest` leaves the real venue's addresses as ccxt ships them.

    ccxt's own retries stay off: a resent order could be placed twice.
    """
    import ccxt

    return redirected_client(ccxt.binance, rest, ws, api_key, secret, config)


def ccxt_pro_client(rest: str, ws: str = "", api_key: str = "", secret: str = "", **config: Any) -> Any:
    """An asynchronous `ccxt.pro.binance` with streams; else as `ccxt_client`. The caller awaits its `close()`."""
    import ccxt.pro

    return redirected_client(ccxt.pro.binance, rest, ws, api_key, secret, config)


def redirected_client(
    client_class: Any, rest: str, ws: str, api_key: str, secret: str, config: dict[str, Any],
    options: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """A client of any of ccxt's Binance classes; `options` replace those of spot where it is sent elsewhere."""
    keys = {"apiKey": api_key, "secret": secret, "enableRateLimit": True}
    if not rest:
        return client_class({**keys, **config})
    ws = ws or "ws" + rest.removeprefix("http")
    moved = redirect_ccxt(rest, ws, client_class) | ({"options": options} if options else {})
    client = client_class({**moved, **keys, **config})
    refuse_foreign_urls(client.urls, rest, ws)
    return client


def _moved(value: Any, rest: str, ws: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _moved(inner, rest, ws) for name, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, rest, ws) for inner in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    parts = urlsplit(value)
    return (ws if parts.scheme.startswith("ws") else rest) + parts.path


def _addresses(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _addresses(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _addresses(inner, f"{path}.{number}")
    elif isinstance(value, str) and "://" in value:
        yield path, value
