"""Queue positions: what trades and cancellations do to the lots ahead, model by model."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import UsageError
from market.queues import NAMES, QueueModel, front_from, parse_queue, share_behind


def test_names_are_read_back() -> None:
    assert [parse_queue(name).kind for name in NAMES] == list(range(len(NAMES)))
    assert parse_queue("power3:2.5") == QueueModel(3, 2.5)
    assert [parse_queue(text).text for text in ("log", "power:3")] == ["log", "power:3"]
    for bad in ("fifo", "power:x", "power:-1", "power:inf"):
        with pytest.raises(UsageError, match="risk_averse"):
            parse_queue(bad)


def test_cancellations_move_nobody_forward_who_is_averse_to_risk() -> None:
    averse = parse_queue("risk_averse")
    assert front_from(averse, 60.0, 0.0, 100, 80) == 60.0
    assert front_from(averse, 60.0, 0.0, 100, 40) == 40.0  # no more can be ahead than is there


def test_shares_follow_the_formulas() -> None:
    def behind(text: str, front: float, back: float) -> float:
        model = parse_queue(text)
        return float(share_behind(model.kind, model.exponent, front, back))

    assert behind("power:1", 30.0, 10.0) == pytest.approx(0.25)
    assert behind("power:2", 30.0, 10.0) == pytest.approx(0.1)
    assert behind("power2:2", 30.0, 10.0) == pytest.approx(1 / 16)
    assert behind("power3:3", 30.0, 10.0) == pytest.approx(1 - 0.75**3)
    assert behind("log", 30.0, 10.0) == pytest.approx(math.log(11) / (math.log(11) + math.log(31)))
    assert behind("log2", 30.0, 10.0) == pytest.approx(math.log(11) / math.log(41))


def test_even_cancellations_shrink_what_is_ahead_in_proportion() -> None:
    # 60 ahead and 40 behind; 20 cancelled, of which 12 were ahead.
    assert front_from(parse_queue("power:1"), 60.0, 0.0, 100, 80) == pytest.approx(48.0)


def test_a_trade_is_not_taken_off_twice() -> None:
    # 30 of the fall from 100 to 70 were trades, which have already taken 60 to 30.
    assert front_from(parse_queue("power:1"), 30.0, 30.0, 100, 70) == 30.0


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*NAMES, "power:3", "power3:0.5"]), st.integers(0, 500), st.integers(0, 500), st.integers(0, 1_000),
    st.floats(0, 1),
)  # fmt: skip
def test_the_front_never_grows_and_fits_what_is_left(
    name: str, before: int, ahead: int, now: int, traded: float
) -> None:
    front = float(min(ahead, before))
    gone = traded * min(front, max(before - now, 0))
    averse = front_from(parse_queue("risk_averse"), front, gone, before, now)
    after = front_from(parse_queue(name), front, gone, before, now)
    assert 0.0 <= after <= min(front, now) + 1e-9
    assert after <= averse + 1e-9  # nothing is more pessimistic
