"""Blockchain.com's transfer volume, in the format that its documentation shows."""

import pytest

from lake.intervals import DAY, Interval, parse_time
from lake.sources.blockchaincom import PATH, SOURCE
from lake.sources.source import Raw

# Two days as the documented answer has them; the second was not over when it was asked.
PAYLOAD = """{"status": "ok", "name": "Estimated Transaction Value (USD)", "unit": "USD", "period": "day",
 "values": [{"x": 1709942400, "y": 1.46277E7}, {"x": 1710028800, "y": 188330}]}"""
NOW = parse_time("2024-04-20T12:00Z")


def test_a_day_is_told_when_it_is_over_and_not_before() -> None:
    asked = parse_time("2024-03-10T06:00Z")
    told = list(SOURCE.parse(Raw("BTC", "transfer-volume", "{}", PAYLOAD, asked)))
    assert [(o.metric, o.event_time, o.value) for o in told] == [
        ("transfer_volume_usd", parse_time("2024-03-10"), 14_627_700.0)
    ]
    later = list(SOURCE.parse(Raw("BTC", "transfer-volume", "{}", PAYLOAD, asked + DAY)))
    assert [o.value for o in later] == [14_627_700.0, 188_330.0]


def test_another_shape_is_an_error_of_the_parser() -> None:
    with pytest.raises(LookupError):
        list(SOURCE.parse(Raw("BTC", "transfer-volume", "{}", '{"status": "not-found"}', 0)))


def test_every_day_of_the_interval_is_asked_for_unsampled() -> None:
    (request,) = SOURCE.pages("BTC", Interval(NOW - 2000 * DAY, NOW))
    assert (request.path, request.params["sampled"]) == (PATH, "false")
    assert int(request.params["timespan"].removesuffix("days")) >= 2000
