"""Latencies: what is asked for is met, nothing overtakes, and luck depends on the seed alone."""

from pathlib import Path

import numpy as np
import pytest

from lake.errors import BadInput, UsageError
from market.latency import ack_delay, duration_us, entry_delay, parse_latency


def test_durations_have_units() -> None:
    assert [duration_us(text) for text in ("250us", "5ms", "0.2s", "1.5µs")] == [250, 5_000, 200_000, 2]
    for bad in ("5", "-1ms", "xms", "ms", "nans"):
        with pytest.raises(UsageError, match="duration"):
            duration_us(bad)


def test_parts_are_set_by_name_and_a_bare_duration_is_all_three() -> None:
    delays = parse_latency("3ms").delays()
    assert (entry_delay(delays, 0, 0), ack_delay(delays, 7, 9)) == (3_000, 3_000)
    delays = parse_latency("entry=5ms,ack=1ms").delays()
    assert (entry_delay(delays, 0, 0), ack_delay(delays, 0, 0)) == (5_000, 1_000)
    for bad in ("way=1ms", "feed=1ms,feed=2ms", "entry=lognormal:1ms", "uniform:1ms", "feed"):
        with pytest.raises(UsageError):
            parse_latency(bad)


@pytest.mark.parametrize(
    ("text", "median", "high"),
    [("uniform:1ms:3ms", 2_000, 2_900), ("lognormal:5ms:0.5", 5_000, 11_400), ("normal:5ms:1ms", 5_000, 6_645),
     ("exponential:1ms:2ms", 2_386, 6_990)],
)  # fmt: skip
def test_draws_have_the_distribution_asked_for(text: str, median: float, high: float) -> None:
    delays = parse_latency(f"entry={text}").delays()
    drawn = [entry_delay(delays, 0, number) for number in range(20_000)]
    assert np.median(drawn) == pytest.approx(median, rel=0.03)
    assert np.quantile(drawn, 0.95) == pytest.approx(high, rel=0.05)
    again = [entry_delay(delays, 0, number) for number in range(100)]
    other = parse_latency(f"entry={text}", seed=2).delays()
    assert again == drawn[:100] != [entry_delay(other, 0, number) for number in range(100)]


def test_measured_latencies_are_interpolated_by_the_time_of_the_order(tmp_path: Path) -> None:
    file = tmp_path / "probes.csv"
    file.write_text("sent,arrived,answered\n" + "\n".join(
        f"{1_700_000_000_000_000 + at},{1_700_000_000_000_000 + at + out},{1_700_000_000_000_000 + at + out + back}"
        for at, out, back in ((0, 1_000, 500), (1_000_000, 3_000, 1_500))
    ))  # fmt: skip
    delays = parse_latency(str(file)).delays()
    times = [1_700_000_000_000_000 + at for at in (-5, 0, 500_000, 1_000_000, 9_000_000)]
    assert [entry_delay(delays, time, 3) for time in times] == [1_000, 1_000, 2_000, 3_000, 3_000]
    assert [ack_delay(delays, time, 3) for time in times] == [500, 500, 1_000, 1_500, 1_500]
    for bad in ("sent,arrived\n1,2\n", "sent,arrived,answered\n5,4,6\n", "sent,arrived,answered\n"):
        file.write_text(bad)
        with pytest.raises(BadInput, match="expected"):
            parse_latency(str(file))


def test_the_feed_keeps_its_order_and_never_arrives_early() -> None:
    times = np.sort(np.random.default_rng(1).integers(0, 10**7, 2_000))
    heard = parse_latency("feed=exponential:1ms:20ms").feed_times(times, times)
    assert (np.diff(heard) >= 0).all() and (heard - times >= 1_000).all() and (heard - times).max() > 50_000
    same = times[:-1] == times[1:]
    assert (heard[:-1][same] == heard[1:][same]).all()  # one message


def test_recorded_delays_lose_the_recorders_clock_error() -> None:
    times = np.array([0, 1_000, 2_000, 3_000])
    received = times - 1_270_000 + np.array([0, 400, 100, 50])
    assert parse_latency("feed=recorded:2ms").feed_times(times, received).tolist() == [2_000, 3_400, 4_100, 5_050]


def test_later_delays_orders_alone() -> None:
    later = parse_latency("feed=1ms,entry=2ms,ack=3ms").later(50_000)
    assert (later.feed, later.entry, later.ack) == ((1_000,), (52_000,), (3_000,))
