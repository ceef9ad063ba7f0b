"""The catalogue page, made from the declarations: columns, units, owner, key, partition, checks, lineage.

    python -m lake.catalogue            print it
    python -m lake.catalogue --write    write docs/catalogue.md; a test fails where the page is not what this prints

Lineage is what the jobs say of themselves: the Reads and Writes lines that open their docstrings.
"""

import ast
import re
from pathlib import Path

from lake.command import parser, run
from lake.intervals import DAY, HOUR, MINUTE, SECOND
from lake.sources.imported import METRICS as IMPORTED
from lake.sources.registry import sources
from lake.table import Table
from lake.tables import TABLES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "catalogue.md"
HEAD = """# Catalogue

Made by `python -m lake.catalogue --write` from `lake/tables/`; do not edit. Beside each silver table stand
`<table>_quarantine`, rows that it refused, and `<table>_history`, rows that corrections replaced. Times are UTC µs.
"""
_METRICS = """A number counts from its event's end plus "known after"; a restated one, whose source computes its past
anew, from the first answer that told it. An imported file says which metric it holds."""
_PART = re.compile(r"^(Reads|Writes)\s+(.*?)(?=^\S|\n\n)", re.MULTILINE | re.DOTALL)


def says(job: str) -> list[tuple[set[str], set[str]]]:
    """What a job's docstring names after Reads and after the Writes behind it; a job may say several such pairs."""
    doc = (ast.get_docstring(ast.parse(job)) or "") + "\n\n"
    told: list[tuple[set[str], set[str]]] = []
    read: set[str] = set()
    for part, text in _PART.findall(doc):
        names = {name for name in TABLES if re.search(rf"\b{name}\b", text)}
        if part == "Reads":
            read = names
        else:
            told.append((read, names))
    return told


def lineage() -> dict[str, tuple[set[str], set[str]]]:
    """Per table: the jobs that write it, and the tables that those read."""
    found: dict[str, tuple[set[str], set[str]]] = {name: (set(), set()) for name in TABLES}
    for folder in ("jobs", "training"):
        for path in sorted((ROOT / folder).glob("*.py")):
            for read, written in says(path.read_text()):
                for name in written:
                    found[name][0].add(f"{folder}.{path.stem}")
                    found[name][1].update(read - {name})
    return found


def section(table: Table, writers: set[str], inputs: set[str]) -> str:
    """One table of the page."""
    facts = {
        "layer": table.layer,
        "owner": table.owner,
        "written by": f"{', '.join(sorted(writers)) or 'live or training'} ({table.writer})",
        "made of": ", ".join(f"[{name}](#{name})" for name in sorted(inputs)),
        "key": ", ".join(table.key),
        "partition": ", ".join(table.partition),
        "selected by": table.time_column,
        "known since": table.known_column,
        "newest row at most": f"{duration(table.freshness)} old" if table.freshness else "",
    }
    lines = [f"## {table.name}", "", table.description, ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += [f"- refuses: {check.reason}" for check in table.checks]
    lines += ["", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    for column in table.columns:
        kind = f"{column.type}{' or null' if column.nullable else ''}".replace("timestamp[us, tz=UTC]", "time")
        marks = "" if column.content else " Not part of the content hash."
        lines.append(f"| {column.name} | {kind} | {column.unit} | {_cell(column.description + marks)} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """What observations_v1 may hold, source by source."""
    lines = ["## Metrics of observations_v1", "", _METRICS, ""]
    lines += ["| source | metric | unit | known after | restated | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    declared = [(source.name, metric) for source in sources().values() for metric in source.metrics]
    for source, metric in [*declared, *(("imported", metric) for metric in IMPORTED)]:
        restated = "yes" if metric.restated else ""
        facts = f"{metric.unit} | {duration(metric.delay)} | {restated} | {_cell(metric.description)}"
        lines.append(f"| {source} | {metric.name} | {facts} |")
    return "\n".join(lines) + "\n"


def duration(time: int) -> str:
    """A length of time in the largest unit that leaves no rest: 2 h."""
    unit, name = next(
        (u, n) for u, n in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1, "µs")) if time % u == 0
    )
    return f"{time // unit} {name}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def page() -> str:
    """The whole page."""
    graph = lineage()
    order = sorted(TABLES.values(), key=lambda t: (("bronze", "silver", "gold").index(t.layer), t.name))
    index = ["| layer | table | owner | one row per | made of |", "| --- | --- | --- | --- | --- |"]
    for table in order:
        inputs = ", ".join(sorted(graph[table.name][1]))
        key = ", ".join(table.key)
        index.append(f"| {table.layer} | [{table.name}](#{table.name}) | {table.owner} | {key} | {inputs} |")
    sections = [section(table, *graph[table.name]) for table in order]
    return "\n".join([HEAD, *index, "", *sections, metrics()])


def main() -> int:
    arguments = parser("lake.catalogue", __doc__)
    arguments.add_argument("--write", action="store_true", help="write docs/catalogue.md instead of printing")
    if arguments.parse_args().write:
        PAGE.write_text(page())
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    run(main)
