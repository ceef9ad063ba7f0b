"""A job's last line is a JSON summary; here it becomes the asset events' extra.

{"job": "ingest_bars", "table": "raw_bars_v1", "version": 7, "rows": 1555200, "start": …, "end": …}
{"job": "build_bars", "tables": {"bars_1m_v1": {"version": 3, "rows": 9}, "bars_5m_v1": {…}}, …}
"""

from collections.abc import Iterable
from typing import Any

import orjson
from airflow.sdk import Asset, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

Summary = dict[str, Any]


def parse(line: str) -> Summary | None:
    """The summary in a line of output, or None where it holds something else."""
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def last(lines: Iterable[str]) -> Summary | None:
    """The last line that is a JSON object."""
    found = None
    for line in lines:
        found = parse(line) or found
    return found


def tables(summary: Summary) -> dict[str, dict[str, int]]:
    """Table name to `version` and `rows`, whichever of the two shapes the job printed."""
    if "tables" in summary:
        return {name: {"version": entry["version"], "rows": entry["rows"]} for name, entry in summary["tables"].items()}
    if "table" in summary:
        return {summary["table"]: {"version": summary["version"], "rows": summary["rows"]}}
    return {}


def publish(context: Context, outlets: Iterable[Asset], summary: Summary | None, first_try: bool) -> None:
    """Attach to every outlet's event the Delta version it stands for.

    A table's asset takes the table's own commit; a model's takes the table the summary names.
    An interval that held nothing new makes no event, so nothing downstream runs for nothing. A retry still makes
    one: its first try may have committed before it died.

    Raises:
        AirflowSkipException: every table of the summary says zero rows, on the first try.
        AirflowFailException: an outlet's version is missing from the summary.
    """
    assets = list(outlets)
    if not assets:
        return
    if summary is None:
        raise AirflowFailException("the job printed no JSON summary as its last line, so its Delta version is unknown")
    written = tables(summary)
    if first_try and written and not any(entry["rows"] for entry in written.values()):
        raise AirflowSkipException("nothing new: no rows were written, so nothing downstream needs to run")
    for outlet in assets:
        context["outlet_events"][outlet].extra.update(_extra(outlet.name, written, summary))


def _extra(name: str, written: dict[str, dict[str, int]], summary: Summary) -> dict[str, Any]:
    table = name if name in written else next(iter(written), None) if name.startswith("model/") else None
    if table is None or written[table]["version"] is None:
        raise AirflowFailException(f"{name}: the job's summary names no Delta version: {summary}")
    extra: dict[str, Any] = {"table": table, "delta_version": written[table]["version"], "rows": written[table]["rows"]}
    kept = ("start", "end", "run_id", "model", "model_version")
    return extra | {key: summary[key] for key in kept if summary.get(key) is not None}
