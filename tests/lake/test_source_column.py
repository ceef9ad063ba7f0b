"""Adding a nullable column to a bronze table, the second worked example of docs/sources.md."""

from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest

from jobs.bronze import store
from jobs.ingest_source import raw_rows
from lake.intervals import DAY
from lake.sources.source import Answer, Request
from lake.storage import Lake
from lake.table import Column
from lake.tables import RAW_ANSWERS

NOW = 20_000 * DAY
ADDED = Column("release", pa.string(), "The source's own label of the answer.", nullable=True)
WIDER = replace(RAW_ANSWERS, columns=(*RAW_ANSWERS.columns, ADDED))


def answer(text: str) -> pl.DataFrame:
    return raw_rows("fred", "macro/DFF", [(Request("observations", "/"), Answer(text, NOW))], NOW, NOW, "run")


def test_a_column_declared_later_is_null_in_older_rows_and_older_readers_go_on(lake: Lake) -> None:
    store(lake, RAW_ANSWERS, answer("old"), "run")
    before = lake.content_hash(RAW_ANSWERS)
    assert lake.scan(WIDER).select("payload", "release").collect().rows() == [("old", None)]
    assert store(lake, WIDER, answer("old").with_columns(release=pl.lit("r1")), "run") == 0, "held already"
    assert lake.content_hash(RAW_ANSWERS) == before
    assert store(lake, WIDER, answer("new").with_columns(release=pl.lit("r2")), "run") == 1
    told = lake.scan(WIDER).sort("payload").select("payload", "release").collect()
    assert told.rows() == [("new", "r2"), ("old", None)]
    assert lake.scan(RAW_ANSWERS).collect().height == 2
    assert store(lake, RAW_ANSWERS, answer("third"), "run") == 1, "a writer of the older declaration goes on"
    assert lake.scan(WIDER).collect()["release"].null_count() == 2


def test_a_column_that_must_not_be_null_is_not_made_up(lake: Lake) -> None:
    store(lake, RAW_ANSWERS, answer("old"), "run")
    needed = replace(RAW_ANSWERS, columns=(*RAW_ANSWERS.columns, replace(ADDED, nullable=False)))
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="release"):
        lake.scan(needed).collect()
