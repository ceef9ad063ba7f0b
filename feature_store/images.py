"""Windows of candles as images: what a convolutional network sees of the market.

A window is `LENGTH` consecutive bars; an image is uint8[SIZE, SIZE]. Kinds:
- `gasf`, `gadf`: Gramian angular summation and difference fields of the closes (Wang & Oates, 2015, "Imaging
  Time-Series to Improve Classification and Imputation"): closes scaled to [-1, 1] by the window's own extremes,
  shortened to SIZE points by piecewise means, φ = arccos x, then cos(φi + φj) and sin(φi − φj); [-1, 1] becomes 0…255.
- `recurrence`: unthresholded recurrence plot (Eckmann et al., 1987): |xi − xj| of the same points, 255 where equal.
- `candles`: time from left to right, prices upwards in the upper three quarters (wick 96, body 255 if the bar rose or
  stood, 176 if it fell), volume in the lowest quarter (128), two bars a column where LENGTH is twice SIZE.

A window scales by itself alone, so an image knows nothing outside its bars; a flat window counts as all 0. An
encoder's embedding of images is a feature like any other: its rows (entity, event_time, available_time, embedding_0, …)
are pushed online with the hash of encoder and kind (`feature_store.online`), and stored by the job that computes them.
"""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from feature_store.view import CLOSE, HIGH, LOW, OPEN, VOLUME, Floats

LENGTH: Final = 64
SIZE: Final = 32
KINDS: Final = ("gasf", "gadf", "recurrence", "candles")

_WICK, _ROSE, _FELL, _VOLUME = 96, 255, 176, 128

Pixels = npt.NDArray[np.uint8]


def images(bars: Floats, ends: npt.NDArray[np.int64], length: int = LENGTH, size: int = SIZE) -> Pixels:
    """uint8[len(ends), len(KINDS), size, size] of the windows of `length` bars that end with each of `ends`.

    Args:
        bars: float64[n, 5], open, high, low, close, volume; finite, consecutive within each window.
        ends: places of last bars, each at least `length` - 1.
        length: a multiple of `size`.

    Raises:
        ValueError: a window does not fit into the bars, or `length` is no multiple of `size`.
    """
    if length % size or (len(ends) and (ends.min() < length - 1 or ends.max() >= len(bars))):
        raise ValueError(f"windows of {length} bars of {size} points do not fit into {len(bars)} bars")
    out = np.zeros((len(ends), len(KINDS), size, size), np.uint8)
    _draw(np.ascontiguousarray(bars), ends, length, out)
    return out


@numba.njit(cache=True, nogil=True)
def _draw(bars: Floats, ends: npt.NDArray[np.int64], length: int, out: Pixels) -> None:
    size = out.shape[2]
    points, heights = np.empty(size), np.empty(size)
    for at in range(len(ends)):
        window = bars[ends[at] + 1 - length : ends[at] + 1]
        _points(window, points)
        for i in range(size):
            heights[i] = np.sqrt(max(0.0, 1.0 - points[i] * points[i]))
        for i in range(size):
            for j in range(size):
                out[at, 0, i, j] = _level(points[i] * points[j] - heights[i] * heights[j])
                out[at, 1, i, j] = _level(heights[i] * points[j] - points[i] * heights[j])
                out[at, 2, i, j] = _level(1.0 - abs(points[i] - points[j]))
        _candles(window, out[at, 3])


@numba.njit(cache=True)
def _level(value: float) -> int:
    """[-1, 1] to 0…255, halves up."""
    return int(np.floor((min(1.0, max(-1.0, value)) + 1.0) * 127.5 + 0.5))


@numba.njit(cache=True)
def _points(window: Floats, points: Floats) -> None:
    """Closes scaled to [-1, 1], then means of equal pieces."""
    low, high = window[0, CLOSE], window[0, CLOSE]
    for i in range(len(window)):
        low, high = min(low, window[i, CLOSE]), max(high, window[i, CLOSE])
    piece = len(window) // len(points)
    for i in range(len(points)):
        total = 0.0
        for j in range(i * piece, (i + 1) * piece):
            close = window[j, CLOSE]
            total += ((close - low) - (high - close)) / (high - low) if high > low else 0.0
        points[i] = total / piece


@numba.njit(cache=True)
def _candles(window: Floats, image: Pixels) -> None:
    """Bars that share a column are drawn as one: first open, extremes, last close, summed volume."""
    size = image.shape[0]
    piece, floor = len(window) // size, size - size // 4
    low, high, most = window[0, LOW], window[0, HIGH], 0.0
    for i in range(len(window)):
        low, high = min(low, window[i, LOW]), max(high, window[i, HIGH])
    for x in range(size):
        total = 0.0
        for j in range(x * piece, (x + 1) * piece):
            total += window[j, VOLUME]
        most = max(most, total)
    for x in range(size):
        first, last = x * piece, (x + 1) * piece - 1
        top, bottom, total = window[first, HIGH], window[first, LOW], 0.0
        for j in range(first, last + 1):
            top, bottom = max(top, window[j, HIGH]), min(bottom, window[j, LOW])
            total += window[j, VOLUME]
        opened, closed = window[first, OPEN], window[last, CLOSE]
        for y in range(_row(top, low, high, floor), _row(bottom, low, high, floor) + 1):
            image[y, x] = _WICK
        body = _ROSE if closed >= opened else _FELL
        for y in range(_row(max(opened, closed), low, high, floor), _row(min(opened, closed), low, high, floor) + 1):
            image[y, x] = body
        tall = int(np.floor(total / most * (size - floor) + 0.5)) if most > 0.0 else 0
        for y in range(size - tall, size):
            image[y, x] = _VOLUME


@numba.njit(cache=True)
def _row(price: float, low: float, high: float, floor: int) -> int:
    """The row of a price: 0 at the top, floor - 1 at the lowest; the middle where nothing moved.

    A price outside the window's extremes, which no sound bar has, is drawn at the edge.
    """
    if high <= low:
        return floor // 2
    return int(max(0.0, min(floor - 1.0, np.floor((high - price) / (high - low) * floor))))
