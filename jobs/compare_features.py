"""Compare features: online with gold row by row (skew), and the last days of gold with those before (drift).

Reads   gold features_5m_v1, the online store
Writes  BITACORA_HOME/metrics/features.json, features.prom (for Prometheus' textfile collector) and features.png

Skew is |online − gold| / max(1, |gold|), a null equal to null only; a row of the store that gold does not hold counts
as missing. Exit code 65 where skew passes 1e-9 or a row is missing: then live decides on other numbers than
training saw.
"""

from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import polars as pl
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from feature_store.drift import ks, psi
from feature_store.drift_plot import drift_plot
from feature_store.online import OnlineStore, service_view
from feature_store.online_settings import open_store
from feature_store.service import FeatureService, service
from feature_store.stored import require_hash, table_of
from feature_store.view import Floats
from jobs.command import Job, main, parser
from lake.errors import ContractViolated, NothingStored
from lake.intervals import END_OF_TIME

TOLERANCE = 1e-9


def periods(rows: pl.DataFrame, days: int, reference_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the `reference_days` before the newest `days`, and of those; `rows` are not empty."""
    start = rows["event_time"].max() - timedelta(days=days)  # type: ignore[operator]  # a datetime
    time = pl.col("event_time")
    before = rows.filter(time <= start, time > start - timedelta(days=reference_days))
    return before, rows.filter(time > start)


def drift(of: FeatureService, before: pl.DataFrame, now: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Per column psi and ks of the rows now against those before."""
    found = {}
    for name in of.feature_names:
        a, b = (one[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for one in (before, now))
        found[name] = {"psi": psi(a, b), "ks": ks(a, b)}
    return found


def skew(of: FeatureService, rows: pl.DataFrame, store: OnlineStore) -> tuple[dict[str, float], int, int]:
    """Per column the largest skew of the store's rows; how many were compared, and how many gold does not hold."""
    view, width = service_view(of), len(of.feature_names)
    oldest = rows["event_time"].dt.epoch("us").min()
    kept = [row for name in rows["instrument"].unique() for row in store.get_last_n(view, name, view.keep, END_OF_TIME)]
    held = [row for row in kept if row.event_time >= oldest]  # type: ignore[operator]  # rows are not empty
    columns = {"instrument": [row.entity for row in held], "at": [row.event_time for row in held]}
    wanted = pl.DataFrame(columns, {"instrument": pl.String, "at": pl.Int64}).with_row_index("place")
    gold = rows.with_columns(at=pl.col("event_time").dt.epoch("us"))
    joined = wanted.join(gold, on=["instrument", "at"], how="inner")
    online: Floats = np.array([row.values for row in held], np.float64).reshape(-1, width)[joined["place"].to_numpy()]
    stored = joined.select(pl.col(of.feature_names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    apart = np.abs(online - stored) / np.maximum(1.0, np.abs(stored))
    apart = np.where(np.isnan(online) & np.isnan(stored), 0.0, np.where(np.isnan(apart), np.inf, apart))
    worst = apart.max(axis=0, initial=0.0)
    return dict(zip(of.feature_names, worst.tolist(), strict=True)), joined.height, len(held) - joined.height


def run(job: Job) -> dict[str, Any]:
    of, arguments = service(job.arguments.service), job.arguments
    table = table_of(of)
    version = job.lake.version(table)
    columns = ("instrument", "event_time", "service_hash", *of.feature_names)
    frame = job.lake.scan(table, None, version).select(columns)
    newest = frame.select(pl.col("event_time").max()).collect().item()
    if newest is None:
        raise NothingStored(f"{table.name}: holds no rows. Run jobs.build_features.")
    first = newest - timedelta(days=arguments.days + arguments.reference_days)
    rows = frame.filter(pl.col("event_time") > first).collect()
    require_hash(of, rows["service_hash"], table.name)
    with open_store(job.home) as store:
        apart, compared, missing = skew(of, rows, store)
    before, now = periods(rows, arguments.days, arguments.reference_days)
    moved = drift(of, before, now)
    features = {name: moved[name] | {"skew": apart[name]} for name in of.feature_names}
    worst = max(apart.values())
    result = {
        "service": of.name, "service_hash": of.content_hash, "reads": {table.name: version}, "compared": compared,
        "missing": missing, "skew": worst if np.isfinite(worst) else None, "features": features,
    }  # fmt: skip
    _report(job, result)
    drift_plot(before, now, moved, job.home.home / "metrics" / "features.png")
    if worst > TOLERANCE or missing:
        raise ContractViolated(
            f"{of.name}: {missing} online rows are not in gold, largest skew {worst}, expected 0 and at most "
            f"{TOLERANCE}. Look at {job.home.home / 'metrics' / 'features.json'}, then materialize again."
        )
    return {name: value for name, value in result.items() if name != "features"}


def _report(job: Job, result: dict[str, Any]) -> None:
    folder = job.home.home / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    registry = CollectorRegistry()
    for measure, text in (
        ("psi", "Population stability index against the reference days."),
        ("ks", "Kolmogorov-Smirnov distance to the reference days."),
        ("skew", "Largest relative difference of the online store and gold."),
    ):
        gauge = Gauge(f"bitacora_feature_{measure}", text, ["service", "feature"], registry=registry)
        for name, values in result["features"].items():
            gauge.labels(result["service"], name).set(values[measure])
    write_to_textfile(str(folder / "features.prom"), registry)


def _arguments() -> Any:
    result = parser("compare_features", __doc__)
    result.add_argument("--service", default="default_5m", help="default default_5m")
    result.add_argument("--days", type=int, default=7, help="newest days, default 7")
    result.add_argument("--reference-days", type=int, default=28, help="days before them, default 28")
    return result


if __name__ == "__main__":
    main("compare_features", run, _arguments())
