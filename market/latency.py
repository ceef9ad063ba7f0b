"""How long things travel: market data to the strategy, orders to the venue, answers back.

    --latency 5ms                                   all three constant
    --latency feed=2ms,entry=8ms,ack=3ms            each by itself
    --latency entry=lognormal:5ms:0.5,ack=uniform:1ms:4ms
    --latency probes.csv                            measured: columns sent, arrived, answered (µs, or ms or s by size)
    --latency feed=recorded:1ms,entry=5ms,ack=5ms   the recording's own delays, shifted so that the least is 1 ms

`feed` is from the venue's event to the strategy, `entry` from the strategy's order to the venue, `ack` from the venue's
answer (an acceptance, a fill, an end) to the strategy. Measured latencies are interpolated between the probes around
the time of the order, as hftbacktest does (docs/latency_models). Draws depend on the seed and the number of the message
alone, so a run with more latency meets the same luck. Nothing overtakes: each of the three is one connection.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake.errors import BadInput, UsageError
from lake.intervals import MILLISECOND, SECOND
from market.kernel import njit

Integers = NDArray[np.int64]

QUANTILES = 1_024
"""Points of a distribution's table."""
PARTS = ("feed", "entry", "ack")
FEED, ENTRY, ACK = range(3)
UNITS = {"us": 1, "µs": 1, "ms": MILLISECOND, "s": SECOND}


class Delays(NamedTuple):
    """What the compiled code reads; all in µs."""

    tables: Integers
    """[3, QUANTILES]: quantiles of feed, entry and ack."""
    probe_time: Integers
    """[n], ascending; empty where nothing was measured. Then the tables hold for entry and ack."""
    probe_entry: Integers
    probe_ack: Integers
    seed: int


@dataclass(frozen=True, slots=True)
class Latency:
    """One setting of all three latencies."""

    feed: tuple[int, ...] = (0,)
    """Quantiles in µs at equal steps; one value is a constant."""
    entry: tuple[int, ...] = (0,)
    ack: tuple[int, ...] = (0,)
    probes: tuple[tuple[int, int, int], ...] = ()
    """Time sent, entry and ack in µs."""
    recorded: bool = False
    """Take the feed's delays from the recording; `feed` is then the least."""
    seed: int = 1
    text: str = "0ms"
    """As it was asked for."""

    def later(self, microseconds: int) -> "Latency":
        """The same with so much more on the way to the venue."""
        entry = tuple(value + microseconds for value in self.entry)
        probes = tuple((sent, out + microseconds, back) for sent, out, back in self.probes)
        return replace(self, entry=entry, probes=probes, text=f"{self.text} +{microseconds / MILLISECOND:g}ms")

    def delays(self) -> Delays:
        """For the compiled code."""
        tables = np.array([_stretched(part) for part in (self.feed, self.entry, self.ack)], np.int64)
        probes = np.array(self.probes, np.int64).reshape(-1, 3)
        return Delays(tables, probes[:, 0].copy(), probes[:, 1].copy(), probes[:, 2].copy(), self.seed)

    def feed_times(self, times: Integers, received: Integers) -> Integers:
        """When the strategy hears of each message: `times` [n] at the venue ascending, `received` by the recorder.

        Messages of one venue time arrive together; none overtakes another. A recorder whose clock is off is no harm:
        only differences between its delays count.
        """
        if self.recorded:
            delay = received - times
            delay = delay - (delay.min() if len(delay) else 0) + self.feed[0]
        else:
            _, first = np.unique(times, return_index=True)
            message = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(times))))
            delay = _stretched(self.feed)[_slots(message, FEED, self.seed)]
        return np.asarray(np.maximum.accumulate(times + delay)) if len(times) else times


