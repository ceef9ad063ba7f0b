"""Fractals, memory, entropy and levels against their formulas, written a second time, straight from the papers."""

import itertools

import numpy as np
import pytest
from walks import BAR, MONDAY, column, walk

from feature_store.scan import compute
from feature_store.service import CATALOGUE
from feature_store.view import CLOSE, HIGH, LOW, VOLUME, Floats

N = 1_200
ROWS = (*range(300, 330), 500, 777, 1_000, N - 1)


@pytest.fixture(scope="module", params=[40_000.0, 0.5])
def bars(request: pytest.FixtureRequest) -> Floats:
    return walk(N, seed=31, price=request.param)[1]


@pytest.fixture(scope="module")
def values(bars: Floats) -> Floats:
    return compute(CATALOGUE, walk(N)[0], bars)


def of(values: Floats, name: str) -> Floats:
    return column(values, name, CATALOGUE)


def returns(bars: Floats, row: int, length: int) -> Floats:
    """The last `length` log returns up to `row`."""
    return np.diff(np.log(bars[row - length : row + 1, CLOSE]))


def test_hurst_equals_the_rescaled_range_of_mandelbrot_and_wallis(bars: Floats, values: Floats) -> None:
    """Mandelbrot and Wallis, Robustness of the Rescaled Range R/S, 1969."""
    for row in ROWS:
        changes, points = returns(bars, row, 256), []
        for n in (16, 32, 64, 128, 256):
            blocks = changes.reshape(-1, n)
            profile = np.cumsum(blocks - blocks.mean(axis=1, keepdims=True), axis=1)
            profile = np.hstack([np.zeros((len(blocks), 1)), profile])
            points.append((n, np.mean(np.ptp(profile, axis=1) / blocks.std(axis=1))))
        sizes, ranges = np.log(np.array(points)).T
        assert of(values, "hurst_256")[row] == pytest.approx(np.polyfit(sizes, ranges, 1)[0], rel=1e-9)


def test_detrended_fluctuation_equals_that_of_peng(bars: Floats, values: Floats) -> None:
    """Peng et al., Mosaic Organization of DNA Nucleotides, 1994: the profile of the returns about their mean."""
    for row in ROWS:
        changes, points = returns(bars, row, 256), []
        profile = np.cumsum(changes - changes.mean())
        for n in (8, 16, 32, 64):
            boxes, x = profile.reshape(-1, n), np.arange(n)
            lines = [np.polyval(np.polyfit(x, box, 1), x) for box in boxes]
            points.append((n, np.sqrt(np.mean((boxes - lines) ** 2))))
        sizes, widths = np.log(np.array(points)).T
        assert of(values, "dfa_256")[row] == pytest.approx(np.polyfit(sizes, widths, 1)[0], rel=1e-9)


@pytest.mark.parametrize("step", [2, 12, 48])
def test_variance_ratio_equals_that_of_lo_and_mackinlay(bars: Floats, values: Floats, step: int) -> None:
    """Lo and MacKinlay, Stock Market Prices Do Not Follow Random Walks, 1988, equations 12a and 12b."""
    for row in ROWS:
        changes = returns(bars, row, 288)
        mean, n = changes.mean(), len(changes)
        long = np.convolve(changes, np.ones(step), "valid")
        m = step * (n - step + 1) * (1 - step / n)
        oracle = (np.sum((long - step * mean) ** 2) / m) / (np.sum((changes - mean) ** 2) / (n - 1))
        assert of(values, f"variance_ratio_{step}_288")[row] == pytest.approx(oracle, rel=1e-9)


def bits(symbols: Floats) -> float:
    shares = np.unique(symbols, return_counts=True)[1] / len(symbols)
    return float(-np.sum(shares * np.log2(shares)))


def test_entropies_equal_those_of_shannon(bars: Floats, values: Floats) -> None:
    for row in ROWS:
        assert of(values, "sign_entropy_60")[row] == pytest.approx(bits(np.sign(returns(bars, row, 60))), rel=1e-9)
        rises = (returns(bars, row, 122) > 0).astype(int)
        patterns = 4 * rises[:-2] + 2 * rises[1:-1] + rises[2:]
        assert len(patterns) == 120
        assert of(values, "sign_pattern_entropy_3_120")[row] == pytest.approx(bits(patterns), rel=1e-9)


def test_katz_dimension_equals_his_formula(bars: Floats, values: Floats) -> None:
    """Katz, Fractals and the Analysis of Waveforms, 1988, with L / n for the mean step; held at 4."""
    for row in range(59, N):
        x = bars[row - 59 : row + 1, CLOSE]
        path, reach, n = np.abs(np.diff(x)).sum(), np.abs(x - x[0]).max(), len(x) - 1
        oracle = min(np.log10(n) / (np.log10(n) + np.log10(reach / path)), 4.0)
        assert of(values, "katz_dimension_60")[row] == pytest.approx(oracle, rel=1e-9)
    rows = bars.copy()
    rows[:, CLOSE] *= np.array([1.0, 1.01, 1.0, 0.99])[np.arange(N) % 4]  # to and fro around the first close
    assert of(compute(CATALOGUE, walk(N)[0], rows), "katz_dimension_60")[-1] == 4.0


def test_higuchi_dimension_equals_his_formula(bars: Floats, values: Floats) -> None:
    """Higuchi, Approach to an Irregular Time Series on the Basis of the Fractal Theory, 1988."""
    for row in ROWS:
        x, lengths = bars[row - 127 : row + 1, CLOSE], []
        for k in range(1, 9):
            curves = []
            for m in range(k):
                curve = x[m::k]
                steps = len(curve) - 1
                curves.append(np.abs(np.diff(curve)).sum() * (len(x) - 1) / (steps * k) / k)
            lengths.append(np.mean(curves))
        oracle = np.polyfit(-np.log(np.arange(1, 9)), np.log(lengths), 1)[0]
        assert of(values, "higuchi_dimension_8_128")[row] == pytest.approx(oracle, rel=1e-9)


