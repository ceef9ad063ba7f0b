"""python -m feature_store list | show | compute | join | leaks: features from files, without lake or JVM.

materialize | online | rebuild | gallery, and join --save: from the lake, without a JVM either.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from feature_store.catalogue import all_services, catalogue, find, markdown, shown
from feature_store.errors import LeakFound
from feature_store.inputs import REFERENCES
from feature_store.period import SPANS
from feature_store.service import DEFAULT, DEFAULT_REF, service
from feature_store.stored_commands import add_commands, save_joined
from feature_store.view import FeatureView
from lake.command import Parser
from lake.errors import BitacoraError, UsageError
from lake.intervals import MINUTE

if TYPE_CHECKING:
    import polars as pl


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0, or that of the error printed to stderr)."""
    parsed = _parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m feature_store", description=__doc__)
    commands = parser.add_subparsers(
        required=True, metavar="list|show|compute|join|leaks|materialize|online|rebuild|gallery"
    )

    listing = commands.add_parser("list", help="the services and what their columns mean")
    listing.add_argument("--service", help="only this one")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON array")
    form.add_argument("--markdown", action="store_true", help="the table of docs/features.md")
    listing.set_defaults(run=_list)

    showing = commands.add_parser("show", help="one service or view: inputs, warm-up, columns, version, owner, budget")
    showing.add_argument("name", help="of a service or a view, as list tells them")
    showing.add_argument("--json", action="store_true", help="one JSON array of views")
    showing.set_defaults(run=_show)

    computing = commands.add_parser("compute", help="features of one file of bars, one row per bar")
    computing.add_argument("--bars", type=Path, required=True, help="parquet, csv or feather: open_time or ts, open, …")
    computing.add_argument("--instrument", required=True, help="a label for the rows, e.g. binance:BTC/USDT")
    computing.add_argument("--timeframe", required=True, choices=tuple(SPANS), help="spacing of the bars")
    computing.add_argument(
        "--service", help=f"default {DEFAULT.name}; with --reference {DEFAULT_REF.name}: adds correlation and beta"
    )
    computing.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="bars of a reference instrument over the same times; NAME btc (default) or eth",
    )
    computing.add_argument("--series", type=Path, help="rows of observations_v1, for a service that reads series")
    computing.add_argument("--out", type=Path, required=True, help="parquet file to write")
    computing.set_defaults(run=_compute)

    joining = commands.add_parser("join", help="attach to labels the newest features available at decision_time")
    joining.add_argument("--labels", type=Path, required=True, help="instrument, decision_time, …")
    joining.add_argument("--features", type=Path, help="as written by compute; default: the lake's, with --save")
    joining.add_argument("--columns", help="comma-separated; default: every column of the service")
    joining.add_argument("--service", default=DEFAULT.name, help=f"default {DEFAULT.name}")
    joining.add_argument("--lookback-minutes", type=int, default=60, help="oldest usable row, default 60")
    written = joining.add_mutually_exclusive_group(required=True)
    written.add_argument("--out", type=Path, help="parquet file to write")
    written.add_argument("--save", type=Path, metavar="DIR", help="a training set that `rebuild DIR` builds again")
    joining.set_defaults(run=_join)

    checking = commands.add_parser(
        "leaks",
        help="does any feature know the future? rebuilds it from truncated data",
        description="Rebuild features from the data known at random cut-offs and compare. Exit code 65 if one differs.",
    )
    checking.add_argument("--bars", type=Path, required=True, help="parquet, csv or feather: open_time or ts, open, …")
    checking.add_argument("--timeframe", required=True, choices=tuple(SPANS), help="spacing of the bars")
    checked = checking.add_mutually_exclusive_group()
    checked.add_argument("--service", default=DEFAULT.name, help=f"check a service; default {DEFAULT.name}")
    checked.add_argument("--pipeline", type=Path, help="check a file of yours with features(tables) -> polars frame")
    checking.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="further tables of the pipeline, available_time",
    )
    checking.add_argument("--cuts", type=int, default=100, help="random cut-offs, default 100")
    checking.add_argument("--seed", type=int, default=0, help="of the cut-offs")
    checking.add_argument("--json", action="store_true", help="one JSON object")
    checking.set_defaults(run=_leaks)

    add_commands(commands)
    return parser


def _list(arguments: argparse.Namespace) -> None:
    every = all_services()
    chosen = [every.get(arguments.service) or service(arguments.service)] if arguments.service else list(every.values())
    if arguments.json:
        print(json.dumps([catalogue(one) for one in chosen], indent=2))
        return
    for one in chosen:
        if not arguments.markdown:
            print(f"{one.name}  {one.timeframe}, {len(one.feature_names)} columns, sha256 {one.content_hash}")
            width = max(map(len, one.feature_names))
            for output in one.outputs:
                print(f"  {output.name:{width}}  {output.unit:10}  {output.description}")
        else:
            print(markdown(one))


