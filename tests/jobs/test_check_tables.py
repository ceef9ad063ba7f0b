"""Validating what is stored."""

from typing import Any

import pytest

from jobs import quality
from lake.errors import ContractViolated, NothingStored
from lake.storage import Lake
from lake.tables import BARS_1M
from tests.lake.raw_bars import BTC, random_minutes, store
from tests.lake_fixtures import RunJob

FULL = {"quick": False, "docs": False}


@pytest.mark.spark
def test_a_table_altered_behind_our_back_fails_with_every_reason(spark: Any, lake: Lake, run_job: RunJob) -> None:
    store(lake, random_minutes(10, [BTC]))
    run_job("build_bars")
    assert run_job("check_tables", **FULL, table="bars_1m_v1", start="2024-01-29", end="2024-01-30")["rows"] == 10
    with pytest.raises(ContractViolated, match="found none"):
        run_job("check_tables", **FULL, table="bars_1m_v1", start="2025-01-29", end="2025-01-30")
    spark.sql(f"ALTER TABLE delta.`{lake.uri(BARS_1M)}` DROP CONSTRAINT check_1")
    spark.sql(f"UPDATE delta.`{lake.uri(BARS_1M)}` SET high = 1.0 WHERE open_time < '2024-01-29 00:02:00'")
    spark.read.format("delta").load(lake.uri(BARS_1M)).limit(1).write.format("delta").mode("append").save(
        lake.uri(BARS_1M)
    )
    with pytest.raises(ContractViolated) as refused:
        run_job("check_tables", **FULL, table="bars_1m_v1")
    assert "high is below low, open or close: 2 unexpected" in str(refused.value) or (
        "high is below low, open or close: 3 unexpected" in str(refused.value)
    )
    assert "the key (instrument, open_time) is unique: 1 unexpected" in str(refused.value)


@pytest.mark.spark
def test_nulls_and_a_wrong_column_are_found(spark: Any) -> None:
    names = BARS_1M.schema.names
    frame = spark.range(3).selectExpr(*[f"CAST(NULL AS STRING) AS {name}" for name in names])
    failures = " | ".join(quality.validate(frame, BARS_1M).failures)
    assert "open_time is not null: 3 unexpected" in failures
    assert "expect_column_values_to_be_of_type(open)" in failures
    assert "is unique" in failures
    missing = quality.validate(frame.drop("close"), BARS_1M).failures
    assert any("expect_table_columns_to_match_ordered_list" in line for line in missing)


def test_an_absent_table_is_named(run_job: RunJob) -> None:
    with pytest.raises(NothingStored, match="bars_5m_v1"):
        run_job("check_tables", **FULL, table="bars_5m_v1")