def turns(x: Floats, side: int) -> list[int]:
    """Rows strictly above their `side` neighbours on either side."""
    windows = np.lib.stride_tricks.sliding_window_view(x, 2 * side + 1)
    others = np.delete(windows, side, axis=1)
    return (np.flatnonzero(windows[:, side] > others.max(axis=1)) + side).tolist()


@pytest.mark.parametrize(("side", "sign"), [("high", 1.0), ("low", -1.0)])
def test_pivots_are_those_of_the_bars_known_by_then(bars: Floats, values: Floats, side: str, sign: float) -> None:
    prices = sign * bars[:, HIGH if side == "high" else LOW]
    for row in range(95, N):
        window = prices[row - 95 : row + 1]  # nothing after `row`: a pivot needs its two later bars inside
        found = turns(window, 2)
        at = found[-1] if found else 95 - int(np.argmax(window[::-1]))
        assert of(values, f"pivot_{side}_age_2_96")[row] == 95 - at
        distance = np.log(bars[row, CLOSE] / abs(window[at]))
        assert of(values, f"pivot_{side}_distance_2_96")[row] == pytest.approx(distance, rel=1e-9, abs=1e-12)


def test_a_pivot_is_not_known_before_its_second_later_bar() -> None:
    times, bars = walk(600)
    bars[:, :VOLUME] = 100.0
    bars[300, HIGH] = 101.0
    values = compute(CATALOGUE, times, bars)
    assert of(values, "pivot_high_age_2_96")[299:304].tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]
    early = compute(CATALOGUE, times[:302], bars[:302])
    assert of(early, "pivot_high_age_2_96")[-1] == 1.0, "as the highest of the window, not as a pivot"
    bars[302, HIGH] = 102.0  # what comes later decides whether it was one
    changed = compute(CATALOGUE, times, bars)
    assert of(changed, "pivot_high_age_2_96")[300:304].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_levels_are_the_nearest_turns_known_by_then(bars: Floats, values: Floats) -> None:
    tops, bottoms = turns(bars[:, HIGH], 5), turns(-bars[:, LOW], 5)
    for row in (*range(287, 340), *ROWS, *range(800, 840)):
        close = bars[row, CLOSE]
        window = slice(row - 287, row + 1)
        # a turn enters with the bar that confirms it and leaves 288 bars after that
        known = [bars[i, HIGH] for i in tops if row - 287 <= i + 5 <= row]
        known += [bars[i, LOW] for i in bottoms if row - 287 <= i + 5 <= row]
        above = min([level for level in known if level > close], default=bars[window, HIGH].max())
        below = max([level for level in known if level < close], default=bars[window, LOW].min())
        above, below = min(above, bars[window, HIGH].max()), max(below, bars[window, LOW].min())
        resistance, support = np.log(above / close), np.log(close / below)
        assert of(values, "resistance_distance_5_288")[row] == pytest.approx(resistance, rel=1e-9, abs=1e-12)
        assert of(values, "support_distance_5_288")[row] == pytest.approx(support, rel=1e-9, abs=1e-12)


def test_noise_trends_and_reversals_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    measured = {}
    for name, memory in (("reverting", -0.6), ("walk", 0.0), ("trending", 0.6)):
        changes = np.zeros(N)
        for i, shock in enumerate(rng.normal(0.0, 1e-3, N)):
            changes[i] = memory * changes[i - 1] + shock
        close = 100.0 * np.exp(np.cumsum(changes))
        rows = np.column_stack([close, close, close, close, np.ones(N)])
        values = compute(CATALOGUE, MONDAY + BAR * np.arange(N), rows)[300:]
        measured[name] = {column: np.mean(of(values, column)) for column in (
            "hurst_256", "dfa_256", "variance_ratio_12_288", "higuchi_dimension_8_128"
        )}  # fmt: skip
    for before, after in itertools.pairwise(measured.values()):
        for name in ("hurst_256", "dfa_256", "variance_ratio_12_288"):
            assert before[name] < after[name]
        assert before["higuchi_dimension_8_128"] > after["higuchi_dimension_8_128"]
    assert measured["walk"]["dfa_256"] == pytest.approx(0.5, abs=0.1)
    assert measured["walk"]["variance_ratio_12_288"] == pytest.approx(1.0, abs=0.25)
    assert measured["walk"]["higuchi_dimension_8_128"] == pytest.approx(1.5, abs=0.1)


def test_a_market_that_does_not_move_shows_no_memory_and_no_level() -> None:
    times, rows = walk(600)
    rows[:, :VOLUME], rows[:, VOLUME] = 0.1, 0.3
    last = dict(zip(CATALOGUE.feature_names, compute(CATALOGUE, times, rows)[-1], strict=True))
    neutral = {"hurst_256": 0.5, "dfa_256": 0.5, "katz_dimension_60": 1.0, "higuchi_dimension_8_128": 1.0}
    neutral |= {f"variance_ratio_{step}_288": 1.0 for step in (2, 12, 48)}
    neutral |= dict.fromkeys(("sign_entropy_60", "sign_pattern_entropy_3_120"), 0.0)
    neutral |= dict.fromkeys(("resistance_distance_5_288", "support_distance_5_288"), 0.0)
    neutral |= dict.fromkeys(("pivot_high_distance_2_96", "pivot_low_age_2_96"), 0.0)
    assert {name: last[name] for name in neutral} == neutral
