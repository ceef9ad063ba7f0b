"""Surfaces: known volatilities come back, and a real chain gives what the venue's index said of that day."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from jobs.market_rows import outcome_of
from jobs.option_surface import WINDOW, smile, surfaces
from jobs.raw_frames import raw_frames
from lake.intervals import DAY, Interval, to_datetime, to_us
from lake.tables import OPTION_QUOTES
from market.options import PRICE, black76

NOON = to_us(datetime(2024, 1, 8, 12, tzinfo=UTC))
FORWARD = 2000.0


def chain(volatility: object, days: tuple[int, ...] = (10, 40, 100), told: bool = True) -> pl.DataFrame:
    """A whole chain at noon; `volatility(log moneyness)` is a fraction a year."""
    rows = []
    for length in days:
        strikes = np.arange(200.0, 8000.0, 20.0)
        vols = np.array([volatility(math.log(k / FORWARD)) for k in strikes])  # type: ignore[operator]
        years = np.full_like(strikes, length / 365)
        for is_call in (True, False):
            side = np.full(len(strikes), is_call)
            prices = black76(np.full_like(strikes, FORWARD), strikes, years, vols, side)[PRICE]
            rows += [
                {
                    "instrument": f"deribit:X-{length}-{k}-{is_call}", "underlying": "ETH", "strike": float(k),
                    "event_time": to_datetime(NOON - 1), "available_time": to_datetime(NOON + 5),
                    "expiry_time": to_datetime(NOON + length * DAY), "is_call": is_call, "underlying_price": FORWARD,
                    "mark_price": float(price), "mark_iv": float(vol) if told else None,
                }
                for k, price, vol in zip(strikes, prices, vols, strict=True)
            ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"mark_iv": pl.Float64})


@pytest.mark.parametrize("told", [True, False])
def test_a_flat_volatility_comes_back_at_every_tenor(told: bool) -> None:
    found = surfaces(chain(lambda _: 0.6, told=told))
    assert found["tenor"].to_list() == ["30d", "60d", "90d"], "nothing is extrapolated"
    assert found["atm_iv"].to_list() == pytest.approx([0.6] * 3, abs=1e-4)
    assert found["skew_25d"].to_list() == pytest.approx([0.0] * 3, abs=1e-3)
    assert found["term_slope"].to_list() == pytest.approx([0.0] * 3, abs=1e-4)
    assert found["dvol"].to_list()[1:] == [None, None]
    assert found["dvol"][0] == pytest.approx(0.6, rel=0.005)
    assert found["forward"].to_list() == pytest.approx([FORWARD] * 3)


def test_a_skewed_smile_shows_in_skew_and_index() -> None:
    found = surfaces(chain(lambda k: 0.6 - 0.2 * k)).row(0, named=True)
    assert found["skew_25d"] > 0.02, "puts are dearer"
    assert found["atm_iv"] == pytest.approx(0.6, abs=1e-3)
    valley = surfaces(chain(lambda k: 0.6 + 0.3 * k * k)).row(0, named=True)
    assert valley["butterfly_25d"] > 0.001
    assert valley["dvol"] > valley["atm_iv"]


def test_a_surface_is_known_with_its_last_quote_and_never_sooner_than_its_end() -> None:
    quotes = chain(lambda _: 0.6)
    found = surfaces(quotes).row(0, named=True)
    end = (NOON - 1) // WINDOW * WINDOW + WINDOW
    assert found["event_time"] == to_datetime(end)
    assert found["available_time"] == to_datetime(max(end, NOON + 5))
    later = quotes.with_columns(
        event_time=pl.col("event_time") + timedelta(minutes=10), mark_iv=pl.lit(0.9),
        available_time=pl.col("available_time") + timedelta(minutes=10),
    )  # fmt: skip
    both = surfaces(pl.concat([quotes, later]))
    assert both.filter(pl.col("event_time") == to_datetime(end)).equals(surfaces(quotes)), "the future moves no past"


def test_the_real_chain_of_2024_01_08(shared_data: Path) -> None:
    text = pl.read_csv(shared_data / "derivatives/deribit_options_ETH_chain_2024-01-08.csv", infer_schema=False)
    numbers = (
        "creation_timestamp",
        "underlying_price",
        "mark_price",
        "bid_price",
        "ask_price",
        "open_interest",
        "volume",
    )
    rows = text.with_columns(pl.col(numbers).cast(pl.Float64)).with_columns(pl.col("creation_timestamp").cast(pl.Int64))
    payloads = rows.select("instrument_name", *numbers).write_ndjson().splitlines()
    raw = raw_frames(
        pl.DataFrame(
            {
                "venue": "deribit", "connection": "chain", "sequence": range(len(payloads)), "stream": "rest:summary",
                "received_us": int(rows["creation_timestamp"].max()) * 1000, "market_us": None, "payload": payloads,  # type: ignore[arg-type]
            },
            schema_overrides={"market_us": pl.Int64},
        ),
        "run",
    )  # fmt: skip
    quotes = outcome_of(OPTION_QUOTES, raw, Interval(0, 10**16))
    assert len(quotes) == 684 and quotes["mark_iv"].null_count() == 684, "volatilities are to be inverted"
    found = surfaces(quotes)
    assert found["tenor"].to_list() == ["7d", "30d", "60d", "90d", "180d"]
    assert found["forward"].is_sorted() and found["forward"].is_between(2220, 2420).all()
    assert found["atm_iv"].is_between(0.45, 0.85).all()
    month = found.row(1, named=True)
    assert month["dvol"] == pytest.approx(month["atm_iv"], rel=0.15) and month["butterfly_25d"] > 0
    near = quotes.filter(pl.col("expiry_time") == datetime(2024, 1, 26, 8, tzinfo=UTC))
    years = (datetime(2024, 1, 26, 8, tzinfo=UTC) - near["event_time"][0]).total_seconds() / (365 * 86_400)
    ours = smile(near, years)
    forward = near["underlying_price"][0]
    below = near.filter(~pl.col("is_call"), pl.col("strike") < forward).sort("strike").row(-1, named=True)
    above = near.filter(pl.col("is_call"), pl.col("strike") >= forward).sort("strike").row(0, named=True)
    around = sorted(by_hand(option, years) for option in (below, above))
    assert ours is not None and around[0] - 1e-3 <= ours.atm <= around[1] + 1e-3


def by_hand(option: dict[str, float], years: float) -> float:
    """Implied volatility with nothing of ours: Black's formula by the standard library's normal distribution."""
    normal, low, high = NormalDist(), 0.01, 5.0
    forward, strike, sign = option["underlying_price"], option["strike"], 1 if option["is_call"] else -1
    for _ in range(60):
        middle = (low + high) / 2
        width = middle * math.sqrt(years)
        d1 = math.log(forward / strike) / width + width / 2
        worth = sign * (forward * normal.cdf(sign * d1) - strike * normal.cdf(sign * (d1 - width)))
        low, high = (middle, high) if worth < option["mark_price"] * forward else (low, middle)
    return low
