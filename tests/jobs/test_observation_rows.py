"""From answers to observations: judged alone, folded in the order of knowledge, never known before their time."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import polars as pl
import pytest

from jobs import observation_rows
from jobs.observation_rows import candidates, kernel
from lake.intervals import DAY, HOUR, SECOND, parse_time, to_datetime
from lake.sources.registry import sources
from lake.sources.source import Metric, Observation
from lake.tables import OBSERVATIONS
from tests.jobs.test_answer_drift import answers

DAY_1 = parse_time("2024-03-01")


def answer(source: str, entity: str, endpoint: str, payload: Any, clock: int, **params: Any) -> dict[str, Any]:
    text = payload if isinstance(payload, str) else orjson.dumps(payload).decode()
    return {
        "source": source, "entity": entity, "endpoint": endpoint, "payload": text,
        "request": orjson.dumps({"params": params}).decode(), "market_time": to_datetime(clock),
        "payload_hash": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip


def coinmetrics(clock: int, **values: Any) -> dict[str, Any]:
    """AdrActCnt of the days of March 2024: `d1="5"` is the first."""
    rows = [
        {"asset": "btc", "time": f"2024-03-{int(day[1:]):02d}T00:00:00.000000000Z", "AdrActCnt": value}
        for day, value in values.items()
    ]
    return answer("coinmetrics", "BTC", "asset-metrics", {"data": rows}, clock)


def built(*answers: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Standing, superseded and refused rows."""
    rows = kernel(pl.DataFrame(list(answers)))
    superseded = pl.col("superseded_time").is_not_null() if "superseded_time" in rows.columns else pl.lit(False)
    good = rows.filter(pl.col("reason").is_null())
    bad = rows.filter(pl.col("reason").is_not_null())
    return good.filter(~superseded), good.filter(superseded), bad


def test_a_number_counts_from_the_end_of_its_day_plus_the_declared_delay() -> None:
    standing, superseded, refused = built(coinmetrics(DAY_1 + 9 * DAY, d1="5", d2="7"))
    assert standing["value"].to_list() == [5.0, 7.0]
    assert standing["event_time"].dt.epoch("us").to_list() == [DAY_1 + DAY, DAY_1 + 2 * DAY]
    assert (standing["available_time"] - standing["event_time"]).unique().to_list() == [timedelta(hours=12)]
    assert standing["unit"].unique().to_list() == ["count"]
    assert superseded.is_empty() and refused.is_empty()


def test_a_correction_counts_from_when_it_was_told_and_the_older_number_becomes_history() -> None:
    first, later = coinmetrics(DAY_1 + 2 * DAY, d1="5", d2=None), coinmetrics(DAY_1 + 8 * DAY, d1="6")
    for order in ((first, later), (later, first), (later, first, later)):
        standing, superseded, refused = built(*order)
        assert standing["value"].to_list() == [6.0]
        assert standing["available_time"].dt.epoch("us").to_list() == [DAY_1 + 8 * DAY]
        assert superseded["value"].to_list() == [5.0]
        assert superseded["available_time"].dt.epoch("us").to_list() == [DAY_1 + DAY + 12 * HOUR]
        assert superseded["superseded_time"].dt.epoch("us").to_list() == [DAY_1 + 8 * DAY]
        assert refused.is_empty()


