"""The position rule: hand-worked cases, properties, and that it stays cheap to import."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import ContractViolated
from market.policy import PolicyParameters, desired_weight, target_weight

COST = 0.0005
PARAMETERS = PolicyParameters(full_weight_return=0.001, band=0.1)
predictions = st.floats(-0.05, 0.05)
weights = st.floats(0, 1.2)
policies = st.builds(PolicyParameters, st.floats(1e-5, 0.01), st.floats(0, 0.5), st.floats(0, 0.9))


def net(gross: float) -> float:
    return gross - 2 * COST


@pytest.mark.parametrize(
    ("gross", "desired"), [(-0.002, 0.0), (-0.001, 0.0), (-0.0005, 0.25), (0.0, 0.5), (0.0005, 0.75), (0.001, 1.0)]
)
def test_the_desired_weight_is_linear_in_the_gross_return(gross: float, desired: float) -> None:
    assert desired_weight(gross, PARAMETERS) == pytest.approx(desired)


@pytest.mark.parametrize(("gross", "desired"), [(-0.0001, 0.0), (0.0, 0.0), (0.0005, 0.5), (0.002, 1.0)])
def test_without_a_neutral_weight_only_gains_are_held(gross: float, desired: float) -> None:
    assert desired_weight(gross, PolicyParameters(0.001, 0.1, neutral_weight=0.0)) == pytest.approx(desired)


@pytest.mark.parametrize(
    ("current", "target"),
    [(0.0, 0.4), (0.35, 0.4), (0.4, 0.4), (0.45, 0.45), (0.6, 0.6), (0.65, 0.6), (1.0, 0.6)],
)
def test_the_position_moves_only_to_the_nearest_edge_of_the_band(current: float, target: float) -> None:
    assert target_weight(net(0.0), current, PARAMETERS, COST) == pytest.approx(target)


def test_prices_that_carry_a_full_position_past_one_force_no_order_inside_the_band() -> None:
    assert target_weight(net(0.001), 1.08, PARAMETERS, COST) == 1.08
    assert target_weight(net(0.001), 1.2, PARAMETERS, COST) == 1.0


def test_everything_is_sold_when_nothing_is_desired() -> None:
    assert target_weight(net(-0.001), 0.03, PARAMETERS, COST) == 0.0


def test_a_prediction_that_is_not_finite_changes_nothing() -> None:
    for prediction in (float("nan"), float("inf"), float("-inf")):
        assert target_weight(prediction, 0.37, PARAMETERS, COST) == 0.37


@given(predictions, weights, policies)
def test_the_target_is_a_long_flat_weight_within_the_band(
    prediction: float, current: float, policy: PolicyParameters
) -> None:
    target = target_weight(prediction, current, policy, COST)
    desired = desired_weight(prediction + 2 * COST, policy)
    assert target == current or 0.0 <= target <= 1.0
    assert abs(target - desired) <= policy.band + 1e-12


@given(predictions, weights, policies)
def test_applying_the_rule_twice_changes_nothing_more(
    prediction: float, current: float, policy: PolicyParameters
) -> None:
    once = target_weight(prediction, current, policy, COST)
    assert target_weight(prediction, once, policy, COST) == pytest.approx(once, abs=1e-12)


@given(predictions, predictions, weights, policies)
def test_a_better_prediction_never_holds_less(a: float, b: float, current: float, policy: PolicyParameters) -> None:
    low, high = sorted((a, b))
    assert target_weight(low, current, policy, COST) <= target_weight(high, current, policy, COST) + 1e-12


@given(policies)
def test_parameters_survive_the_manifest(policy: PolicyParameters) -> None:
    assert PolicyParameters.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"full_weight_return": 0.001, "band": 0.1},
        {"full_weight_return": 0.001, "band": 0.1, "neutral_weight": 0.5, "leverage": 3},
        {"full_weight_return": 0.0, "band": 0.1, "neutral_weight": 0.5},
        {"full_weight_return": float("nan"), "band": 0.1, "neutral_weight": 0.5},
        {"full_weight_return": 0.001, "band": 1.5, "neutral_weight": 0.5},
        {"full_weight_return": 0.001, "band": 0.1, "neutral_weight": 1.0},
        {"full_weight_return": "much", "band": 0.1, "neutral_weight": 0.5},
    ],
)
def test_a_manifest_with_other_parameters_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ContractViolated, match="policy"):
        PolicyParameters.from_dict(values)


def test_importing_the_rule_loads_no_numeric_package() -> None:
    code = "import sys, market.policy; print([m for m in ('numpy', 'numba', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
