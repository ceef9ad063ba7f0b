"""Every view of every service over real days, batch against the stream that live runs: one without a twin fails."""

from pathlib import Path

import numpy as np
import pytest
from walks import same_bits

from feature_store.alignment import Observations, widened
from feature_store.book import BookService, BookStream, compute_book, rows_of
from feature_store.catalogue import AnyService, all_services
from feature_store.files import read_bars
from feature_store.inputs import SERIES
from feature_store.scan import Stream, compute
from feature_store.service import FeatureService
from feature_store.view import CLOSE, FeatureView, Floats
from lake.wire.captures import read_capture
from lake.wire.feeds import feed
from lake.wire.frames import parse

BARS = 2_600
"""Nine days: over a week's boundary, beyond every warm-up."""
EVERY_VIEW = {view.name: view for one in all_services().values() for view in one.views}
SOURCES = {path.stem for path in (Path(__file__).resolve().parents[2] / "feature_store" / "views").glob("[!_]*.py")}


def over_bars(service: FeatureService, shared_data: Path) -> tuple[Floats, Floats]:
    """ETH beside BTC in five-minute bars; a series is the closes of another coin, told once an hour."""
    files = {name: read_bars(shared_data / "ohlcv" / f"binance_spot_{name}-USDT_5m.parquet") for name in ("ETH", "BTC")}
    of = service.at("5m")
    observed = {}
    for name, (times, bars) in files.items():
        observed[f"{name.lower()}_close"] = Observations.closes(times, bars, of.periods.bar_us)
    btc = observed["btc_close"]
    hourly = slice(None, None, 12)
    told = Observations(btc.event_times[hourly], btc.available_times[hourly], btc.values[hourly])
    observed |= {series.name: told for series in SERIES}
    times, bars = files["ETH"]
    matrix = widened(of, times[:BARS], bars[:BARS], observed)[0]
    stream = Stream(of)
    streamed = [stream.update(int(time), row) for time, row in zip(times[:BARS], matrix, strict=True)]
    assert (matrix[:, CLOSE] > 0).all()
    return compute(of, times[:BARS], matrix), np.array(streamed)


def over_books(service: BookService, shared_data: Path) -> tuple[Floats, Floats]:
    folder = shared_data / "orderbook"
    days = [
        read_capture(folder / f"binance_spot_btcusdt_202408{day}.jsonl.gz", "binance", "BTCUSDT")
        for day in ("08", "09")
    ]
    parsed = parse(feed("binance"), days[0].vstack(days[1]).with_row_index("row"))
    rows = rows_of("binance", parsed.of("book"), parsed.of("trade"), bucket=2.0)
    stream = BookStream(service)
    return compute_book(service, rows), np.array([stream.update(row) for row in rows])


def both(service: AnyService, shared_data: Path) -> tuple[Floats, Floats]:
    return over_books(service, shared_data) if isinstance(service, BookService) else over_bars(service, shared_data)


@pytest.mark.parametrize("service", all_services().values(), ids=all_services().keys())
def test_every_output_is_the_same_bits_in_batch_and_live(service: AnyService, shared_data: Path) -> None:
    batch, live = both(service, shared_data)
    assert len(batch) > 2_000
    for at, name in enumerate(service.feature_names):
        assert same_bits(batch[:, at].copy(), live[:, at].copy()), name
        assert np.isfinite(batch[:, at]).any(), f"{name} is never a number: nothing was compared"


def test_every_view_that_is_written_is_served() -> None:
    defined = {
        value.name
        for source in SOURCES
        for value in vars(__import__(f"feature_store.views.{source}", fromlist=["_"])).values()
        if isinstance(value, FeatureView)
    }
    assert len(defined) > 40
    assert defined - set(EVERY_VIEW) == set(), "in no service, so compared by nobody"
