"""Every frame of the real captures parses; books rebuilt from them keep their chains and match their checksums."""

from collections import Counter
from pathlib import Path

import orjson
import polars as pl
import pytest
import zstandard

from lake.errors import BadInput
from lake.wire.books import Book, broken_chains, missing_frames, rebuild
from lake.wire.captures import read_capture
from lake.wire.feeds import FEEDS, feed
from lake.wire.frames import EVENTS, levels, parse

CAPTURES = {
    "BINANCE": {"binance": {"depthUpdate": 177, "bookTicker": 84, "aggTrade": 2, "kline": 2, "lastUpdateId": 4}},
    "BINANCE_FUTURES": {
        "binance_usdm": {"depthUpdate": 764, "bookTicker": 613, "aggTrade": 91, "kline": 67, "lastUpdateId": 4}
    },
    "BINANCE_DELIVERY": {
        "binance_coinm": {"bookTicker": 2240, "depthUpdate": 2047, "aggTrade": 51, "kline": 33, "lastUpdateId": 10}
    },
    "BYBIT": {
        "bybit_linear": {"orderbook": 1598, "tickers": 758, "publicTrade": 102, "kline": 71, "op": 17},
        "bybit_spot": {"orderbook": 550, "tickers": 81, "publicTrade": 18, "kline": 25, "op": 7},
    },
    "OKX": {"okx": {"books": 290, "trades": 74, "tickers": 28, "event": 18}},
    "COINBASE": {
        "coinbase": {
            "l2_data": 775, "ticker": 160, "market_trades": 59, "heartbeats": 25, "candles": 6, "subscriptions": 5
        }
    },
    "KRAKEN": {"kraken": {"book": 4279, "event": 125, "ticker": 18, "trade": 8}},
    "KRAKEN_FUTURES": {
        "kraken_futures": {
            "book": 7014, "ticker_lite": 107, "event": 31, "book_snapshot": 10, "trade_snapshot": 10, "trade": 3
        }
    },
    "DERIBIT": {"deribit": {"ticker": 89, "book": 46, "answer": 1}},
}  # fmt: skip
"""Messages per kind, counted with the `json` module."""

EVENT_COUNTS = {
    "binance": {"book": 181, "quote": 84, "trade": 2, "bar": 2},
    "binance_usdm": {"book": 768, "quote": 613, "trade": 91, "bar": 67},
    "binance_coinm": {"book": 2057, "quote": 2240, "trade": 51, "bar": 33},
    "bybit_linear": {"book": 1598, "trade": 327, "quote": 144, "mark": 89, "bar": 75, "open_interest": 20},
    "bybit_spot": {"book": 550, "trade": 20, "bar": 25},
    "okx": {"book": 290, "trade": 74, "quote": 28},
    "coinbase": {"book": 775, "trade": 279, "bar": 204, "quote": 160},
    "kraken": {"book": 4279, "quote": 18, "trade": 10},
    "kraken_futures": {"book": 7024, "trade": 1003, "quote": 107},
    "deribit": {"option": 89, "book": 46},
}
CHECKSUMS = {"kraken": 4269, "okx": 290}


@pytest.mark.parametrize("name", CAPTURES)
def test_every_frame_of_a_capture_parses(shared_data: Path, name: str) -> None:
    frames = read_capture(shared_data / f"wire/cryptofeed_{name}.jsonl.zst")
    assert set(frames["venue"]) == set(CAPTURES[name])
    for (venue,), part in frames.group_by("venue"):
        of = FEEDS[str(venue)]
        parsed = parse(of, part)
        assert parsed.problems.is_empty()
        assert Counter(parsed.tags) == CAPTURES[name][of.name]
        assert {kind: len(rows) for kind, rows in parsed.events.items()} == EVENT_COUNTS[of.name]
        symbols = {symbol for rows in parsed.events.values() for symbol in rows["symbol"]}
        assert symbols and all(of.instrument(symbol) for symbol in symbols)


@pytest.mark.parametrize("name", CAPTURES)
def test_books_rebuilt_from_a_capture_are_whole(shared_data: Path, name: str) -> None:
    frames = read_capture(shared_data / f"wire/cryptofeed_{name}.jsonl.zst")
    for (venue,), part in frames.group_by("venue"):
        of = str(venue)
        books = parse(FEEDS[of], part).of("book")
        assert broken_chains(of, books).is_empty()
        checked = applied = 0
        for _, events in books.group_by("symbol", maintain_order=True):
            for event, book in rebuild(of, events):
                applied += 1
                assert not book.crossed
                if event["checksum"] is not None:
                    checked += 1
                    assert book.checksum(of) == event["checksum"]
        assert checked == CHECKSUMS.get(of, 0)
        assert applied > 0.85 * len(books)  # the rest came before a snapshot that holds it
        assert of != "coinbase" or missing_frames(part["payload"]).is_empty()


