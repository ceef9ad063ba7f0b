"""Bring the online store up to the lake: the rows of gold that it has not seen, the newest few of each entity.

Without an interval the store itself remembers the table version it was filled from, per content hash; the files added
since then are read. A run may be killed or repeated at any point: pushes are idempotent, and the version is noted last.
"""

from typing import Any

import polars as pl

from feature_store.online import OnlineStore, service_view
from feature_store.service import FeatureService
from feature_store.stored import require_hash, table_of
from lake.intervals import Interval, format_time, to_datetime
from lake.storage import Lake

KEEP = 64
"""Rows per instrument: more than the longest window of a sequence model here (48 bars)."""


def materialize(
    lake: Lake, store: OnlineStore, service: FeatureService, interval: Interval | None = None, keep: int = KEEP
) -> dict[str, Any]:
    """Push a service's rows; JSON-ready: what was read, how many rows were news.

    Args:
        interval: on event_time, to push again; moves no watermark. Default: what the store has not seen.
        keep: rows per instrument.

    Raises:
        NothingStored: the table has no commit yet.
        HashMismatch: gold holds rows of other code; nothing is pushed.
    """
    table, view = table_of(service), service_view(service, keep)
    version = lake.version(table)
    frame = lake.scan(table, None, version)
    if interval is None:
        since = store.mark(view)
        changed = lake.changed(table, since, version) if since != version else None
        time, span = pl.col(table.time_column), changed
    else:
        time, span = pl.col("event_time"), interval
    pushed, read = 0, 0
    if span is not None:
        rows = newest_rows(frame.filter(time >= to_datetime(span.start), time < to_datetime(span.end)), keep)
        require_hash(service, rows["service_hash"], table.name)
        pushed, read = store.push_frame(view, rows), rows.height
    if interval is None:
        store.set_mark(view, version)
    return {
        "service": service.name,
        "service_hash": service.content_hash,
        "table": table.name,
        "version": version,
        "rows": pushed,
        "read": read,
        "start": format_time(span.start) if span else None,
        "end": format_time(span.end) if span else None,
    }


def newest_rows(frame: pl.LazyFrame, keep: int) -> pl.DataFrame:
    """The last `keep` rows of each instrument by event time."""
    newest = pl.col("event_time").rank("ordinal", descending=True).over("instrument") <= keep
    return frame.filter(newest).collect()
