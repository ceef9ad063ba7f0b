"""The panel a run trains on, read from the lake at recorded versions.

Each bar asks for a decision at its close plus the publication delay. The features joined to it are those *available*
by then (point-in-time join on `available_time`) and made from that very bar; a row that was corrected later was not
available in time and leaves a gap. Prices for labels and fills are the silver bars' opens.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from feature_store.alignment import Observations, widened
from feature_store.inputs import reference_ids
from feature_store.leaks import find_service_leaks
from feature_store.offline import point_in_time_join
from feature_store.scan import compute
from feature_store.service import FeatureService
from feature_store.stored import table_of
from feature_store.view import BAR_COLUMNS
from lake.errors import ContractViolated, NothingStored
from lake.intervals import Interval, timeframe_us
from lake.storage import Lake
from lake.tables.bars import BARS_5M, PUBLICATION_DELAY
from training.labels import Floats
from training.panel import Ints, Panel
from training.panels import lay_out

_DELAY = pl.duration(microseconds=PUBLICATION_DELAY)


def load_panel(
    lake: Lake, service: FeatureService, instruments: Sequence[str], interval: Interval | None = None,
    versions: dict[str, int] | None = None,
) -> Panel:  # fmt: skip
    """Read bars and features of the instruments.

    Args:
        lake: where.
        service: features must have been computed by exactly this one.
        instruments: ids; each must have bars.
        interval: on open_time; everything by default.
        versions: table name → Delta version, to read again what an earlier run read; the newest by default.

    Raises:
        NothingStored: a table is missing or an instrument has no bars in the interval.
        ContractViolated: features of another service, or computed twice for a bar.
    """
    gold = table_of(service)
    at = {table.name: (versions or {}).get(table.name, lake.version(table)) for table in (BARS_5M, gold)}
    wanted = pl.col("instrument").is_in(list(instruments))
    bars = (
        lake.scan(BARS_5M, interval, at[BARS_5M.name])
        .filter(wanted)
        .select("instrument", "open_time", "open", decision_time=pl.col("event_time") + _DELAY)
        .collect()
    )
    features = (
        lake.scan(gold, interval, at[gold.name])
        .filter(wanted)
        .select("instrument", "event_time", "available_time", "service_hash", *service.feature_names)
        .collect()
    )
    _check(service, instruments, bars, features)
    # younger than a bar at the decision: made from that very bar
    lookback = timeframe_us(service.timeframe) - 1
    joined = point_in_time_join(bars, features.drop("service_hash"), service.feature_names, lookback)
    rows = {name: _rows(joined, name, service.feature_names) for name in instruments}
    return lay_out(rows, service.feature_names, service.timeframe, service.name, service.content_hash, at)


def find_stored_leaks(
    lake: Lake, service: FeatureService, instruments: Sequence[str], versions: dict[str, int], cuts: int = 20
) -> list[str]:
    """Stored features that the bars closed by their time do not give, one line each; see `feature_store.leaks`.

    Raises:
        NothingStored, ContractViolated: as `load_panel`.
    """
    wanted, found = pl.col("instrument").is_in(list(instruments)), []
    bars = lake.scan(BARS_5M, None, versions[BARS_5M.name])
    gold = table_of(service)
    features = lake.scan(gold, None, versions[gold.name]).filter(wanted)
    both = bars.filter(wanted).select("instrument", "open_time", *BAR_COLUMNS).join(
        features.select("instrument", "open_time", "service_hash", *service.feature_names),
        on=["instrument", "open_time"], how="left",
    )  # fmt: skip
    rows = both.sort("instrument", "open_time").collect()
    for name in instruments:
        part = rows.filter(pl.col("instrument") == name)
        times = part["open_time"].dt.epoch("us").to_numpy()
        observed = {key: _closes(bars, id_) for key, id_ in reference_ids(service.extras, name).items()}
        values = widened(service, times, part.select(BAR_COLUMNS).to_numpy(), observed)[0]
        stored = part.select(pl.col(service.feature_names).fill_null(np.nan)).to_numpy()
        absent = part["service_hash"].is_null().to_numpy()
        stored = np.where(absent[:, None], compute(service, times, values), stored)  # nothing stored, nothing to check
        leaks = find_service_leaks(service, times, values, cuts, stored=stored)
        found += [f"{name} {leak}" for leak in leaks]
    return found


def _closes(bars: pl.LazyFrame, instrument: str) -> Observations:
    """A reference's closes and when they were known."""
    rows = bars.filter(pl.col("instrument") == instrument).select("event_time", "available_time", "close").collect()
    events, available = (rows[name].dt.epoch("us").to_numpy() for name in ("event_time", "available_time"))
    return Observations(events, available, rows["close"].to_numpy())


def _rows(joined: pl.DataFrame, instrument: str, columns: tuple[str, ...]) -> tuple[Ints, Floats, Floats]:
    """open_times [n], features [n, k], opens [n] of one instrument, in time order."""
    part = joined.filter(pl.col("instrument") == instrument).sort("open_time")
    times = part["open_time"].dt.epoch("us").to_numpy().astype(np.int64)
    block = part.select(pl.col(columns).fill_null(np.nan)).to_numpy().astype(np.float64)
    return times, np.ascontiguousarray(block), part["open"].to_numpy().astype(np.float64)


def _check(service: FeatureService, instruments: Sequence[str], bars: pl.DataFrame, features: pl.DataFrame) -> None:
    missing = sorted(set(instruments) - set(bars["instrument"].unique()))
    if missing:
        raise NothingStored(
            f"{BARS_5M.name} holds no bars of {', '.join(missing)} in the interval. Ingest and build them, or name "
            "other --instruments."
        )
    hashes = set(features["service_hash"].unique()) - {service.content_hash}
    if hashes or features.is_empty():
        found = ", ".join(sorted(hashes)) or "no rows"
        raise ContractViolated(
            f"{table_of(service).name}: expected features of service {service.name} {service.content_hash}, "
            f"found {found}. Run jobs.build_features over the interval again."
        )
