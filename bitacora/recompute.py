"""Features and predictions computed again from the raw rows, by the batch scan and the bundle's own graph."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from feature_store.alignment import Observations, widened
from feature_store.inputs import reference_ids
from feature_store.scan import compute
from feature_store.service import FeatureService
from lake.errors import BadInput
from lake.intervals import to_us
from lake.wire.binance import kline_from_payload

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One instrument's features over its raw bars; `hashes` by open time says which raw rows there are."""

    open_times: npt.NDArray[np.int64]
    features: Floats
    hashes: dict[int, list[str]]

    def rows(self, open_time: int, window: int) -> Floats | None:
        """The feature rows of `window` bars ending with this one; None if the bar is not there."""
        at = int(np.searchsorted(self.open_times, open_time))
        if at >= len(self.open_times) or self.open_times[at] != open_time:
            return None
        return self.features[max(0, at - window + 1) : at + 1]


def recompute(service: FeatureService, rows: pl.DataFrame, instrument: str, chosen: Iterable[str]) -> Recomputed:
    """Scan one instrument's raw rows; where a bar was received twice, the row a decision names counts, else the first.

    Args:
        rows: of every instrument; those of the service's references stand beside the instrument's own.

    Raises:
        BadInput: a payload does not parse, or is not what its hash says.
    """
    times, table, hashes = _bars(rows.filter(pl.col("instrument") == instrument), set(chosen))
    observed = {}
    for name, other in reference_ids(service.extras, instrument).items():
        open_times, bars, _ = _bars(rows.filter(pl.col("instrument") == other), set(chosen))
        observed[name] = Observations.closes(open_times, bars, service.periods.bar_us)
    return Recomputed(times, compute(service, times, widened(service, times, table, observed)[0]), hashes)


def _bars(rows: pl.DataFrame, preferred: set[str]) -> tuple[npt.NDArray[np.int64], Floats, dict[int, list[str]]]:
    """Open times [n], bars [n, 5] and by open time the hashes of one instrument's raw rows."""
    bars: dict[int, list[float]] = {}
    hashes: dict[int, list[str]] = {}
    for row in rows.iter_rows(named=True):
        found = hashlib.sha256(row["payload"].encode()).hexdigest()
        if found != row["payload_hash"]:
            raise BadInput(f"bronze row {row['payload_hash']}: its payload hashes to {found}; it was altered.")
        kline = kline_from_payload(row["stream"], row["payload"])
        if kline.open_time != to_us(row["event_time"]):
            raise BadInput(f"bronze row {found}: stored at another time than the payload says.")
        values = [float(text) for text in (kline.open, kline.high, kline.low, kline.close, kline.volume)]
        if kline.open_time not in bars or found in preferred:
            bars[kline.open_time] = values
        hashes.setdefault(kline.open_time, []).append(found)
    times = np.array(sorted(bars), dtype=np.int64)
    table = np.array([bars[int(t)] for t in times], dtype=np.float64).reshape(-1, 5)
    return times, table, hashes


@dataclass(slots=True)
class Graphs:
    """Loaded ONNX graphs by folder; one thread, as live runs them."""

    _sessions: dict[Path, Any] = field(default_factory=dict)

    def predict(self, model_file: Path, features: Floats) -> float:
        """The prediction for one window [window, columns]."""
        import onnxruntime

        if model_file not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._sessions[model_file] = onnxruntime.InferenceSession(
                str(model_file), options, providers=["CPUExecutionProvider"]
            )
        outputs = self._sessions[model_file].run(["prediction"], {"features": features[None].astype(np.float64)})
        return float(outputs[0][0, 0])
