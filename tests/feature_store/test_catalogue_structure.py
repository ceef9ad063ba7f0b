"""Fractals, memory, entropy and levels against their formulas, written a second time, straight from the papers."""

import numpy as np
import pytest
from walks import column, walk

from feature_store.scan import compute
from feature_store.service import CATALOGUE
from feature_store.view import CLOSE, Floats

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