@pytest.mark.parametrize(
    ("file", "of", "symbol", "messages"),
    [
        ("binance_spot_btcusdt_20240808", "binance", "BTCUSDT", 41_249),
        ("binance_usdm_btcusdt_20240808", "binance_usdm", "BTCUSDT", 93_954),
        ("binance_cm_btcusd_perp_20240808", "binance_coinm", "BTCUSD_PERP", 48_270),
    ],
)
def test_order_book_captures_parse_without_a_break(
    shared_data: Path, file: str, of: str, symbol: str, messages: int
) -> None:
    frames = read_capture(shared_data / f"orderbook/{file}.jsonl.gz", of, symbol)
    parsed = parse(FEEDS[of], frames)
    assert len(frames) == messages
    assert parsed.problems.is_empty()
    assert parsed.tags.null_count() == 0
    assert broken_chains(of, parsed.of("book")).is_empty()
    assert set(parsed.events) == {"book", "quote", "trade"}
    assert set(parsed.of("book")["symbol"]) == {symbol}
    trades = parsed.of("trade")
    assert trades["trade_id"].n_unique() == len(trades) > 0
    assert trades["price"].min() > 0  # type: ignore[operator]  # what is no trade of the market, with price zero, is left out


@pytest.mark.parametrize("of", ["binance", "binance_usdm", "bybit_linear", "okx", "deribit"])
def test_every_sample_of_a_stream_is_of_a_known_kind(shared_data: Path, of: str) -> None:
    file = shared_data / f"wire/nautilus_{of.split('_')[0]}_rest_ws_samples.jsonl.zst"
    text = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read()
    lines = [orjson.loads(line) for line in text.splitlines()]
    folder = {"binance": "spot/user_data_json/", "binance_usdm": "futures/"}.get(of, "ws_")
    samples = [r for r in lines if r["path"].startswith(folder) and "http_json" not in r["path"]]
    # Not a frame: an array of options cut out of one; an order as an answer to a request of one's own.
    samples = [
        r for r in samples if r["path"] not in ("ws_opt_summary.json", "ws_account_position_with_open_time.json")
    ]
    parsed = parse(feed(of), pl.DataFrame({"payload": [r["body"] for r in samples], "stream": "ws"}))
    told = {samples[row]["path"]: reason for row, reason in parsed.problems.iter_rows()}
    assert len(samples) >= 10
    assert told == {}


def frames_of(*payloads: str, stream: str = "ws") -> pl.DataFrame:
    return pl.DataFrame({"payload": payloads, "stream": [stream] * len(payloads)})


TRADE = '{"e":"trade","E":1723161257440,"s":"BTCUSDT","t":7,"p":"61804.70","q":"0.001","T":1723161257432,"m":true}'


def test_a_bad_frame_is_reported_alone() -> None:
    bad = ['{"e":"trade","s":"BTCUSDT","t":', TRADE.replace('"p":"61804.70",', ""), '{"e":"novelty"}', "", "[]", "null"]
    parsed = parse(FEEDS["binance"], frames_of(TRADE, *bad, TRADE.replace('"t":7', '"t":8')))
    assert parsed.of("trade")["trade_id"].to_list() == ["7", "8"]
    assert parsed.of("trade")["row"].to_list() == [0, 7]
    assert dict(parsed.problems.iter_rows()) == {
        1: "trade does not parse",
        2: "trade lacks a field of a trade",
        3: "unknown kind of message: novelty",
        4: "unknown kind of message",
        5: "unknown kind of message",
        6: "unknown kind of message",
    }


def test_bare_and_combined_frames_are_the_same_event() -> None:
    combined = f'{{"stream":"btcusdt@trade","data":{TRADE}}}'
    parsed = parse(FEEDS["binance"], frames_of(TRADE, combined)).of("trade").drop("row")
    assert parsed.row(0) == parsed.row(1) == (0, "BTCUSDT", 1723161257432000, "7", False, 61804.7, 0.001, "sell")


def test_what_futures_report_beside_trades_is_no_trade() -> None:
    fund = TRADE.replace('"m":true', '"m":true,"X":"INSURANCE_FUND"')
    parsed = parse(FEEDS["binance_usdm"], frames_of(fund))
    assert parsed.problems.is_empty() and not parsed.events


