"""docs/sources.md names what the registry declares: every source, its host, its key's setting and its metrics."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lake.sources.registry import sources

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
ROWS = {row[1]: row[0] for row in re.finditer(r"^\| `(\w+)` \|.*$", PAGE, re.MULTILINE)}
STREAMS = {"x_stream"}
"""Listened to by `jobs.record_texts`, not asked."""


def test_the_page_and_the_registry_name_the_same_sources() -> None:
    assert set(ROWS) - STREAMS == set(sources())


@pytest.mark.parametrize("name", sorted(sources()))
def test_a_row_says_where_a_source_is_what_key_it_takes_and_what_it_tells(name: str) -> None:
    source, row = sources()[name], ROWS[name]
    host = urlsplit(source.address).hostname
    assert host is None or host in row
    assert (f"`SOURCES_{name.upper()}_KEY`" in row) == (source.key is not None)
    assert [metric.name for metric in source.metrics if metric.name not in row] == []
