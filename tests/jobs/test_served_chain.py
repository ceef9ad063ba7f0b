"""Valuation features on what the sources' server tells: no column is without a source."""

import hashlib
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from feature_store.alignment import observations, widened
from feature_store.scan import compute
from feature_store.service import CHAIN_1D
from feature_store.view import Floats
from jobs.observation_rows import candidates
from lake.intervals import DAY, Interval, parse_time
from lake.sources.registry import source
from lake.sources.source import Answer, Call

NOW = parse_time("2024-04-20T12:00Z")
DAYS = 60
FIRST = NOW - NOW % DAY - DAYS * DAY


def served(name: str) -> list[dict[str, Any]]:
    """Rows of raw_answers_v1: the whole conversation about BTC with the source's own server."""
    asked, rows = source(name), []
    talk = asked.pages("BTC", Interval(FIRST - 40 * DAY, NOW))
    request = next(talk, None)
    while request is not None:
        said = {key: str(value) for key, value in request.params.items()}
        text = orjson.dumps(asked.answer(Call("GET", request.path, said, None, NOW, {}))).decode()
        rows.append({
            "source": name, "entity": "BTC", "endpoint": request.endpoint, "request": request.text(),
            "request_hash": "", "market_time": NOW, "ingest_time": NOW, "ingest_run_id": "run", "payload": text,
            "payload_hash": hashlib.sha256(text.encode()).hexdigest(),
        })  # fmt: skip
        try:
            request = talk.send(Answer(text, NOW))
        except StopIteration:
            request = None
    return rows


@pytest.fixture(scope="module")
def told() -> pl.DataFrame:
    rows = pl.DataFrame([row for name in ("blockchaincom", "coingecko", "coinmetrics") for row in served(name)])
    found = candidates(rows.with_columns(pl.col("market_time", "ingest_time").cast(pl.Datetime("us", "UTC"))))
    return found.filter(pl.col("reason").is_null())


def columns(told: pl.DataFrame) -> dict[str, Floats]:
    times = FIRST + DAY * np.arange(DAYS - 1, dtype=np.int64)
    bars = np.ones((len(times), 5))
    matrix, _ = widened(CHAIN_1D, times, bars, observations(told, CHAIN_1D, "binance:BTC/USDT"))
    values = compute(CHAIN_1D, times, matrix)
    return {name: values[:, at] for at, name in enumerate(CHAIN_1D.feature_names)}


def test_nvt_and_mvrv_are_numbers_on_served_days(told: pl.DataFrame) -> None:
    found = columns(told)
    assert np.isfinite(found["mvrv_1"]).all()
    assert np.isfinite(found["nvt_28"][27:]).all()

    def known(metric: str, at: int) -> Floats:  # by the close of the last bar
        rows = told.filter(pl.col("metric") == metric, pl.col("available_time").dt.epoch("us") <= at)
        return rows.sort("event_time")["value"].to_numpy()

    close = FIRST + (DAYS - 1) * DAY
    assert found["mvrv_1"][-1] == known("mvrv", close)[-1]
    expected = known("market_cap_usd", close)[-1] / known("transfer_volume_usd", close)[-28:].mean()
    assert found["nvt_28"][-1] == pytest.approx(expected, rel=1e-12)


def test_without_transfer_volume_nvt_is_null_and_nothing_else_moves(told: pl.DataFrame) -> None:
    found, before = columns(told.filter(pl.col("metric") != "transfer_volume_usd")), columns(told)
    assert np.isnan(found["nvt_28"]).all()
    for name in set(found) - {"nvt_28"}:
        np.testing.assert_array_equal(found[name], before[name])
