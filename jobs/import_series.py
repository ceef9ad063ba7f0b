"""Bring a file of numbers: on-chain, DeFi, fundamental or macro series, by the same contracts and checks as a source's.

Reads   a CSV file (a byte-order mark, YYYY.M.D dates and "30,000,000" are understood)
Writes  bronze raw_answers_v1 (endpoint import:<form>, the file as it is), then silver as jobs.build_observations does

--form series (default): a time and a value column; --metric is a declared quantity, --unit what the file tells it in,
--period what a label covers: instant, hour, day (default) or month. --form coingecko: CoinGecko's export. --form
transfers: a token's transfers, summed per day into and out of --treasury. A row that cannot be read, or that breaks the
metric's declaration, goes to quarantine. A file is refused whole, and nothing is stored, where one value repeats on
every row (a snapshot of the day it was made, not a history), or where its numbers are a power of a thousand away from
another source's: the unit is wrong.
"""

import hashlib
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from jobs import build_observations
from jobs.bronze import store
from jobs.command import Job, main, parser
from jobs.ingest_source import raw_rows
from jobs.lock import writing
from jobs.observation_rows import candidates
from lake.errors import BadInput, UsageError
from lake.sources.files import FORMS, PERIODS, PREFIX
from lake.sources.registry import metric
from lake.sources.source import Answer, Metric, Request
from lake.sources.units import convert
from lake.storage import Lake
from lake.tables import OBSERVATIONS, RAW_ANSWERS

ALIKE = 20
"""Times in common with another source from which a unit is judged."""


def request(asked: Any) -> Request:
    """The import as a request: whatever decides how the file is read, and its name.

    Raises:
        UsageError: an argument is missing or says nothing we know.
    """
    if asked.form not in FORMS:
        raise UsageError(f"--form {asked.form}: expected one of {', '.join(FORMS)}")
    params: dict[str, str] = {"file": Path(asked.file).name}
    if asked.form == "series":
        if asked.period not in PERIODS:
            raise UsageError(f"--period {asked.period}: expected one of {', '.join(PERIODS)}")
        declared = _declared(asked.source, asked.metric)
        convert(0.0, asked.unit or declared.unit, declared.unit)
        unit = asked.unit or declared.unit
        params |= {"metric": declared.name, "unit": unit, "period": asked.period}
        params |= {"time": asked.time, "value": asked.value}
    if asked.form == "transfers":
        columns = dict(pair.split("=", 1) for pair in (asked.columns or "").split(",") if "=" in pair)
        if not asked.treasury or set(columns) != {"time", "from", "to", "value"}:
            raise UsageError("--form transfers: expected --treasury ADDRESS --columns time=A,from=B,to=C,value=D")
        params |= columns | {"treasury": asked.treasury}
    return Request(PREFIX + asked.form, "/" + Path(asked.file).name, params)


def _declared(source: str, name: str | None) -> Metric:
    if not name or (found := metric(source, name)) is None:
        raise UsageError(f"--metric {name}: nobody declares it. Add it to lake/sources/imported.py with its unit.")
    return found


def refuse_snapshot(rows: pl.DataFrame) -> None:
    """Raises:
    BadInput: a quantity that moves has one value on every row.
    """
    for (source, name), told in rows.filter(pl.col("told").is_not_null()).group_by("source", "metric"):
        declared = metric(str(source), str(name))
        limit = declared.frozen_after if declared else None
        if limit and told.height >= limit and told["told"].n_unique() == 1:
            raise BadInput(
                f"{name}: all {told.height:,} rows say {told['told'][0]:g}: a snapshot of the day the file was made, "
                "repeated on the past. That is look-ahead; take the history from its source."
            )


def refuse_unit(lake: Lake, rows: pl.DataFrame) -> None:
    """Raises:
    BadInput: the numbers are about a power of a thousand away from another source's for the same entity and metric.
    """
    if not lake.exists(OBSERVATIONS):
        return
    key = ["entity", "metric", "event_time"]
    others = lake.scan(OBSERVATIONS).filter(pl.col("source") != rows["source"][0]).select(*key, other="value").collect()
    both = rows.join(others, on=key).filter(pl.col("value") > 0, pl.col("other") > 0)
    for (entity, name), told in both.group_by("entity", "metric"):
        thousands = float((told["value"] / told["other"]).log10().median() or 0.0) / 3  # type: ignore[arg-type]
        if told.height >= ALIKE and abs(thousands) > 0.5 and math.isclose(thousands, round(thousands), abs_tol=0.15):
            raise BadInput(
                f"{name} of {entity}: about 10^{3 * round(thousands)} times what another source says at "
                f"{told.height:,} common times. Is --unit right?"
            )


def run(job: Job) -> dict[str, Any]:
    asked, path = job.arguments, Path(job.arguments.file)
    if not path.is_file():
        raise UsageError(f"--file {path}: no such file")
    now = time.time_ns() // 1000
    told = [(request(asked), Answer(path.read_text(encoding="utf-8"), now))]
    raw = raw_rows(asked.source, asked.entity, told, now, now, job.run_id)
    rows = candidates(raw)
    unreadable = rows.filter(pl.col("metric") == "")
    if unreadable.height or rows.is_empty():
        raise BadInput(f"{path.name}: {unreadable['reason'][0] if unreadable.height else 'holds no row'}")
    refuse_snapshot(rows)
    refuse_unit(job.lake, rows)
    with writing(job.home.home, RAW_ANSWERS):
        new = store(job.lake, RAW_ANSWERS, raw, job.run_id)
    summary = build_observations.run(replace(job, arguments=_everything(asked)))
    bronze = {"version": job.lake.version(RAW_ANSWERS), "rows": new}
    silver = {key: summary[key] for key in ("version", "rows", "inserted", "updated", "unchanged", "refused")}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return summary | {
        "file": path.name, "sha256": digest, "tables": {RAW_ANSWERS.name: bronze, OBSERVATIONS.name: silver},
    }  # fmt: skip


def _everything(asked: Any) -> Any:
    """The build's arguments: from its watermark."""
    return type(asked)(start=None, end=None, instruments=None)


if __name__ == "__main__":
    arguments = parser("import_series", __doc__)
    arguments.add_argument("--file", required=True)
    arguments.add_argument("--source", required=True, help="whose numbers they are, e.g. cryptoquant")
    arguments.add_argument("--entity", required=True, help="e.g. BTC, macro/DFF, treasury/tether-ethereum")
    arguments.add_argument("--form", default="series", help=", ".join(FORMS))
    arguments.add_argument("--metric", help="a declared quantity, e.g. hash_rate")
    arguments.add_argument("--unit", help="what the file tells it in (default: the declared unit)")
    arguments.add_argument("--time", default="Date", help="name of the time column (default: Date)")
    arguments.add_argument("--value", default="Data", help="name of the value column (default: Data)")
    arguments.add_argument("--period", default="day", help="instant, hour, day or month (default: day)")
    arguments.add_argument("--columns", help="transfers: time=A,from=B,to=C,value=D")
    arguments.add_argument("--treasury", help="transfers: the address whose flows are summed")
    main("import_series", run, arguments)