def diff(first: int, last: int, bids: str = "[]", previous: str = "") -> str:
    return f'{{"e":"depthUpdate","E":1723161257440,"s":"BTCUSDT","U":{first},"u":{last},{previous}"b":{bids},"a":[]}}'


SNAPSHOT = '{"lastUpdateId":11,"bids":[["10","1"]],"asks":[["12","1"]]}'


def test_a_missing_update_breaks_the_chain_and_the_book_waits_for_a_snapshot() -> None:
    parsed = parse(FEEDS["binance"], frames_of(diff(9, 10), diff(11, 12), diff(15, 16)))
    broken = broken_chains("binance", parsed.of("book"))
    assert broken.select("row", "expected", "found").rows() == [(2, 13, 15)]
    snapshot = parse(FEEDS["binance"], frames_of(SNAPSHOT, stream="rest:depth:BTCUSDT")).of("book")
    events = pl.concat([snapshot, parsed.of("book")])
    assert [event["last_id"] for event, _ in rebuild("binance", events)] == [11, 12]
    late = pl.concat([parsed.of("book"), snapshot.with_columns(last_id=pl.lit(15, pl.Int64))])
    assert [event["last_id"] for event, _ in rebuild("binance", late)] == [15, 16]


def test_a_wrong_checksum_is_seen(shared_data: Path) -> None:
    frames = read_capture(shared_data / "wire/cryptofeed_OKX.jsonl.zst")
    first = parse(FEEDS["okx"], frames).of("book").row(0, named=True)
    book = Book()
    book.apply(first | {"bids": first["bids"][1:]})
    assert book.checksum("okx") != first["checksum"]


def test_levels_keep_the_order_sent_and_explode_bids_first() -> None:
    book = parse(FEEDS["binance"], frames_of(SNAPSHOT, stream="rest:depth:BTCUSDT")).of("book")
    rows = levels(book).select("position", "side", "price", "quantity", "is_snapshot").rows()
    assert rows == [(0, "bid", 10.0, 1.0, True), (1, "ask", 12.0, 1.0, True)]
    odd = levels(book.with_columns(bids=pl.lit([["x", "1"], ["9"]], EVENTS["book"]["bids"])))
    assert odd.filter(side="bid").select("price", "quantity").rows() == [(None, 1.0), (9.0, None)]


@pytest.mark.parametrize(
    ("of", "symbol", "expected"),
    [
        ("binance", "USDTTRY", ("binance:USDT/TRY", "base")),
        ("binance_usdm", "BTCUSDT_240628", ("binance:BTC/USDT:USDT-240628", "base")),
        ("binance_coinm", "BTCUSD_PERP", ("binance:BTC/USD:BTC", "contracts")),
        ("bybit_linear", "BTCPERP", ("bybit:BTC/USDC:USDC", "base")),
        ("bybit_linear", "BTC-28JUN24", ("bybit:BTC/USDC:USDC-240628", "base")),
        ("bybit_inverse", "BTCUSD", ("bybit:BTC/USD:BTC", "quote")),
        ("okx", "BTC-USD-241217-92000-C", ("okx:BTC/USD:BTC-241217-92000-C", "contracts")),
        ("okx", "BTC-USDT-SWAP", ("okx:BTC/USDT:USDT", "contracts")),
        ("kraken", "XBT/USD", ("kraken:BTC/USD", "base")),
        ("kraken_futures", "FI_XBTUSD_210924", ("kraken:BTC/USD:BTC-210924", "quote")),
        ("deribit", "BTC-PERPETUAL", ("deribit:BTC/USD:BTC", "quote")),
        ("deribit", "ETH_USDC-PERPETUAL", ("deribit:ETH/USDC:USDC", "base")),
        ("deribit", "BTC-5JUL24-60000-P", ("deribit:BTC/USD:BTC-240705-60000-P", "base")),
        ("binance", "NOSUCH", None),
        ("deribit", "BTC", None),
        ("kraken_futures", "rr_xbtusd", None),
    ],
)
def test_symbols_are_unified(of: str, symbol: str, expected: tuple[str, str] | None) -> None:
    assert FEEDS[of].instrument(symbol) == expected


def test_a_damaged_capture_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "capture.jsonl"
    file.write_bytes(b"12 {}\nx {}\n")
    with pytest.raises(BadInput, match=r"capture.jsonl cannot be read.*nanoseconds"):
        read_capture(file, "binance", "BTCUSDT")
    with pytest.raises(BadInput, match="--feed and --symbol"):
        read_capture(file)
