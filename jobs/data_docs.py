"""Great Expectations' pages: what each table promises, and what the last check of it found.

    BITACORA_HOME/data_docs/index.html            every declared table with its last check
    BITACORA_HOME/data_docs/suites/<table>.html   its expectations, from the declaration
    BITACORA_HOME/data_docs/checks/<table>.html   the last check; .json: what the index shows of it

Great Expectations renders them through a page frame of ours: its own takes scripts and styles from eleven public
addresses, shows nothing without them, and reports to its makers that a page was opened.
"""

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from jobs.quality import Report, expectations
from lake.table import Table
from lake.tables import TABLES

PAGES = Path(__file__).parent / "pages"


def folder(home: Path) -> Path:
    """Where the pages are."""
    return home.resolve() / "data_docs"


@cache
def _view() -> Any:
    """Great Expectations' view; templates of ours stand before its own of the same name."""
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, FileSystemLoader

    view = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([FileSystemLoader(PAGES), view.env.loader])
    return view


def keep(home: Path, table: Table, report: Report, **told: Any) -> None:
    """Write the page of a check; `told` is what the index shows: version, rows, anomalies, problems."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    page = _view().render(ValidationResultsPageRenderer().render(report.outcome))
    page = re.sub(r'href="[./]*/expectations/', 'href="../suites/', page)  # its own site's address of the suite
    checks = folder(home) / "checks"
    checks.mkdir(parents=True, exist_ok=True)
    (checks / f"{table.name}.html").write_text(page)
    time = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    (checks / f"{table.name}.json").write_bytes(orjson.dumps({"time": time} | told))


def write(home: Path) -> Path:
    """Write the pages of all suites and the index over the last checks; return the index."""
    (folder(home) / "suites").mkdir(parents=True, exist_ok=True)
    rows = []
    for table in TABLES.values():
        suite, found = expectations(table), folder(home) / "checks" / f"{table.name}.json"
        (folder(home) / "suites" / f"{table.name}.html").write_text(_suite(table, suite))
        checked = orjson.loads(found.read_bytes()) if found.exists() else None
        facts = {"layer": table.layer, "name": table.name, "owner": table.owner, "description": table.description}
        rows.append(facts | {"expectations": len(suite), "checked": checked})
    index = folder(home) / "index.html"
    rows.sort(key=lambda row: row["checked"] is None)
    index.write_text(_view().env.get_template("index.html").render(tables=rows))
    return index


def _suite(table: Table, suite: list[Any]) -> str:
    from great_expectations import ExpectationSuite
    from great_expectations.render.renderer import ExpectationSuitePageRenderer

    page: str = _view().render(
        ExpectationSuitePageRenderer().render(ExpectationSuite(name=table.name, expectations=suite))
    )
    return page
