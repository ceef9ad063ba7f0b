"""The stream leaves what the batch job leaves: in increments, late, killed in the middle of a batch, told to stop."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from jobs import stream_market
from jobs.bronze import store
from jobs.raw_frames import raw_frames
from lake.errors import NothingStored, UsageError
from lake.intervals import DAY, HOUR, MILLISECOND, MINUTE, format_time
from lake.storage import Lake
from lake.tables import RAW_FRAMES, TRADES
from lake.wire.captures import read_capture
from tests.jobs.test_market_rows import NOON, frames, trade
from tests.lake_fixtures import RunJob

HELD = (TRADES, TRADES.quarantine(), TRADES.history())


def content(lake: Lake) -> list[str | None]:
    return [lake.content_hash(table) if lake.exists(table) else None for table in HELD]


def stream(run_job: RunJob, seconds: float | None = None) -> dict[str, Any]:
    return run_job("stream_market", table="trades_v1", seconds=seconds)


def captured(data: Path) -> pl.DataFrame:
    """Real frames around a midnight, one that does not parse, and one that corrects a trade."""
    files = [data / f"orderbook/binance_spot_btcusdt_202408{day}.jsonl.gz" for day in ("08", "09")]
    taken = pl.concat([read_capture(file, "binance", "BTCUSDT").head(1500) for file in files])
    last = taken.filter(pl.col("payload").str.contains('"e":"trade"')).tail(1)
    wrong = orjson.loads(last["payload"].item())
    (wrong.get("data") or wrong)["p"] = "61000.01000000"
    later = last.with_columns(payload=pl.lit(orjson.dumps(wrong).decode()), received_us=pl.col("received_us") + MINUTE)
    damaged = last.with_columns(payload=pl.lit('{"stream":"btcusdt@trade","data":{"e":"trade","s":'))
    return raw_frames(
        pl.concat([taken, later, damaged]).with_columns(
            connection=pl.lit("c"),
            sequence=pl.int_range(pl.len(), dtype=pl.Int64),
            market_us=pl.lit(None, pl.Int64),
        ),
        "run",
    )


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> pl.DataFrame:
    """Frames of two days, real ones where the shared data is there; the last five tell of the day before."""
    try:
        taken = captured(request.getfixturevalue("shared_data"))
    except pytest.skip.Exception:
        taken = frames(
            *(trade(NOON + 1000 * (i % 1000), i % 1000) for i in range(1100)), '{"e":"trade"', trade(NOON, 1, "9")
        )
    early = frames(*(trade(NOON - 2 * DAY + 1000 * i, i + 5000) for i in range(5)), at=NOON - 2 * DAY)
    return pl.concat([taken, early.with_columns(connection=pl.lit("early"))])


@pytest.mark.spark
def test_a_killed_batch_and_late_frames_leave_what_the_batch_job_leaves(
    spark: object, rows: pl.DataFrame, run_job: RunJob, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, later = rows[800:-5], pl.concat([rows[:800], rows[-5:]])
    store(lake, RAW_FRAMES, now, "run")
    commit = stream_market.make

    def killed(*work: Any) -> Any:
        commit(*work)
        raise KeyError("killed between the merge and the checkpoint")

    monkeypatch.setattr(stream_market, "make", killed)
    with pytest.raises(KeyError, match="between the merge"):
        stream(run_job)
    monkeypatch.undo()
    held = content(lake)
    first = stream(run_job)
    assert (first["batches"], first["frames"], first["late"], first["inserted"]) == (1, len(now), 0, 0)
    assert first["unchanged"] == lake.count(TRADES) > 0
    assert content(lake) == held
    newest = now["event_time"].dt.epoch("us").max()
    assert first["watermark"] == format_time((newest // MILLISECOND) * MILLISECOND - HOUR)  # type: ignore[operator]
    assert lake.watermark(TRADES, RAW_FRAMES) == 0, "the batch job need not do again what the stream has done"

    store(lake, RAW_FRAMES, later, "run")
    second = stream(run_job)
    assert (second["frames"], second["late"], second["watermark"]) == (805, 5, first["watermark"])
    assert second["inserted"] > 5, "late frames are not dropped"
    clean = Lake(str(tmp_path / "clean"))
    store(clean, RAW_FRAMES, rows, "run")
    run_job("build_market", in_lake=clean, table="trades_v1")
    assert content(lake) == content(clean)
    assert None not in content(lake), "a refused row, and one that was corrected, are among them"
    assert run_job("build_market", table="trades_v1")["start"] is None, "nothing is left to do"


@pytest.mark.spark
def test_a_stream_that_waits_takes_new_frames_until_it_is_told_to_stop(
    spark: object, run_job: RunJob, lake: Lake
) -> None:
    store(lake, RAW_FRAMES, frames(trade(NOON, 1)), "run")

    def operator() -> None:
        for held in (1, 2):
            while not lake.exists(TRADES) or lake.count(TRADES) < held:
                time.sleep(0.1)
            store(lake, RAW_FRAMES, frames(trade(NOON, 1), trade(NOON + MINUTE, 2)), "run")
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    watching = threading.Thread(target=operator, daemon=True)
    watching.start()
    told = stream(run_job, seconds=0.2)
    watching.join()
    assert (told["batches"], told["inserted"], lake.count(TRADES)) == (2, 2, 2)
    assert signal.getsignal(signal.SIGTERM) is before
    assert stream(run_job)["batches"] == 0, "the last batch was finished"


def test_what_a_stream_cannot_do_is_refused(run_job: RunJob) -> None:
    with pytest.raises(UsageError, match="expected all, or some of trades_v1"):
        run_job("stream_market", table="bars_1m_v1", seconds=None)
    with pytest.raises(UsageError, match="one --table"):
        run_job("stream_market", table="all", seconds=5.0)
    with pytest.raises(UsageError, match="--start, --end or --instruments"):
        run_job("stream_market", table="trades_v1", seconds=None, start="2024-08-08")
    with pytest.raises(NothingStored, match="raw_frames_v1"):
        stream(run_job)
