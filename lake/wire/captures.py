"""Recorded captures: files of other recorders, read into frames as they were received.

- hftbacktest: each line `<local receive time, ns> <message>`, one feed and one symbol a file, a REST snapshot among it.
- cryptofeed: JSON lines with `t` (header, http, connect, send, recv), `conn`, `ts` (seconds, local clock) and `data`.

Either may be plain, gzip or zstandard.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson
import polars as pl

from lake.errors import BadInput

SCHEMA = {
    "venue": pl.String, "connection": pl.String, "received_us": pl.Int64, "stream": pl.String, "payload": pl.String,
}  # fmt: skip
"""Feed, connection as the file names it, receive time in µs, `ws` or `rest:depth:SYMBOL`, text as received."""

_CRYPTOFEED = {
    "BINANCE": "binance", "BINANCE_FUTURES": "binance_usdm", "BINANCE_DELIVERY": "binance_coinm", "OKX": "okx",
    "COINBASE": "coinbase", "KRAKEN": "kraken", "KRAKEN_FUTURES": "kraken_futures", "DERIBIT": "deribit",
    "BYBIT": "bybit_",
}  # fmt: skip
_DEPTH = re.compile(r"/depth\?(?:.*&)?symbol=([A-Z0-9_]+)", re.ASCII)


def read_capture(path: Path, feed: str | None = None, symbol: str | None = None) -> pl.DataFrame:
    """The frames of a capture in the order of the file, columns `SCHEMA`; answers other than books are left out.

    Args:
        feed: of an hftbacktest capture, which does not say; a cryptofeed capture says itself.
        symbol: the venue's symbol in an hftbacktest capture, for its REST snapshot, which names none on spot.

    Raises:
        BadInput: the file cannot be read, or a line has another shape.
    """
    try:
        with _opened(path) as lines:
            first = lines.readline()
            if first.startswith(b"{"):
                rows = list(_cryptofeed(path.name, first, lines))
            else:
                rows = list(_hftbacktest(path.name, [first], lines, feed, symbol))
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise BadInput(f"{path.name} cannot be read as a capture: {str(error) or type(error).__name__}") from None
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]  # a GzipFile reads as any binary file
    if path.suffix == ".zst":
        import io

        import zstandard

        raw = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True)
        return io.BufferedReader(raw)
    return path.open("rb")


def _hftbacktest(
    name: str, first: list[bytes], lines: IO[bytes], feed: str | None, symbol: str | None
) -> Iterator[tuple[str, str, int, str, str]]:
    if feed is None or symbol is None:
        raise ValueError("expected --feed and --symbol for a capture that names neither")
    for chunk in (first, lines):
        for line in chunk:
            received, space, payload = line.rstrip(b"\n").partition(b" ")
            if not space or not received.isdigit():
                raise ValueError(f"expected nanoseconds, a space and JSON, found {line!r:.80}")
            is_book = payload.startswith(b'{"lastUpdateId"')
            yield feed, name, int(received) // 1000, f"rest:depth:{symbol}" if is_book else "ws", payload.decode()


def _cryptofeed(name: str, first: bytes, lines: IO[bytes]) -> Iterator[tuple[str, str, int, str, str]]:
    exchange = orjson.loads(first)["exchange"]
    if exchange not in _CRYPTOFEED:
        raise ValueError(f"no parser for {exchange}: expected one of {', '.join(_CRYPTOFEED)}")
    feed, addresses = _CRYPTOFEED[exchange], dict[str, str]()
    for line in lines:
        record = orjson.loads(line)
        connection, text = record.get("conn", ""), record.get("data") or ""
        if record["t"] == "connect":
            addresses[connection] = record["addr"].rsplit("/", 1)[-1]
        book = _DEPTH.search(record.get("url", "")) if record["t"] == "http" else None
        if book or record["t"] == "recv":
            # Bybit's spot and linear frames look the same: the address tells them apart.
            venue = feed + addresses[connection] if feed.endswith("_") else feed
            stream = f"rest:depth:{book[1]}" if book else "ws"
            # Books come over REST beside the socket: one connection, in the order of receipt.
            yield venue, name, round(float(record["ts"]) * 1e6), stream, text
