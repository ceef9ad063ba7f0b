"""From gold to the online store: incremental by table version, safe to repeat, refused for other code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_store.__main__ import main
from feature_store.errors import HashMismatch
from feature_store.materialize import materialize
from feature_store.online import OnlineRow, OnlineStore, OnlineView, service_view
from feature_store.online_settings import open_store
from feature_store.service import CATALOGUE, DEFAULT
from lake.errors import NothingStored, UsageError
from lake.intervals import DAY, HOUR, Interval, format_time, to_us
from lake.settings import HomeSettings
from lake.storage import Lake
from tests.feature_store.gold import START, STEP, gold_rows, put

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"
VIEW = service_view(DEFAULT)
MUCH_LATER = START + 400 * DAY


@pytest.fixture
def store(home: Path) -> Iterator[OnlineStore]:
    with open_store(HomeSettings(home=home)) as opened:
        yield opened


def expected(rows: pl.DataFrame, count: int) -> list[OnlineRow]:
    tail = rows.sort("event_time").tail(count)
    return [
        OnlineRow(
            row["instrument"],
            to_us(row["event_time"]),
            to_us(row["available_time"]),
            tuple(row[n] for n in VIEW.columns),
        )
        for row in tail.iter_rows(named=True)
    ]


def test_the_newest_rows_of_gold_are_online_to_the_bit_and_new_commits_alone_are_read(
    lake: Lake, store: OnlineStore
) -> None:
    with pytest.raises(NothingStored):
        materialize(lake, store, DEFAULT)
    btc, eth = gold_rows(BTC, 100), gold_rows(ETH, 30, seed=1)
    put(lake, pl.concat([btc, eth]))
    first = materialize(lake, store, DEFAULT)
    assert (first["version"], first["read"], first["rows"]) == (0, 64 + 30, 64 + 30)
    assert store.get_last_n(VIEW, BTC, 99, MUCH_LATER) == expected(btc, 64)
    assert store.get_last_n(VIEW, ETH, 99, MUCH_LATER) == expected(eth, 30)
    again = materialize(lake, store, DEFAULT)
    assert (again["read"], again["start"]) == (0, None)

    more = gold_rows(BTC, 10, first=100)
    put(lake, more)
    second = materialize(lake, store, DEFAULT)
    assert (second["version"], second["read"], second["rows"]) == (1, 10, 10)
    assert store.get_last_n(VIEW, BTC, 99, MUCH_LATER) == expected(pl.concat([btc, more]), 64)


def test_a_row_is_fresh_for_three_bars_and_unknown_before_it_was_published(lake: Lake, store: OnlineStore) -> None:
    put(lake, gold_rows(BTC, 5))
    materialize(lake, store, DEFAULT)
    close = START + 5 * STEP
    newest = store.get(VIEW, BTC, close + 3 * STEP).row
    assert newest is not None
    assert newest.event_time == close
    assert store.get(VIEW, BTC, close + 3 * STEP + 1).reason.startswith("stale")
    earlier = store.get(VIEW, BTC, close + 999_999).row
    assert earlier is not None
    assert earlier.event_time == close - STEP


def test_a_run_killed_before_its_mark_does_its_work_again(
    lake: Lake, store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, gold_rows(BTC, 20))

    def killed(self: OnlineStore, view: OnlineView, version: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(OnlineStore, "set_mark", killed)
        materialize(lake, store, DEFAULT)
    again = materialize(lake, store, DEFAULT)
    assert (again["read"], again["rows"]) == (20, 0)
    assert materialize(lake, store, DEFAULT)["read"] == 0


def test_an_interval_is_pushed_without_moving_the_mark(lake: Lake, store: OnlineStore) -> None:
    put(lake, gold_rows(BTC, 20))
    some = materialize(lake, store, DEFAULT, Interval(START + STEP, START + 4 * STEP))
    assert some["rows"] == 3
    assert materialize(lake, store, DEFAULT)["rows"] == 17


def test_rows_of_other_code_are_refused(lake: Lake, store: OnlineStore) -> None:
    put(lake, gold_rows(BTC, 3, service_hash="f" * 64))
    with pytest.raises(HashMismatch, match=r"expected rows of default_5m .* found ffffffffffff"):
        materialize(lake, store, DEFAULT)
    assert store.hashes(DEFAULT.name) == []
    with pytest.raises(UsageError, match="no table of the lake holds it"):
        materialize(lake, store, CATALOGUE)


def test_the_commands_speak_json(lake: Lake, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: str, code: int = 0) -> dict[str, Any]:
        assert main(list(words)) == code
        out = capsys.readouterr().out
        return dict(json.loads(out)) if out.startswith("{") else {"text": out}

    assert call("materialize", code=69) == {"text": ""}
    put(lake, gold_rows(BTC, 5))
    assert call("materialize")["rows"] == 5
    assert call("materialize", "--start", "2024-01-01", "--end", "2024-01-01T00:10Z")["read"] == 1
    now = format_time(START + 5 * STEP + 1_000_000)
    found = call("online", "--entity", BTC, "--last", "3", "--json", "--now", now)
    assert (found["fresh"], len(found["rows"])) == (True, 3)
    assert found["rows"][-1]["event_time"] == format_time(START + 5 * STEP)
    assert set(DEFAULT.feature_names) < set(found["rows"][0])
    late = format_time(START + 5 * STEP + HOUR)
    assert call("online", "--json", "--now", late)["age_seconds"] == {BTC: 3600.0}
    assert "stale: 3600 s old" in call("online", "--entity", BTC, "--now", late)["text"]
    call("online", "--entity", BTC, "--last", "0", code=64)
