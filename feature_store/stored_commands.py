"""Commands of `python -m feature_store` that read the lake or the online store: materialize, online, rebuild,
gallery."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from feature_store.service import DEFAULT, service
from lake.errors import UsageError
from lake.intervals import MINUTE, Interval, format_time, parse_time
from lake.settings import HomeSettings, LakeSettings, read_settings
from lake.storage import Lake

JSON = "one JSON object"


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Hook them into the parser of `feature_store.__main__`."""
    filling = commands.add_parser("materialize", help="bring the online store up to the lake's features")
    filling.add_argument("--service", default=DEFAULT.name, help=f"default {DEFAULT.name}")
    filling.add_argument("--start", help="first event time, ISO 8601 UTC or ms; default: what the store has not seen")
    filling.add_argument("--end", help="end, exclusive")
    filling.add_argument("--keep", type=int, default=64, help="rows per instrument, default 64")
    filling.set_defaults(run=_materialize)

    asking = commands.add_parser("online", help="what the online store holds of an entity, or how fresh all are")
    asking.add_argument("--service", default=DEFAULT.name, help=f"default {DEFAULT.name}")
    asking.add_argument("--entity", help="e.g. binance:BTC/USDT; default: how old every entity's newest row is")
    asking.add_argument("--last", type=int, default=1, metavar="N", help="this many rows, oldest first")
    asking.add_argument("--now", help="as of this time, ISO 8601 UTC or ms; default: the machine's clock")
    asking.add_argument("--json", action="store_true", help=JSON)
    asking.set_defaults(run=_online)

    again = commands.add_parser(
        "rebuild", help="build a saved training set again and compare its hash; 65 if not equal"
    )
    again.add_argument("folder", type=Path, help="as written by join --save")
    again.add_argument("--json", action="store_true", help=JSON)
    again.set_defaults(run=_rebuild)

    looking = commands.add_parser("gallery", help="the newest images of candles as one HTML page")
    looking.add_argument("--instrument", help="default: every one")
    looking.add_argument("--last", type=int, default=12, metavar="N", help="windows of each instrument, default 12")
    looking.add_argument("--out", type=Path, required=True, help="HTML file to write")
    looking.set_defaults(run=_gallery)


def save_joined(labels: Path, name: str, lookback_minutes: int, folder: Path) -> None:
    """`join --save`: a training set from the lake's features."""
    from feature_store.files import read_table
    from feature_store.training_set import save

    recipe = save(_lake(), read_table(labels), service(name), lookback_minutes * MINUTE, folder)
    print(json.dumps({"folder": str(folder)} | asdict(recipe)))


def _materialize(arguments: argparse.Namespace) -> None:
    from feature_store.materialize import materialize
    from feature_store.online_settings import open_store

    interval = None
    if arguments.start or arguments.end:
        start, end = (parse_time(text) if text else None for text in (arguments.start, arguments.end))
        interval = Interval.open(start, end)
    with open_store(read_settings(HomeSettings)) as store:
        done = materialize(_lake(), store, service(arguments.service), interval, arguments.keep)
    print(json.dumps({"job": "materialize"} | done))


def _online(arguments: argparse.Namespace) -> None:
    from feature_store.online import service_view
    from feature_store.online_settings import open_store

    if arguments.last < 1:
        raise UsageError(f"--last {arguments.last}: expected at least 1.")
    view = service_view(service(arguments.service))
    now = parse_time(arguments.now) if arguments.now else time.time_ns() // 1_000
    with open_store(read_settings(HomeSettings)) as store:
        if arguments.entity is None:
            ages = {name: None if age is None else age / 1e6 for name, age in store.freshness(view, now).items()}
            found: dict[str, Any] = {"service": view.name, "age_seconds": ages}
        else:
            answer = store.get(view, arguments.entity, now)
            rows = store.get_last_n(view, arguments.entity, arguments.last, now)
            shown = [
                {"event_time": format_time(row.event_time), "available_time": format_time(row.available_time)}
                | dict(zip(view.columns, row.values, strict=True))
                for row in rows
            ]
            found = {
                "entity": arguments.entity,
                "fresh": answer.row is not None,
                "reason": answer.reason,
                "rows": shown,
            }
    print(json.dumps(found) if arguments.json else _told(found))


def _told(found: dict[str, Any]) -> str:
    if "age_seconds" in found:
        lines = [
            f"{name}  {'nothing known yet' if age is None else f'{age:,.0f} s old'}"
            for name, age in found["age_seconds"].items()
        ]
        return "\n".join(lines) or f"{found['service']}: nothing materialized"
    head = f"{found['entity']}: {'fresh' if found['fresh'] else found['reason']}"
    return "\n".join([head, *(f"  {name:24} {value}" for row in found["rows"] for name, value in row.items())])


def _rebuild(arguments: argparse.Namespace) -> None:
    from feature_store.training_set import rebuild

    recipe, rows = rebuild(_lake(), arguments.folder)
    if arguments.json:
        print(json.dumps({"folder": str(arguments.folder), "equal": True} | asdict(recipe)))
    else:
        print(f"{arguments.folder}: {rows.height} rows, equal to what was saved, sha256 {recipe.content_hash}")


def _gallery(arguments: argparse.Namespace) -> None:
    import polars as pl

    from feature_store.gallery import write_gallery
    from lake.tables.images import IMAGES_5M

    frame = _lake().scan(IMAGES_5M)
    if arguments.instrument:
        frame = frame.filter(pl.col("instrument") == arguments.instrument)
    newest = pl.col("event_time").rank("dense", descending=True).over("instrument") <= arguments.last
    rows = frame.filter(newest).collect()
    write_gallery(rows, arguments.out)
    print(f"{arguments.out}: {rows.height} images")


def _lake() -> Lake:
    return Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))