def _show(arguments: argparse.Namespace) -> None:
    found = find(arguments.name)
    views = [found] if isinstance(found, FeatureView) else list(found.views)
    if arguments.json:
        print(json.dumps([shown(view) for view in views], indent=2))
        return
    if not isinstance(found, FeatureView):
        print(f"{found.name}  {found.timeframe}, warm after {found.warm_up} rows, sha256 {found.content_hash}\n")
    for one in map(shown, views):
        print(f"{one['view']} v{one['version']}, owner {one['owner']}, in {', '.join(one['services'])}")
        print(f"  {one['description']}")
        print(f"  reads {', '.join(one['inputs'])}; warm after {one['warm_up']} rows; {one['budget_us']:g} µs a row")
        for each in one["outputs"]:
            print(f"    {each['name']}  [{each['unit']}]  {each['description']} Null {each['nan']}.")


def _compute(arguments: argparse.Namespace) -> None:
    from feature_store.files import feature_table, read_bars, read_table

    paths = dict(map(_reference, arguments.reference))
    references = {name: read_bars(path) for name, path in paths.items()}
    default = DEFAULT_REF if references else DEFAULT
    one = service(arguments.service or default.name).at(arguments.timeframe)
    unread = sorted(set(references) - set(one.extras))
    if unread:
        raise UsageError(f"--reference: {one.name} does not read {', '.join(unread)}. Choose another --service.")
    series = read_table(arguments.series) if arguments.series else None
    table = feature_table(one, arguments.instrument, *read_bars(arguments.bars), references, series)
    _write(table, arguments.out)
    print(f"{arguments.out}: {table.height} rows of {one.name}")


def _reference(text: str) -> tuple[str, Path]:
    """Input name and file of a --reference, e.g. `eth=eth.parquet`."""
    base, equals, path = text.rpartition("=")
    name = f"{base.lower() or 'btc'}_close"
    if equals and name not in {reference.name for reference in REFERENCES}:
        raise UsageError(f"--reference {text}: expected btc=FILE or eth=FILE.")
    return name, Path(path)


def _join(arguments: argparse.Namespace) -> None:
    if (arguments.save is None) != (arguments.features is not None) or (arguments.save and arguments.columns):
        raise UsageError("join: expected --features and --out (files), or --save alone (the lake, every column).")
    if arguments.save is not None:
        save_joined(arguments.labels, arguments.service, arguments.lookback_minutes, arguments.save)
        return
    from feature_store.files import read_table
    from feature_store.offline import point_in_time_join

    columns = arguments.columns.split(",") if arguments.columns else service(arguments.service).feature_names
    labels, features = read_table(arguments.labels), read_table(arguments.features)
    joined = point_in_time_join(labels, features, columns, arguments.lookback_minutes * MINUTE)
    _write(joined, arguments.out)
    print(f"{arguments.out}: {joined.height} labels, {joined[columns[0]].null_count()} without features")


def _leaks(arguments: argparse.Namespace) -> None:
    from feature_store.files import read_bars, read_table
    from feature_store.leaks import bars_table, find_leaks, find_service_leaks, load_pipeline

    if arguments.cuts < 1:
        raise UsageError(f"--cuts {arguments.cuts}: expected at least 1.")
    one, (times, bars) = service(arguments.service).at(arguments.timeframe), read_bars(arguments.bars)
    if arguments.pipeline is None:
        what, found = one.name, find_service_leaks(one, times, bars, arguments.cuts, arguments.seed)
    else:
        tables = {"bars": bars_table(times, bars, one.periods.bar_us)}
        for text in arguments.table:
            name, _, path = text.partition("=")
            tables[name] = read_table(Path(path))
        what = str(arguments.pipeline)
        found = find_leaks(load_pipeline(arguments.pipeline), tables, arguments.cuts, arguments.seed)
    if arguments.json:
        print(json.dumps({"checked": what, "cuts": arguments.cuts, "leaks": [asdict(leak) for leak in found]}))
    else:
        print(f"{what}: {arguments.cuts} cut-offs, " + (f"{len(found)} leaking columns" if found else "no leak found"))
    if found:
        raise LeakFound(" ".join(map(str, found[:5])) + " Use only what was available at decision_time.")


def _write(table: "pl.DataFrame", path: Path) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(part)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot write it: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
