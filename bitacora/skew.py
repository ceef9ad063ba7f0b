"""`bitacora skew`: the features live decided on against gold, rebuilt by Spark from the raw rows.

For every decision and feature |a − b| ≤ 1e-9 · max(1, |b|), a from the decision, b from gold; null equals null only.
But where a decision was not complete before the grace for reference bars ended, a column that reads them has to be null
in it, whatever gold holds: the lake declares bars available on time. Such decisions are counted (`late_references`).
"""

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bitacora import show
from lake.errors import ContractViolated, NothingStored
from lake.settings import HomeSettings, LakeSettings, read_settings

if TYPE_CHECKING:
    from feature_store.service import FeatureService

TOLERANCE = 1e-9
Floats = npt.NDArray[np.float64]


def skew_of(live: Floats, gold: Floats) -> Floats:
    """Element by element |a − b| / max(1, |b|); 0 where both are NaN, infinity where one is."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(live - gold) / np.maximum(1.0, np.abs(gold))
    both, one = np.isnan(live) & np.isnan(gold), np.isnan(live) ^ np.isnan(gold)
    return np.where(both, 0.0, np.where(one, np.inf, distance))


def late_nulls(service: "FeatureService", live: Floats, waited_us: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where live [n, k] is null because a reference had not come by the grace's end; per row how long it waited."""
    from feature_store.inputs import GRACE, REFERENCE_NAMES

    reads = [not REFERENCE_NAMES.isdisjoint(view.inputs) for view in service.views for _ in view.outputs]
    return np.isnan(live) & np.array(reads) & (waited_us >= GRACE)[:, None]


def compare() -> dict[str, Any]:
    """Join decisions with gold features on instrument and open time; JSON-ready.

    Raises:
        NothingStored: no decision or no feature row is stored.
        ContractViolated: decisions were made by another feature service than the one installed.
    """
    import polars as pl

    from feature_store.service import services
    from feature_store.stored import table_of
    from lake.storage import Lake
    from lake.tables.features import SERVICE_TABLES
    from lake.tables.trading import DECISIONS

    lake = Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))
    decisions = lake.scan(DECISIONS).select(
        "decision_id", "instrument", "open_time", "service_hash", "features", "available_time"
    )
    made = decisions.collect()
    without = made.filter(pl.col("features").list.len() == 0).height
    if made.is_empty():
        raise NothingStored("no decision is stored: run `python -m jobs.ingest_journal` after live has traded.")
    made = made.filter(pl.col("features").list.len() > 0)  # a bar that came too late was decided without a vector
    installed = {one.content_hash: one for one in services().values() if one.name in SERVICE_TABLES}
    others = set(made["service_hash"]) - set(installed)
    if others:
        raise ContractViolated(
            f"decisions come from feature service {', '.join(sorted(others))}, expected one of "
            f"{', '.join(f'{one.name} {digest}' for digest, one in installed.items())}."
        )
    compared, late_references, missing, worst = 0, 0, list[str](), dict[str, float]()
    for (digest,), part in made.group_by("service_hash", maintain_order=True):
        service = installed[str(digest)]
        names = list(service.feature_names)
        if set(part["features"].list.len()) != {len(names)}:
            raise ContractViolated(f"decisions of {service.name} hold other than its {len(names)} features.")
        first, last = part["open_time"].min(), part["open_time"].max()
        gold = lake.scan(table_of(service)).filter(pl.col("open_time").is_between(first, last)).collect()
        joined = part.join(gold, on=["instrument", "open_time"], how="inner", suffix="_gold")
        a = np.array(joined["features"].to_list(), dtype=np.float64).reshape(-1, len(names))
        b = joined.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
        waited = (joined["available_time"] - joined["event_time"]).dt.total_microseconds().to_numpy()
        nulls = late_nulls(service, a, waited)
        b[nulls] = np.nan
        late_references += int(nulls.any(axis=1).sum())
        for name, value in zip(names, skew_of(a, b).max(axis=0, initial=0.0).tolist(), strict=True):
            worst[name] = max(worst.get(name, 0.0), value)
        missing += part.join(gold, on=["instrument", "open_time"], how="anti")["decision_id"].to_list()
        compared += joined.height
    largest = max(worst.values(), default=0.0)
    return {
        "ok": not missing and largest <= TOLERANCE,
        "max": largest if np.isfinite(largest) else "inf",
        "tolerance": TOLERANCE,
        "decisions": made.height,
        "compared": compared,
        "without_features": without,
        "late_references": late_references,
        "missing_in_gold": missing,
        "features": {name: value if np.isfinite(value) else "inf" for name, value in worst.items()},
        "offending": [name for name, value in worst.items() if not value <= TOLERANCE],
    }


def command(as_json: bool) -> int:
    """Print the comparison; 0 within tolerance, 65 if not."""
    result = compare()
    if as_json:
        show.print_json(result)
    else:
        print(f"{result['compared']} of {result['decisions']} decisions compared, largest skew {result['max']}")
        print(
            f"offending: {', '.join(result['offending']) or 'none'}; missing in gold: {len(result['missing_in_gold'])}"
        )
    return os.EX_OK if result["ok"] else os.EX_DATAERR
