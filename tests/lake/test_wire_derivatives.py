"""What the parsers of derivatives read, and what they refuse."""

import subprocess
from pathlib import Path

import orjson
import polars as pl
import pytest

from lake.errors import BadInput
from lake.wire import binance_futures, deribit

SHARED = Path(__file__).parents[3] / "shared/data"
SAMPLES = SHARED / "wire/nautilus_binance_rest_ws_samples.jsonl.zst"
CHAIN = SHARED / "derivatives/deribit_options_ETH_chain_2024-01-08.csv"


@pytest.mark.skipif(not SAMPLES.exists(), reason="needs ../shared/data/wire (recorded messages)")
def test_documented_frames_are_read() -> None:
    text = subprocess.run(["zstdcat", str(SAMPLES)], capture_output=True, check=True).stdout
    rows = {row["path"]: row["body"] for row in map(orjson.loads, text.splitlines())}
    folder = "futures/market_data_json/"
    mark = binance_futures.mark_price_from_frame(orjson.loads(rows[f"{folder}mark_price_stream.json"]))
    assert (mark.symbol, mark.mark_price, mark.time) == ("BTCUSDT", "11794.15000000", 1_562_305_380_000_000)
    forced = binance_futures.liquidation_from_frame(orjson.loads(rows[f"{folder}liquidation_stream.json"]))
    assert (forced.symbol, forced.side) == ("BTCUSDT", "SELL")


@pytest.mark.skipif(not CHAIN.exists(), reason="needs ../shared/data/derivatives (a recorded Deribit chain)")
def test_a_recorded_chain_is_read() -> None:
    for row in pl.read_csv(CHAIN).iter_rows(named=True):
        summary = deribit.option_summary(row)
        name = deribit.option_name(summary.instrument_name)
        assert (name.strike, name.is_call) == (row["strike_price"], row["option_type"] == "C")
        assert name.expiry > summary.time
        assert summary.mark_iv is None


def test_rows_of_rest_are_read() -> None:
    funding = {"symbol": "BTCUSDT", "fundingTime": 1_700_000_000_123, "fundingRate": "0.0001", "markPrice": ""}
    assert binance_futures.funding_rate_from_rest(funding).time == 1_700_000_000_123_000
    now = {"symbol": "BTCUSDT", "openInterest": "10.5", "time": 5}
    past = {"symbol": "BTCUSDT", "sumOpenInterest": "10.5", "sumOpenInterestValue": "99", "timestamp": 5}
    read = binance_futures.open_interest_from_rest
    assert (read(now).quantity, read(past).quantity, read(past).value) == ("10.5", "10.5", "99")


@pytest.mark.parametrize(
    "read",
    [
        binance_futures.funding_rate_from_rest, binance_futures.mark_price_from_rest,
        binance_futures.mark_price_from_frame, binance_futures.open_interest_from_rest,
        binance_futures.liquidation_from_frame, deribit.option_summary,
    ],
)  # fmt: skip
def test_other_shapes_are_refused(read: object) -> None:
    for value in ({}, {"e": "trade"}, {"symbol": "X", "time": "soon"}):
        with pytest.raises(BadInput):
            read(value)  # type: ignore[operator]


@pytest.mark.parametrize("text", ["BTC-PERPETUAL", "BTC-31FEB24-1-C", "BTC-27DEC24-1-X", ""])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        deribit.option_name(text)
