"""Batch and live are one function: equal to the last bit, across gaps, week boundaries, restarts and processes."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walks import BAR, MONDAY, WEEK_BARS, every_service, same_bits, walk, wide_walk

from feature_store.errors import BarsRefused
from feature_store.period import WARM_UP_BARS
from feature_store.scan import Stream, compute, compute_period
from feature_store.service import DEFAULT, FeatureService
from feature_store.view import CLOSE, VOLUME, Floats, Times
from lake.intervals import WEEK


def replay(stream: Stream, times: Times, bars: Floats) -> Floats:
    return np.array([stream.update(int(time), bar) for time, bar in zip(times, bars, strict=True)])


@every_service
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    missing=st.sampled_from([0.0, 0.01, 0.2]),
    offset=st.integers(0, WEEK_BARS),
    seeded=st.floats(0, 1),
)
def test_a_stream_gives_the_bits_of_compute(
    service: FeatureService, seed: int, missing: float, offset: int, seeded: float
) -> None:
    times, bars = wide_walk(service, 2 * WEEK_BARS + 700, seed, missing=missing, start=MONDAY + offset * BAR)
    batch = compute(service, times, bars)
    split = int(seeded * len(times))
    stream = Stream(service)
    assert same_bits(stream.seed(times[:split], bars[:split]), batch[:split])
    assert same_bits(replay(stream, times[split:], bars[split:]).reshape(-1, batch.shape[1]), batch[split:])


@every_service
def test_a_stream_survives_an_outage_longer_than_the_warm_up_and_than_a_week(service: FeatureService) -> None:
    times, bars = wide_walk(service, 6 * WEEK_BARS, seed=11)
    kept = np.ones(len(times), dtype=bool)
    kept[WEEK_BARS - 450 : WEEK_BARS + 3] = False  # over a boundary
    kept[2 * WEEK_BARS - 600 : 4 * WEEK_BARS + 5] = False  # a whole week and more than the warm-up
    times, bars = times[kept], bars[kept]
    assert same_bits(replay(Stream(service), times, bars), compute(service, times, bars))


@every_service
def test_a_stream_seeded_from_the_scan_start_gives_the_bits_of_the_whole_history(service: FeatureService) -> None:
    times, bars = wide_walk(service, 4 * WEEK_BARS, seed=2)
    batch = compute(service, times, bars)
    for row in (3 * WEEK_BARS, 3 * WEEK_BARS + 1, 3 * WEEK_BARS + 1_500):
        first = np.searchsorted(times, service.periods.scan_start(int(times[row])))
        assert times[first] == MONDAY + 3 * WEEK - WARM_UP_BARS * BAR
        stream = Stream(service)
        stream.seed(times[first:row], bars[first:row])
        assert same_bits(replay(stream, times[row : row + 700], bars[row : row + 700]), batch[row : row + 700])


@every_service
def test_a_period_computed_alone_gives_the_bits_of_the_whole_history(service: FeatureService) -> None:
    times, bars = wide_walk(service, 3 * WEEK_BARS + 100, seed=4, missing=0.05)
    batch = compute(service, times, bars)
    for start in range(MONDAY, MONDAY + 4 * WEEK, WEEK):
        used = (times >= start - WARM_UP_BARS * BAR) & (times < start + WEEK)
        rows = (times >= start) & (times < start + WEEK)
        assert same_bits(compute_period(service, times[used], bars[used], start), batch[rows])
        assert same_bits(compute_period(service, times, bars, start), batch[rows]), "bars outside are not looked at"


@every_service
def test_values_depend_on_their_fixed_set_of_bars_alone(service: FeatureService) -> None:
    times, bars = wide_walk(service, 3 * WEEK_BARS, seed=6)
    batch = compute(service, times, bars)
    other = bars.copy()
    other[: 2 * WEEK_BARS - WARM_UP_BARS] *= 3.0
    assert same_bits(compute(service, times, other)[2 * WEEK_BARS :], batch[2 * WEEK_BARS :])
    drift = np.linspace(1.0, 1.1, WEEK_BARS + WARM_UP_BARS)[:, None]
    other[2 * WEEK_BARS - WARM_UP_BARS :, :VOLUME] *= drift
    other[2 * WEEK_BARS - WARM_UP_BARS :, VOLUME + 1 :] *= drift**2
    assert not same_bits(compute(service, times, other)[2 * WEEK_BARS :], batch[2 * WEEK_BARS :])


@every_service
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, WEEK_BARS + 900))
def test_later_bars_change_no_earlier_feature(service: FeatureService, seed: int, cut: int) -> None:
    times, bars = wide_walk(service, WEEK_BARS + 900, seed, start=MONDAY + 100 * BAR)
    assert same_bits(compute(service, times[:cut], bars[:cut]), compute(service, times, bars)[:cut])


@every_service
def test_a_stream_goes_on_bit_for_bit_where_it_was_saved(service: FeatureService) -> None:
    times, bars = wide_walk(service, 2 * WEEK_BARS, seed=8)
    stream = Stream(service)
    stream.seed(times[:1_000], bars[:1_000])
    saved = stream.save()
    first = replay(stream, times[1_000:2_600], bars[1_000:2_600])
    again = Stream(service)
    again.restore(saved)
    assert again.next_open_time == times[1_000]
    assert same_bits(replay(again, times[1_000:2_600], bars[1_000:2_600]), first)


@every_service
def test_the_interpreter_and_another_process_give_the_same_bits(service: FeatureService) -> None:
    program = (
        "import sys, hashlib; sys.path.insert(0, 'tests/feature_store')\n"
        "from walks import wide_walk; from feature_store.scan import compute\n"
        "from feature_store.service import services\n"
        f"service = services()[{service.name.partition('@')[0]!r}].at('5m')\n"
        "values = compute(service, *wide_walk(service, 700, seed=9, missing=0.02))\n"
        "print(hashlib.sha256(values.tobytes()).hexdigest())"
    )
    expected = hashlib.sha256(compute(service, *wide_walk(service, 700, seed=9, missing=0.02)).tobytes()).hexdigest()
    for disabled in ("0", "1"):  # with 1 every index is checked by Python: a kernel that leaves its state would fail
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        found = subprocess.run(
            [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        assert found.stdout.strip() == expected, f"NUMBA_DISABLE_JIT={disabled}"


def test_a_gap_is_told_before_it_is_accepted() -> None:
    times, bars = walk(10)
    stream = Stream(DEFAULT)
    assert stream.next_open_time is None
    stream.seed(times[:5], bars[:5])
    assert stream.next_open_time == times[5]
    stream.update(int(times[7]), bars[7])
    assert stream.next_open_time == times[8]


@pytest.mark.parametrize(
    ("time", "change", "why"),
    [
        (4, {}, "out of order"),
        (3, {}, "out of order"),
        (5.5, {}, "5m grid"),
        (5, {CLOSE: float("nan")}, "finite"),
        (5, {CLOSE: 0.0}, "above zero"),
        (5, {VOLUME: -1.0}, "not below"),
        (5, {VOLUME: float("inf")}, "finite"),
    ],
)
def test_a_refused_bar_leaves_the_stream_as_it_was(time: float, change: dict[int, float], why: str) -> None:
    times, bars = walk(600)
    stream, untouched = Stream(DEFAULT), Stream(DEFAULT)
    for one in (stream, untouched):
        one.seed(times[:5], bars[:5])
    bad = bars[5].copy()
    for place, value in change.items():
        bad[place] = value
    with pytest.raises(BarsRefused, match=why):
        stream.update(MONDAY + int(time * BAR), bad)
    assert same_bits(replay(stream, times[5:], bars[5:]), replay(untouched, times[5:], bars[5:]))


def test_bars_that_break_the_contract_are_refused_by_name() -> None:
    times, bars = walk(10)
    with pytest.raises(ValueError, match=r"sorted, each once; the bar of 2024-01-01T00:20:00Z \(row 5\)"):
        compute(DEFAULT, np.insert(np.delete(times, 4), 5, times[4]), bars)
    with pytest.raises(BarsRefused, match=r"times \[n\] and bars \[n, 5\], found \(10,\) and \(10, 4\)"):
        compute(DEFAULT, times, bars[:, :4])
    with pytest.raises(BarsRefused, match=r"row 9"):
        compute(DEFAULT, times, np.vstack([bars[:9], [[1, 1, 1, -1, 0]]]))
    with pytest.raises(BarsRefused, match="starts no period"):
        compute_period(DEFAULT, times, bars, MONDAY + BAR)


def test_an_array_to_fill_is_filled_with_the_same_bits_and_another_shape_refused() -> None:
    times, bars = walk(WEEK_BARS + 900, seed=8)
    out = np.full((len(times), len(DEFAULT.feature_names)), 7.0)
    assert compute(DEFAULT, times, bars, out) is out
    assert same_bits(out, compute(DEFAULT, times, bars))
    for wrong in (out[1:], out.astype(np.float32), np.asfortranarray(out)):
        with pytest.raises(BarsRefused, match="expected a writable, contiguous float64"):
            compute(DEFAULT, times, bars, wrong)


def test_a_bar_far_inside_a_long_history_is_refused() -> None:
    times, bars = walk(10_000, seed=8)
    bars[9_000, CLOSE] = np.nan
    with pytest.raises(BarsRefused, match="row 9000"):
        compute(DEFAULT, times, bars)


def test_no_bars_give_no_rows() -> None:
    nothing = compute(DEFAULT, np.empty(0, np.int64), np.empty((0, 5)))
    assert nothing.shape == (0, len(DEFAULT.feature_names))
    assert Stream(DEFAULT).seed(np.empty(0, np.int64), np.empty((0, 5))).shape == nothing.shape


def test_a_state_of_another_service_is_refused() -> None:
    saved = Stream(DEFAULT.at("15m")).save()
    with pytest.raises(BarsRefused, match="Seed the stream instead"):
        Stream(DEFAULT).restore(saved)