def _stretched(quantiles: tuple[int, ...]) -> Integers:
    at = np.minimum(np.arange(QUANTILES) * len(quantiles) // QUANTILES, len(quantiles) - 1)
    return np.array(quantiles, np.int64)[at]


@njit(cache=True, nogil=True)
def _slot(number: int, part: int, seed: int) -> int:
    """A quantile's row for a message: splitmix64 of its number, so that it depends on nothing else."""
    z = np.uint64(number) * np.uint64(3) + np.uint64(part) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
    z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((z ^ (z >> np.uint64(31))) % np.uint64(QUANTILES))


@njit(cache=True, nogil=True)
def _slots(numbers: Any, part: int, seed: int) -> Any:
    out = np.empty(len(numbers), np.int64)
    for k in range(len(numbers)):
        out[k] = _slot(numbers[k], part, seed)
    return out


@njit(cache=True, nogil=True)
def _interpolated(times: Any, values: Any, time: int) -> int:
    """Between the measurements around `time`; the nearest beyond the ends."""
    k = np.searchsorted(times, time)
    if k == 0:
        return int(values[0])
    if k == len(times):
        return int(values[-1])
    share = (time - times[k - 1]) / (times[k] - times[k - 1])
    return int(values[k - 1] + share * (values[k] - values[k - 1]))


@njit(cache=True, nogil=True)
def entry_delay(delays: Any, time: int, number: int) -> int:
    """µs from the strategy's request `number` of `time` to the venue."""
    if len(delays.probe_time) > 0:
        return _interpolated(delays.probe_time, delays.probe_entry, time)
    return int(delays.tables[ENTRY, _slot(number, ENTRY, delays.seed)])


@njit(cache=True, nogil=True)
def ack_delay(delays: Any, time: int, number: int) -> int:
    """µs from the venue's answer `number` of `time` to the strategy."""
    if len(delays.probe_time) > 0:
        return _interpolated(delays.probe_time, delays.probe_ack, time)
    return int(delays.tables[ACK, _slot(number, ACK, delays.seed)])


def duration_us(text: str) -> int:
    """`250us`, `5ms` or `0.2s` in µs.

    Raises:
        UsageError: another form, or below zero.
    """
    for unit in ("us", "µs", "ms", "s"):
        number = text.removesuffix(unit)
        if number != text:
            try:
                value = float(number)
            except ValueError:
                break
            if value >= 0 and math.isfinite(value):
                return round(value * UNITS[unit])
            break
    raise UsageError(f"latency {text!r}: expected a duration such as 250us, 5ms or 0.2s.")


def _constant(least: str) -> tuple[int, ...]:
    return (duration_us(least),)


def _uniform(low: str, high: str) -> tuple[int, ...]:
    ends = duration_us(low), duration_us(high)
    return tuple(round(value) for value in np.linspace(*ends, QUANTILES))


def _lognormal(median: str, sigma: str) -> tuple[int, ...]:
    middle, spread = duration_us(median), float(sigma)
    return tuple(round(middle * math.exp(spread * z)) for z in _normal_quantiles())


def _normal(mean: str, deviation: str) -> tuple[int, ...]:
    middle, spread = duration_us(mean), duration_us(deviation)
    return tuple(max(0, round(middle + spread * z)) for z in _normal_quantiles())


def _exponential(least: str, mean: str) -> tuple[int, ...]:
    start, scale = duration_us(least), duration_us(mean)
    return tuple(round(start - scale * math.log1p(-(k + 0.5) / QUANTILES)) for k in range(QUANTILES))


def _normal_quantiles() -> list[float]:
    return [NormalDist().inv_cdf((k + 0.5) / QUANTILES) for k in range(QUANTILES)]


KINDS: dict[str, Callable[..., tuple[int, ...]]] = {
    "constant": _constant, "uniform": _uniform, "normal": _normal, "lognormal": _lognormal,
    "exponential": _exponential,
}  # fmt: skip


def _part(text: str) -> tuple[int, ...]:
    kind, *given = text.split(":")
    make = KINDS.get(kind, _constant)
    try:
        return make(*(given if kind in KINDS else [text]))
    except (TypeError, ValueError):
        known = "uniform:LOW:HIGH, normal:MEAN:DEVIATION, lognormal:MEDIAN:SIGMA, exponential:LEAST:MEAN"
        raise UsageError(f"latency {text!r}: expected a duration such as 5ms, or one of {known}.") from None


def parse_latency(text: str, seed: int = 1) -> Latency:
    """Read a `--latency` setting (see the module).

    Raises:
        UsageError: it has another form.
        BadInput: a file of probes that does not parse.
    """
    if text.endswith((".csv", ".parquet")):
        return Latency(*(_part("0ms"),) * 3, probes=read_probes(Path(text)), seed=seed, text=text)
    if "=" not in text:
        return Latency(*(_part(text),) * 3, seed=seed, text=text)
    parts: dict[str, Any] = {}
    for item in text.split(","):
        name, _, value = item.partition("=")
        if name not in PARTS or name in parts:
            raise UsageError(f"latency {item!r}: expected {', '.join(f'{part}=…' for part in PARTS)}, each once.")
        if name == "feed" and value.split(":")[0] == "recorded":
            parts["recorded"], value = True, value.partition(":")[2] or "0ms"
        if value.endswith((".csv", ".parquet")) and name == "entry":
            parts["probes"], value = read_probes(Path(value)), "0ms"
        parts[name] = _part(value)
    return Latency(**parts, seed=seed, text=text)


def read_probes(path: Path) -> tuple[tuple[int, int, int], ...]:
    """Round trips measured at a venue: columns `sent`, `arrived` and `answered`, by one clock.

    Raises:
        BadInput: not such a file, a time that goes backwards, or no probe.
    """
    try:
        frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
        columns = [frame[name].cast(pl.Float64).to_numpy() for name in ("sent", "arrived", "answered")]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(
            f"{path}: expected probes with columns sent, arrived, answered: {str(error).splitlines()[0]}"
        ) from None
    size = max((float(np.abs(column).max()) for column in columns if len(column)), default=0.0)
    factor = SECOND if size < 1e11 else MILLISECOND if size < 1e14 else 1
    sent, arrived, answered = (np.rint(column * factor).astype(np.int64) for column in columns)
    if not len(sent) or (np.diff(sent) <= 0).any() or (arrived < sent).any() or (answered < arrived).any():
        raise BadInput(f"{path}: expected sent ≤ arrived ≤ answered in every row and sent ascending, found otherwise.")
    return tuple(zip(sent.tolist(), (arrived - sent).tolist(), (answered - arrived).tolist(), strict=True))
