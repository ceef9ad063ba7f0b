"""`bitacora lake`: what is stored, without a JVM."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import polars as pl
import typer

from lake.errors import ContractViolated, NothingStored, UsageError
from lake.intervals import Interval, parse_time, to_datetime
from lake.settings import HomeSettings, LakeSettings, read_settings
from lake.storage import Lake
from lake.tables import TABLES, table

app = typer.Typer(no_args_is_help=True, help="What is stored: tables, rows, versions, content hashes. No JVM needed.")

Name = Annotated[
    str,
    typer.Argument(
        help="A table's name, e.g. bars_5m_v1; add _quarantine for its refused rows, _history for the replaced."
    ),
]
Start = Annotated[str | None, typer.Option(help="First instant, ISO 8601 UTC or ms.")]
End = Annotated[str | None, typer.Option(help="End, exclusive.")]
AsOf = Annotated[str | None, typer.Option(help="As it was known at this instant, corrections since then undone.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def the_lake() -> Lake:
    return Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))


def _interval(start: str | None, end: str | None) -> Interval | None:
    if start is None and end is None:
        return None
    return Interval.open(parse_time(start) if start else None, parse_time(end) if end else None)


def _print(value: object) -> None:
    print(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode())


@app.command("tables")
def show_tables(as_json: Json = False) -> None:
    """List the declared tables with version and size."""
    lake = the_lake()
    rows = []
    for declared in TABLES.values():
        stored = lake.exists(declared)
        rows.append(
            {
                "table": declared.name,
                "layer": declared.layer,
                "version": lake.version(declared) if stored else None,
                "rows": lake.count(declared) if stored else 0,
                "owner": declared.owner,
                "description": declared.description,
            }
        )
    if as_json:
        _print(rows)
        return
    for row in rows:
        version = "-" if row["version"] is None else row["version"]
        print(f"{row['layer']:7} {row['table']:16} version {version:>4} {row['rows']:>12,} rows  {row['description']}")


@app.command()
def read(
    name: Name,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    start: Start = None,
    end: End = None,
    version: Annotated[int | None, typer.Option(help="An older version of the table.")] = None,
    as_of: AsOf = None,
) -> None:
    """Write the rows of an interval to a Parquet file."""
    if as_of and version is not None:
        raise UsageError("read: expected --version or --as-of, found both.")
    if as_of:
        frame = the_lake().as_of(table(name), parse_time(as_of), _interval(start, end)).collect()
    else:
        frame = the_lake().scan(table(name), _interval(start, end), version).collect()
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(out)
    print(f"{frame.height:,} rows of {name} in {out}")


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One statement that reads, e.g. SELECT count(*) FROM bars_1m_v1.")],
    out: Annotated[Path | None, typer.Option(help="Write the answer to a .parquet or .csv file.")] = None,
    at: Annotated[list[str] | None, typer.Option(help="TABLE=VERSION, an older version; repeat per table.")] = None,
    as_of: AsOf = None,
    limit: Annotated[int, typer.Option(help="Rows to print at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Ask the tables in SQL (DataFusion's dialect), joins and windows included.

    bitacora lake sql "SELECT instrument, max(close) FROM bars_5m_v1 GROUP BY instrument"
    """
    from lake.query import query

    if as_of and at:
        raise UsageError("sql: expected --at or --as-of, found both.")
    frame = query(the_lake(), statement, dict(map(_table_version, at or ())), parse_time(as_of) if as_of else None)
    if out is not None:
        write_frame(frame, out)
        print(f"{frame.height:,} rows in {out}")
    elif as_json:
        _print(frame.to_dicts())
    else:
        with pl.Config(tbl_rows=limit, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
            print(frame.head(limit))
        print(f"{frame.height:,} rows" + (f", the first {limit} shown" if frame.height > limit else ""))


def write_frame(frame: pl.DataFrame, out: Path) -> None:
    """Write by the file's ending.

    Raises:
        UsageError: neither .parquet nor .csv.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--out {out}: expected a file ending in .parquet or .csv.")
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out)


def _table_version(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise UsageError(f"--at {text}: expected TABLE=VERSION, e.g. bars_5m_v1=3.")
    return name, int(number)


@app.command()
def versions(name: Name, limit: int = 20, as_json: Json = False) -> None:
    """List a table's commits, newest first."""
    history = the_lake().history(table(name), limit)
    if as_json:
        _print(history)
        return
    for commit in history:
        when = to_datetime(commit["timestamp"] * 1000).strftime("%Y-%m-%d %H:%M:%S")
        print(
            f"{commit.get('version', ''):>6} {when} {commit.get('operation', '')} {commit.get('run_id', '')}".rstrip()
        )


@app.command()
def gaps(
    name: Name = "bars_1m_v1",
    start: Start = None,
    end: End = None,
    days: Annotated[bool, typer.Option("--days", help="Coverage per instrument and day instead of holes.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a table of bars with its time grid: each hole with its reason, or the coverage of each day."""
    from jobs.find_gaps import STEPS, connections, times
    from lake.gaps import as_rows, coverage, explained

    if name not in STEPS:
        raise UsageError(f"gaps: expected a table with a time grid ({', '.join(STEPS)}), found {name}.")
    step, asked = STEPS[name], _interval(start, end)
    rows = times(the_lake(), table(name), asked)
    lives = None if days else connections(the_lake(), asked)
    found = coverage(rows, step) if days else as_rows(explained(rows, step, None, lives), name, step)
    if as_json:
        _print(found.to_dicts())
        return
    with pl.Config(tbl_rows=-1, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        print(found if days else found.drop("observed", "available_time", "state", "month"))
    print(f"{found.height:,} {'days' if days else 'holes'}")


@app.command()
def freshness(as_json: Json = False) -> None:
    """Compare the age of each table's newest row with what its declaration allows; exit 65 where one is late."""
    import time

    from lake.freshness import ages

    found = ages(the_lake(), time.time_ns() // 1000)
    if as_json:
        _print([asdict(age) | {"found": age.found, "late": age.late} for age in found])
    else:
        for age in found:
            print(f"{'late ' if age.late else 'fresh'} {age}")
    if late := [str(age) for age in found if age.late]:
        raise ContractViolated(f"{len(late)} of {len(found)} tables are late: {'; '.join(late)}. Run what writes them.")


@app.command("docs")
def data_docs(as_json: Json = False) -> None:
    """Check every stored table and write Great Expectations' pages: what each promises and what was found."""
    import subprocess
    import sys

    from jobs.data_docs import folder

    words = [sys.executable, "-m", "jobs.check_tables", "--table", "all", "--docs"]
    code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
    index = folder(read_settings(HomeSettings).home) / "index.html"
    _print({"docs": str(index), "exit_code": code}) if as_json else print(index)
    raise typer.Exit(code)


@app.command("leases")
def show_leases(as_json: Json = False) -> None:
    """List the table versions that registered models lease: VACUUM keeps their files until the lease ends."""
    from lake.retention import leases

    rows = leases(the_lake()).to_dicts()
    if as_json:
        _print(rows)
        return
    for row in rows:
        model = f"{row['model_name']} version {row['model_version']}"
        print(f"{row['table']:24} version {row['version']:>5}  {model:24}  until {row['expiry_time']:%Y-%m-%d}")
    print(f"{len(rows)} leases")


@app.command("hash")
def content_hash(name: Name, start: Start = None, end: End = None, as_json: Json = False) -> None:
    """Hash the content columns of an interval: equal content, equal hash, however often a job ran."""
    lake = the_lake()
    declared = table(name)
    if not lake.exists(declared):
        raise NothingStored(f"{name}: nothing stored in {lake.root} yet. Run the job that writes it.")
    value = lake.content_hash(declared, _interval(start, end))
    if as_json:
        _print({"table": name, "start": start, "end": end, "hash": value, "version": lake.version(declared)})
    else:
        print(value)
