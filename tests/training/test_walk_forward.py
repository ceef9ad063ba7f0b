"""No look-ahead: nothing that happens later changes an earlier number, and a planted leak shows at once."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_markets import simulated_panel

from training import models, walk_forward
from training.panel import Panel, Samples, complete_windows, samples
from training.splits import WalkForward

PLAN = WalkForward(first_train_days=10, fold_days=5, min_test_days=10)
GBM = models.model("gbm")
CONFIG = replace(GBM.Config(), trees=20, min_leaf_rows=100)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated_panel(51, days=28)[0]


def with_future(panel: Panel, bar: int, seed: int = 0) -> Panel:
    """The same panel up to and including `bar`; after it, other prices and other features."""
    rng = np.random.default_rng(seed)
    features, opens = panel.features.copy(), panel.opens.copy()
    features[:, bar + 1 :] = rng.permutation(features[:, bar + 1 :], axis=1) * 1.7
    opens[:, bar + 1 :] *= np.exp(rng.normal(0.0, 0.05, opens[:, bar + 1 :].shape))
    return replace(panel, features=features, opens=opens)


def test_altering_the_future_changes_no_earlier_prediction_policy_or_day(panel: Panel) -> None:
    run = walk_forward.run(panel, GBM, CONFIG, 1, 1, PLAN)
    boundary = run.folds[1].fold.test_start  # the second fold's first decision
    other = walk_forward.run(with_future(panel, boundary - 1), GBM, CONFIG, 1, 1, PLAN)
    np.testing.assert_array_equal(run.predictions[:, :boundary], other.predictions[:, :boundary])
    assert run.folds[0].policy == other.folds[0].policy
    day = panel.open_times[boundary]
    # the last day before the boundary is marked to market at the first open of the future
    np.testing.assert_array_equal(
        run.candidate.returns[run.candidate.days < day][:-1], other.candidate.returns[other.candidate.days < day][:-1]
    )
    assert not np.array_equal(run.predictions[:, boundary:], other.predictions[:, boundary:], equal_nan=True)


def test_the_second_fold_trains_on_nothing_of_its_own_test_block(panel: Panel) -> None:
    run = walk_forward.run(panel, GBM, CONFIG, 1, 1, PLAN)
    fold = run.folds[1].fold
    # labels in training end before the embargo; so prices from there on may change without changing the fold's model
    other = with_future(panel, fold.test_start - 1)
    kept = replace(other, features=panel.features)  # the model sees the same rows, only the outcomes differ
    again = walk_forward.run(kept, GBM, CONFIG, 1, 1, PLAN)
    block = slice(fold.test_start, fold.test_stop)
    np.testing.assert_array_equal(run.predictions[:, block], again.predictions[:, block])
    assert run.folds[1].policy == again.folds[1].policy


def test_a_planted_leak_is_visible(panel: Panel) -> None:
    """A feature that knows the label scores far above anything honest: the evaluation would show such a mistake."""
    honest = walk_forward.run(panel, GBM, CONFIG, 1, 1, PLAN)
    column = panel.feature_names.index("volume_z_60")
    features = panel.features.copy()
    features[:, :, column] = np.nan_to_num(panel.labels) * 300.0
    leaking = walk_forward.run(replace(panel, features=features), GBM, CONFIG, 1, 1, PLAN)
    honest_score = max(result.correlation for result in honest.folds)
    assert min(result.correlation for result in leaking.folds) > 0.5 > honest_score
    assert leaking.candidate.returns.mean() > 5 * abs(honest.candidate.returns.mean())


def test_labels_shuffled_in_time_teach_nothing() -> None:
    panel, _ = simulated_panel(52, days=60)
    rng = np.random.default_rng(3)
    returns = np.diff(np.log(panel.opens), axis=1)
    shuffled = np.exp(np.cumsum(rng.permutation(returns, axis=1), axis=1)) * 100.0
    opens = np.concatenate([np.full((len(shuffled), 1), 100.0), shuffled], axis=1)
    run = walk_forward.run(replace(panel, opens=opens), GBM, CONFIG, 1, 1, WalkForward(30, 10, 20))
    assert abs(np.mean([result.correlation for result in run.folds])) < 0.05


def test_the_same_data_and_seed_give_the_same_predictions_on_one_thread_and_on_two(panel: Panel) -> None:
    one = walk_forward.run(panel, GBM, CONFIG, 7, 1, PLAN)
    two = walk_forward.run(panel, GBM, CONFIG, 7, 2, PLAN)
    np.testing.assert_array_equal(one.predictions, two.predictions)
    other = walk_forward.run(panel, GBM, CONFIG, 8, 1, PLAN)
    assert not np.array_equal(one.predictions, other.predictions, equal_nan=True)


def test_the_registered_model_has_seen_everything_up_to_the_purge(panel: Panel) -> None:
    seen: list[int] = []

    class Spy:
        NAME, WHY, Config = "spy", "counts rows", GBM.Config

        @staticmethod
        def fit(config: object, train: Samples, seed: int, threads: int) -> models.Fitted:
            seen.append(len(train))
            return GBM.fit(CONFIG, train, seed, threads)

    walk_forward.run(panel, Spy, CONFIG, 1, 1, PLAN)
    whole = samples(panel, 0, len(panel.open_times) - panel.lag - panel.horizon, stride=CONFIG.stride)
    assert seen == sorted(seen) and seen[-1] >= 0.99 * len(whole)


def test_samples_skip_rows_without_a_complete_window_or_a_label(panel: Panel) -> None:
    features = panel.features.copy()
    features[1, 3000] = np.nan
    holed = replace(panel, features=features)
    ready = complete_windows(holed, 24)
    assert not ready[1, 3000:3024].any() and ready[1, 2999] and ready[1, 3024]
    part = samples(holed, 2990, 3030, window=24)
    assert np.isfinite(part.features).all() and part.features.shape[1:] == (24, 18)
    assert len(part) == 6 * 40 - 24
