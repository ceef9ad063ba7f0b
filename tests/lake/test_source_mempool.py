"""mempool.space, the worked example of docs/sources.md."""

import pytest

from lake.intervals import DAY, parse_time
from lake.sources.mempool import SOURCE
from lake.sources.source import Raw

# A day of 2024 as the address in `docs` shows it, and the day that was not over when it was asked.
PAYLOAD = """{"hashrates": [{"timestamp": 1709942400, "avgHashrate": 5.912e20},
 {"timestamp": 1710028800, "avgHashrate": 1.1e20}], "currentHashrate": 5.8e20, "currentDifficulty": 7.9e13}"""


def test_a_day_is_told_when_it_is_over_and_not_before() -> None:
    asked = parse_time("2024-03-10T06:00Z")
    told = list(SOURCE.parse(Raw("BTC", "hashrate", "{}", PAYLOAD, asked)))
    assert [(o.event_time, o.value, o.unit) for o in told] == [(parse_time("2024-03-10"), 5.912e20, "H/s")]
    later = list(SOURCE.parse(Raw("BTC", "hashrate", "{}", PAYLOAD, asked + DAY)))
    assert [o.value for o in later] == [5.912e20, 1.1e20]


def test_another_shape_is_an_error_of_the_parser() -> None:
    with pytest.raises(LookupError):
        list(SOURCE.parse(Raw("BTC", "hashrate", "{}", '{"error": "gone"}', 0)))