def test_what_was_known_at_any_time_does_not_depend_on_later_answers() -> None:
    answers = [coinmetrics(DAY_1 + n * DAY, d1=str(n // 3), d2=str(n // 4)) for n in range(3, 12)]
    whole = pl.concat([*built(*answers)[:2]], how="diagonal_relaxed")
    for cut in range(4, 12):
        time = to_datetime(DAY_1 + cut * DAY)
        then = [a for a in answers if a["market_time"] <= time]
        knew = pl.concat([*built(*then)[:2]], how="diagonal_relaxed").filter(pl.col("available_time") <= time)
        now_says = whole.filter(pl.col("available_time") <= time)
        columns = ["entity", "metric", "event_time", "available_time", "value"]
        assert now_says.select(columns).sort(columns).equals(knew.select(columns).sort(columns))


def test_a_number_about_the_future_is_refused() -> None:
    _, _, refused = built(coinmetrics(DAY_1 + 5 * HOUR, d1="5"))
    assert refused["reason"].to_list() == ["about a time after the source's clock"]


def test_an_answer_that_cannot_be_read_is_kept_aside_and_touches_nothing_else() -> None:
    broken = [
        answer("coinmetrics", "BTC", "asset-metrics", "<html>maintenance</html>", DAY_1 + 5 * DAY),
        answer("coinmetrics", "BTC", "asset-metrics", {"data": [{"asset": "btc"}]}, DAY_1 + 5 * DAY),
        answer("coinmetrics", "BTC", "asset-metrics", [1, 2], DAY_1 + 5 * DAY),
    ]
    standing, _, refused = built(coinmetrics(DAY_1 + 3 * DAY, d1="5"), *broken)
    assert standing.height == 1
    assert refused.height == 3
    assert all(reason.startswith("answer cannot be read") for reason in refused["reason"])


def test_a_number_outside_its_declared_range_or_not_finite_is_refused() -> None:
    _, _, refused = built(coinmetrics(DAY_1 + 9 * DAY, d1="-5", d2="nan", d3="inf"))
    assert refused.height == 3
    assert any("outside [0, ∞]" in reason for reason in refused["reason"])
    assert any("not finite" in reason for reason in refused["reason"])


def test_a_feed_that_stands_still_is_refused_from_the_declared_repetition_on() -> None:
    rows = [{"date": (DAY_1 + n * DAY) // SECOND, "tvl": 5.0 + (n < 3)} for n in range(30)]
    told = answer("defillama", "chain/X", "chain", rows, DAY_1 + 40 * DAY)
    standing, _, refused = built(told)
    assert standing.height == 3 + 11
    assert refused.height == 16
    assert "frozen feed" in refused["reason"][0]
    earlier = answer("defillama", "chain/X", "chain", rows[:20], DAY_1 + 40 * DAY)
    kept = built(earlier)[0].select("event_time", "value")
    assert kept.equals(standing.select("event_time", "value")), "what comes later never changes a row's fate"


def test_units_are_converted_by_declaration_and_never_guessed() -> None:
    data = {"market_cap_percentage": {"btc": 52.0}, "updated_at": DAY_1 // SECOND}
    data |= {"total_market_cap": {"usd": 1.0}, "total_volume": {"usd": 1.0}}
    told = answer("coingecko", "global", "global", {"data": data}, DAY_1 + HOUR)
    share = built(told)[0].filter(pl.col("metric") == "dominance")
    assert share.select("entity", "value", "unit").row(0) == ("BTC", pytest.approx(0.52), "fraction")


def test_a_vintage_counts_from_the_day_after_its_publication() -> None:
    rows = [
        {"realtime_start": "2024-03-12", "realtime_end": "2024-04-09", "date": "2024-02-01", "value": "311.0"},
        {"realtime_start": "2024-04-10", "realtime_end": "9999-12-31", "date": "2024-02-01", "value": "311.5"},
        {"realtime_start": "2024-04-10", "realtime_end": "9999-12-31", "date": "2024-03-01", "value": "."},
    ]
    told = answer(
        "fred", "macro/CPIAUCSL", "observations", {"observations": rows}, DAY_1 + 90 * DAY, realtime_start="2023-01-01"
    )
    standing, superseded, _ = built(told)
    assert superseded["value"].to_list() == [311.0]
    assert standing["value"].to_list() == [311.5]
    assert standing["event_time"].dt.epoch("us").to_list() == [parse_time("2024-03-01")]
    assert superseded["available_time"].dt.epoch("us").to_list() == [parse_time("2024-03-13T05:00")]
    assert standing["available_time"].dt.epoch("us").to_list() == [parse_time("2024-04-11T05:00")]


def test_no_answer_at_all_is_no_row() -> None:
    empty = candidates(pl.DataFrame([coinmetrics(DAY_1)]).clear())
    assert empty.is_empty()
    assert set(OBSERVATIONS.schema.names) <= set(empty.columns)


def test_a_restated_number_counts_from_the_first_answer_that_told_it() -> None:
    def flows(clock: int, value: str) -> dict[str, Any]:
        row = {"asset": "btc", "time": "2024-03-01T00:00:00.000000000Z", "AdrActCnt": "5", "FlowInExNtv": value}
        return answer("coinmetrics", "BTC", "asset-metrics", {"data": [row]}, clock)

    late = flows(DAY_1 + 9 * DAY, "70")
    standing, _, _ = built(late)
    known = dict(standing.select("metric", pl.col("available_time").dt.epoch("us")).iter_rows())
    assert known == {"active_addresses": DAY_1 + DAY + 12 * HOUR, "exchange_inflow": DAY_1 + 9 * DAY}

    early = flows(DAY_1 + DAY + HOUR, "60")  # within the publication delay: the delay still holds
    for order in ((early, late), (late, early)):
        standing, superseded, _ = built(*order)
        now = standing.filter(metric="exchange_inflow")
        assert now.select("value", pl.col("available_time").dt.epoch("us")).rows() == [(70.0, DAY_1 + 9 * DAY)]
        assert superseded.select("value", pl.col("available_time").dt.epoch("us")).rows() == [
            (60.0, DAY_1 + DAY + 12 * HOUR)
        ]


def test_no_restated_number_of_any_source_leaks_into_the_time_before_it_was_fetched() -> None:
    tried = 0
    for source in sources().values():
        wanted = {metric.name for metric in source.metrics if metric.restated}
        if not wanted:
            continue
        for told in answers(source.name):
            rows = candidates(pl.DataFrame([told])).filter(pl.col("reason").is_null(), pl.col("metric").is_in(wanted))
            assert (rows["available_time"] >= rows["market_time"]).all()
            tried += rows.height
    assert tried > 30


def test_a_number_that_its_source_dates_keeps_that_date_though_restated() -> None:
    declared = replace(Metric("policy_rate", "fraction", 2 * DAY, ""), restated=True)
    dated = Observation("macro/DFF", "policy_rate", DAY_1, 0.05, known_time=DAY_1 + DAY)
    row = observation_rows._judged(dated, declared, DAY_1 + 300 * DAY)
    assert row["available_time"] == row["market_time"] == DAY_1 + DAY
