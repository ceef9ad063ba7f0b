"""Dune: the result of a saved query, run now. Needs a key (`X-Dune-API-Key`).

POST /api/v1/query/<id>/execute, GET /api/v1/execution/<execution>/status until it is completed, then pages of
/api/v1/execution/<execution>/results?limit=&offset= by `next_offset`. A saved query takes the parameters `start` and
`end` (YYYY-MM-DD) and returns the columns time (end of the period), entity, metric (one of those below) and value.
"""

from collections.abc import Iterator
from typing import Any

from lake.errors import BadInput, TryAgain
from lake.intervals import DAY, HOUR, Interval, parse_time
from lake.sources.generated import date, number, starts
from lake.sources.source import Call, Key, Metric, Observation, Pages, Raw, Refusal, Request, Source

PAGE, LOOKS = 500, 120
DONE, ALIVE = "QUERY_STATE_COMPLETED", ("QUERY_STATE_PENDING", "QUERY_STATE_EXECUTING")
LEVELS = {"dex_volume_usd": 2e9, "active_addresses": 4e5, "exchange_inflow_usd": 8e8, "exchange_outflow_usd": 8e8}


def pages(entity: str, interval: Interval) -> Pages:
    asked = {"start": date(interval.start), "end": date(interval.end)}
    query = f"/api/v1/query/{entity.removeprefix('query/')}/execute"
    started = yield Request("execute", query, body={"query_parameters": asked, "performance": "medium"}, keep=False)
    path = f"/api/v1/execution/{started.json()['execution_id']}"
    for look in range(LOOKS):
        pause = min(0.05 * 2**look, 5.0)
        state = (yield Request("status", path + "/status", keep=False, wait_seconds=pause)).json()["state"]
        if state == DONE:
            break
        if state not in ALIVE:
            raise BadInput(f"dune {entity}: the query ended as {state}. Run it on dune.com and read its error.")
    else:
        raise TryAgain(f"dune {entity}: still running after {LOOKS} looks.")
    offset: int | None = 0
    while offset is not None:
        answer = yield Request("results", path + "/results", {"limit": PAGE, "offset": offset})
        offset = answer.json().get("next_offset")


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["result"]["rows"]:
        at = parse_time(row["time"].removesuffix(" UTC"))
        yield Observation(row["entity"], row["metric"], at, None if row["value"] is None else float(row["value"]))


def answer(call: Call) -> Any:
    runs = call.state.setdefault("runs", {})
    _, _, _, kind, name, what = call.path.split("/")
    if kind == "query":
        run = f"01HR{len(runs):022d}"
        runs[run] = {"asked": call.body["query_parameters"], "looks": 0, "query": int(name)}
        return {"execution_id": run, "state": ALIVE[0]}
    if name not in runs:
        raise Refusal(404, {"error": f"Execution not found: {name}"})
    run = runs[name]
    run["looks"] += 1
    if what == "status":
        return {"execution_id": name, "query_id": run["query"], "state": DONE if run["looks"] > 2 else ALIVE[1]}
    days = starts(parse_time(run["asked"]["start"]), parse_time(run["asked"]["end"]), call.now)
    rows = [
        {"time": f"{date(at + DAY)} 00:00:00.000 UTC", "entity": e, "metric": m, "value": number(e + m, at, level)}
        for at in days for e in ("ETH", "BTC") for m, level in LEVELS.items()
    ]  # fmt: skip
    first, size = int(call.params.get("offset", 0)), int(call.params.get("limit", 1000))
    more = {"next_offset": first + size} if first + size < len(rows) else {}
    return {"execution_id": name, "state": DONE, "result": {"rows": rows[first : first + size]}} | more


SOURCE = Source(
    name="dune", title="Dune: saved queries", address="https://api.dune.com", docs="https://docs.dune.com/api-reference",
    entities=("query/3512345",), pages=pages, parse=parse, answer=answer, key=Key(header="X-Dune-API-Key"),
    requests_per_minute=15,
    metrics=tuple(
        Metric(name, unit, 6 * HOUR, f"{name} as the query says.", 0, restated=True)
        for name, unit in ((name, "count" if name == "active_addresses" else "usd") for name in LEVELS)
    ),
)  # fmt: skip
