"""A job's exit code and last line become what Airflow does next."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors
from bitacora_airflow.assets import asset, model_asset
from bitacora_airflow.exits import raise_for
from bitacora_airflow.job import Job, command_line, job_environment
from bitacora_airflow.promotion import Judge, Promote
from bitacora_airflow.spark_job import SparkJob, exit_code

from lake.tables.bars import BARS_1M, BARS_5M, RAW_BARS

_STAND_IN = """
import sys
for line in sys.argv[2:]:
    print(line)
print("on stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module `stand_in` that prints its arguments and exits with the first."""
    (tmp_path / "stand_in.py").write_text(_STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def context(try_number: int = 1) -> Any:
    return {"ti": SimpleNamespace(try_number=try_number), "outlet_events": OutletEventAccessors()}


def job(*words: str, **kwargs: Any) -> Job:
    return Job(task_id="job", module="stand_in", arguments=list(words), **kwargs)


def test_exit_code_75_is_retried_and_no_other_is() -> None:
    raise_for(0, "job")
    with pytest.raises(AirflowException) as retried:
        raise_for(75, "job")
    assert not isinstance(retried.value, AirflowFailException)
    for code in (1, 64, 65, 69, 70, 78, -9, -15, 143):
        with pytest.raises(AirflowFailException, match=str(code)):
            raise_for(code, "job")


def test_a_job_that_exits_75_raises_what_airflow_retries() -> None:
    with pytest.raises(AirflowException) as raised:
        job("75").execute(context())
    assert not isinstance(raised.value, AirflowFailException)


def test_a_job_that_exits_65_fails_for_good() -> None:
    with pytest.raises(AirflowFailException, match="exit code 65"):
        job("65").execute(context())


def test_the_last_json_line_becomes_the_events_version_and_rows() -> None:
    lines = ['{"job": "x", "table": "raw_bars_v1", "version": 1, "rows": 9}', "progress 100 %"]
    held = context()
    found = job("0", "{not json}", *lines, outlets=[asset(RAW_BARS)]).execute(held)
    assert found is not None and found["version"] == 1
    assert held["outlet_events"][asset(RAW_BARS)].extra == {"table": "raw_bars_v1", "delta_version": 1, "rows": 9}


def test_a_job_that_writes_two_tables_gives_each_its_own_version() -> None:
    line = '{"job": "b", "tables": {"bars_1m_v1": {"version": 3, "rows": 5}, "bars_5m_v1": {"version": 4, "rows": 1}}}'
    held = context()
    job("0", line, outlets=[asset(BARS_1M), asset(BARS_5M)]).execute(held)
    assert held["outlet_events"][asset(BARS_1M)].extra["delta_version"] == 3
    assert held["outlet_events"][asset(BARS_5M)].extra["delta_version"] == 4


def test_a_job_without_a_summary_makes_no_event() -> None:
    with pytest.raises(AirflowFailException, match="no JSON summary"):
        job("0", "all good", outlets=[asset(RAW_BARS)]).execute(context())


def test_a_summary_without_the_outlets_version_fails_the_task() -> None:
    line = '{"job": "b", "table": "bars_1m_v1", "version": 3, "rows": 5}'
    with pytest.raises(AirflowFailException, match="names no Delta version"):
        job("0", line, outlets=[asset(BARS_5M)]).execute(context())


def test_nothing_new_triggers_nothing_but_a_retry_still_does() -> None:
    line = '{"job": "x", "table": "raw_bars_v1", "version": 7, "rows": 0}'
    with pytest.raises(AirflowSkipException, match="nothing new"):
        job("0", line, outlets=[asset(RAW_BARS)]).execute(context())
    held = context(try_number=2)
    job("0", line, outlets=[asset(RAW_BARS)]).execute(held)
    assert held["outlet_events"][asset(RAW_BARS)].extra["delta_version"] == 7


def test_empty_options_are_left_out() -> None:
    assert command_line(["a"], {"--start": "", "--end": "2024-01-01"}) == ["a", "--end", "2024-01-01"]


def test_a_job_sees_neither_the_schedulers_secrets_nor_trading_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE_API_SECRET", "canary")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "canary")
    assert "canary" not in job_environment().values()


def test_a_refused_challenger_skips_the_promotion() -> None:
    judge = Judge(task_id="judge", version="3")
    verdict = {"outcome": "unfit", "model_name": "bitacora", "model_version": 3, "why": "beats flat: expected more"}
    with pytest.raises(AirflowSkipException, match="beats flat"):
        judge.settle(65, verdict)
    with pytest.raises(AirflowFailException):
        judge.settle(65, None)


def test_a_promotion_is_made_in_the_name_of_who_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(answer: str) -> list[str]:
        promote = Promote(task_id="promote", version="3", answer=answer, who="ana", why="better")
        monkeypatch.setattr(promote, "run_module", lambda given: (0, {"words": given}))
        found = promote.execute(context())
        assert found is not None
        return list(found["words"])

    version = ["--model", "bitacora", "--version", "3"]
    assert words("approve") == [*version, "--approve", "ana", "--why", "better"]
    assert words("reject") == [*version, "--reject", "ana", "--why", "better"]
    assert words("auto") == ["--auto", *version]
    assert words("") == [*version, "--", "ana", "--why", "better"]  # refused by training.promote: nobody answered


def test_a_models_event_carries_the_version_of_the_table_it_was_made_from() -> None:
    line = '{"run_id": "r", "model": "gbm", "table": "features_5m_v1", "version": 5, "rows": 8, "model_version": 2}'
    held = context()
    job("0", line, outlets=[model_asset("challenger")]).execute(held)
    extra = held["outlet_events"][model_asset("challenger")].extra
    assert (extra["table"], extra["delta_version"], extra["run_id"]) == ("features_5m_v1", 5, "r")


def test_spark_submits_exit_code_is_read_from_its_message() -> None:
    assert exit_code(Exception("Cannot execute: spark-submit … Error code is: 75.\nlog")) == 75
    assert exit_code(Exception("something else")) == 70


@pytest.mark.spark
@pytest.mark.parametrize("code", [0, 75, 65])
def test_a_spark_job_has_the_same_exit_codes_and_summary(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    line = '{"job": "b", "table": "bars_5m_v1", "version": 4, "rows": 2}'
    task = SparkJob(task_id="s", module="stand_in", arguments=[str(code), line], outlets=[asset(BARS_5M)])
    held = context()
    if code == 0:
        found = task.execute(held)
        assert found is not None and found["version"] == 4
        assert held["outlet_events"][asset(BARS_5M)].extra["delta_version"] == 4
        return
    with pytest.raises(AirflowException) as raised:
        task.execute(held)
    assert isinstance(raised.value, AirflowFailException) == (code != 75)
