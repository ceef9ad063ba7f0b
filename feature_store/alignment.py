"""References and series put beside bars by what was known when: the columns behind a bar's five numbers.

A reference bar counts where it has the bar's own event time and was available within `GRACE` of it; a series' newest
observation where it was available by the bar's close. What came later is NaN for that bar, in batch and in live alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from feature_store.inputs import GRACE, REFERENCE_NAMES, SERIES
from feature_store.service import FeatureService
from feature_store.view import CLOSE, Floats, Times
from lake.tables.bars import PUBLICATION_DELAY


@dataclass(frozen=True, slots=True)
class Observations:
    """One number over time, µs; of several revisions the one that came first counts until the next is available."""

    event_times: Times
    available_times: Times
    values: Floats

    @classmethod
    def closes(cls, open_times: Times, bars: Floats, bar_us: int) -> "Observations":
        """Closes of bars that were published on time."""
        event_times = open_times + bar_us
        return cls(event_times, event_times + PUBLICATION_DELAY, bars[:, CLOSE])


NOTHING: Final = Observations(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def same_instant(event_times: Times, reference: Observations, grace: int = GRACE) -> tuple[Floats, Times]:
    """The reference's value at each event time and when it was known; NaN and the grace's end where it was too late."""
    order = np.lexsort((reference.available_times, reference.event_times))
    events, available = reference.event_times[order], reference.available_times[order]
    values, known = np.full(len(event_times), np.nan), event_times + grace
    at = np.searchsorted(events, event_times)  # the first of its revisions
    here = at < len(events)
    here[here] = events[at[here]] == event_times[here]
    here[here] = available[at[here]] <= event_times[here] + grace
    values[here], known[here] = reference.values[order][at[here]], available[at[here]]
    return values, known


def newest_known(times: Times, series: Observations, max_age_us: int) -> Floats:
    """The value with the latest event time among those available at each time; NaN where that is older than allowed."""
    order = np.lexsort((series.event_times, series.available_times))
    events, available = series.event_times[order], series.available_times[order]
    newest = events >= np.maximum.accumulate(events) if len(events) else np.empty(0, bool)
    events, available, values = events[newest], available[newest], series.values[order][newest]
    at = np.searchsorted(available, times, side="right") - 1
    found = np.full(len(times), np.nan)
    fresh = at >= 0
    fresh[fresh] = times[fresh] - events[at[fresh]] <= max_age_us
    found[fresh] = values[at[fresh]]
    return found


def widened(
    service: FeatureService, open_times: Times, bars: Floats, observed: Mapping[str, Observations]
) -> tuple[Floats, Times]:
    """The matrix that the service computes from, [n, len(service.given)], and when each row's inputs were all known.

    Args:
        observed: by input name, e.g. `btc_close`; an input that is absent is NaN throughout.

    Returns:
        The bars with a column for each of `service.extras`; and per row the time by which the references it waits for
        had arrived or were given up, never before the bar's own publication.
    """
    event_times = open_times + service.periods.bar_us
    known = event_times + (PUBLICATION_DELAY if len(open_times) else 0)
    ages = {series.name: series.max_age_us for series in SERIES}
    columns = [bars]
    for name in service.extras:
        source = observed.get(name, NOTHING)
        if name in REFERENCE_NAMES:
            values, arrived = same_instant(event_times, source)
            known = np.maximum(known, arrived)
        else:
            values = newest_known(event_times, source, ages[name])
        columns.append(values[:, None])
    return np.hstack(columns), known


def observations(table: pl.DataFrame, service: FeatureService, instrument: str) -> dict[str, Observations]:
    """The series that a service reads for one instrument, by input name, from rows of observations_v1.

    Args:
        table: entity, metric, event_time, available_time, value; source too where a series names one. Other tables
            (funding, marks, surfaces, text features) are read as rows of this shape.
    """
    found = {}
    for series in SERIES:
        if series.name not in service.extras:
            continue
        rows = table.filter(pl.col("metric") == series.metric, pl.col("entity") == series.entity_of(instrument))
        if series.source is not None:
            rows = rows.filter(pl.col("source") == series.source)
        events, available = (rows[name].dt.epoch("us").to_numpy() for name in ("event_time", "available_time"))
        found[series.name] = Observations(events, available, rows["value"].cast(pl.Float64).to_numpy())
    return found
