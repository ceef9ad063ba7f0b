"""The catalogue page is what the declarations say."""

from lake.catalogue import PAGE, lineage, page
from lake.tables import TABLES


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == page(), "docs/catalogue.md is stale: run `python -m lake.catalogue --write`"


def test_every_table_stands_there_with_every_column() -> None:
    text = page()
    for table in TABLES.values():
        part = text.split(f"## {table.name}\n")[1].split("\n## ")[0]
        assert all(f"| {column.name} |" in part for column in table.columns)
        assert all(check.reason in part for check in table.checks)


def test_lineage_comes_from_what_jobs_say() -> None:
    found = lineage()
    assert found["bars_5m_v1"][1] >= {"raw_bars_v1"}
    assert "jobs.build_bars" in found["bars_1m_v1"][0]
    assert found["features_5m_v1"] == ({"jobs.build_features"}, {"bars_5m_v1"})
    assert found["features_chain_1d_v1"] == ({"jobs.build_features"}, {"bars_5m_v1", "observations_v1"})
