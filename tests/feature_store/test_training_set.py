"""A saved training set is rebuilt from table versions, to the bit, or refused with the reason."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from feature_store.__main__ import main
from feature_store.errors import FileRefused, HashMismatch, JoinRefused, NotReproduced
from feature_store.service import DEFAULT
from feature_store.stored import Versions
from feature_store.training_set import content_hash, join_stored, rebuild, save
from lake.errors import NothingStored
from lake.intervals import HOUR, to_datetime
from lake.storage import Lake
from lake.tables import FEATURES_5M
from tests.feature_store.gold import START, STEP, gold_rows, labels, put

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"
WANTED = labels([ETH, BTC], [START + i * STEP + 1_000_000 for i in range(0, 40, 3)])


@pytest.fixture
def gold(lake: Lake) -> pl.DataFrame:
    rows = pl.concat([gold_rows(BTC, 30), gold_rows(ETH, 30, seed=1)])
    put(lake, rows)
    return rows


def test_a_set_is_rebuilt_to_the_bit_after_the_table_moved_on(lake: Lake, gold: pl.DataFrame, tmp_path: Path) -> None:
    recipe = save(lake, WANTED, DEFAULT, HOUR, tmp_path / "set")
    assert (recipe.table_versions, recipe.rows) == ({FEATURES_5M.name: 0}, WANTED.height)
    put(lake, pl.concat([gold_rows(BTC, 10, first=30, seed=5), gold_rows(ETH, 30, seed=9)]), mode="overwrite")
    again, rows = rebuild(lake, tmp_path / "set")
    assert again == recipe
    assert rows.equals(pl.read_parquet(tmp_path / "set" / "rows.parquet"))
    assert join_stored(lake, WANTED, DEFAULT, HOUR, Versions(1)).equals(rows) is False
    with pytest.raises(FileRefused, match="never overwritten"):
        save(lake, WANTED, DEFAULT, HOUR, tmp_path / "set")


def test_what_was_changed_is_refused_by_name(lake: Lake, gold: pl.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    save(lake, WANTED, DEFAULT, HOUR, folder)
    recipe = json.loads((folder / "recipe.json").read_text())

    (folder / "recipe.json").write_text(json.dumps(recipe | {"content_hash": "0" * 64}))
    with pytest.raises(NotReproduced, match="expected rows of hash 000000000000"):
        rebuild(lake, folder)
    (folder / "recipe.json").write_text(json.dumps(recipe | {"service_hash": "f" * 64}))
    with pytest.raises(HashMismatch, match="Check out the code that made it"):
        rebuild(lake, folder)
    (folder / "recipe.json").write_text("{}")
    with pytest.raises(FileRefused, match="expected the recipe"):
        rebuild(lake, folder)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    WANTED.with_columns(label=pl.lit(1.0)).write_parquet(folder / "labels.parquet")
    with pytest.raises(NotReproduced, match="expected labels of hash"):
        rebuild(lake, folder)


def test_a_version_that_is_gone_is_told(lake: Lake, gold: pl.DataFrame, tmp_path: Path) -> None:
    save(lake, WANTED, DEFAULT, HOUR, tmp_path / "set")
    for file in Path(lake.uri(FEATURES_5M)).rglob("*.parquet"):
        file.unlink()
    with pytest.raises(NothingStored, match="features_5m_v1 v0 cannot be read any more"):
        rebuild(lake, tmp_path / "set")
    shutil.rmtree(lake.uri(FEATURES_5M))
    with pytest.raises(NothingStored):
        rebuild(lake, tmp_path / "set")


def test_a_label_sees_the_row_that_a_later_correction_replaced(lake: Lake, gold: pl.DataFrame) -> None:
    at, sent = START + 10 * STEP, START + 20 * STEP
    old = gold.filter(pl.col("instrument") == BTC, pl.col("event_time") == to_datetime(at))
    new = old.with_columns(available_time=pl.lit(to_datetime(sent)), sma_20=pl.lit(-1.0))
    rest = gold.filter((pl.col("instrument") != BTC) | (pl.col("event_time") != to_datetime(at)))
    put(lake, pl.concat([rest, new]), mode="overwrite")
    put(lake, old.with_columns(superseded_time=pl.lit(to_datetime(sent))), FEATURES_5M.history())
    only = labels([BTC], [at + 1_000_000, sent - 1])
    joined = join_stored(lake, only, DEFAULT, HOUR, Versions.newest(lake, FEATURES_5M))
    assert joined["sma_20"].to_list()[0] == old["sma_20"][0]
    assert -1.0 not in joined["sma_20"].to_list()
    forgotten = join_stored(lake, only, DEFAULT, STEP, Versions(1, None))
    assert forgotten["sma_20"].to_list()[0] != old["sma_20"][0]  # without history the old row is lost


def test_hashes_tell_values_nulls_types_and_order_apart() -> None:
    frame = pl.DataFrame({"a": [1.0, None], "b": ["x", "yz"]})
    others = [
        frame.with_columns(a=pl.Series([1.0, 0.0])),
        frame.with_columns(a=pl.Series([1.0, float("nan")])),
        frame.with_columns(b=pl.Series(["xy", "z"])),
        frame.with_columns(b=pl.Series(["x", None])),
        frame.rename({"a": "c"}),
        frame.reverse(),
        frame.with_columns(a=pl.Series([1, None], dtype=pl.Int64)),
    ]
    assert content_hash(frame) == content_hash(frame.clone())
    assert len({content_hash(one) for one in [frame, *others]}) == 8


def test_the_commands_save_and_rebuild(
    lake: Lake, gold: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "labels.csv", tmp_path / "set"
    WANTED.with_columns(pl.col("decision_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")).write_csv(file)
    assert main(["join", "--labels", str(file), "--save", str(folder)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["service_hash"] == DEFAULT.content_hash
    assert main(["rebuild", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["content_hash"] == made["content_hash"]
    assert main(["join", "--labels", str(file), "--out", str(tmp_path / "x.parquet")]) == 64
    with pytest.raises(JoinRefused, match="decision_time"):
        save(lake, WANTED.drop("decision_time"), DEFAULT, HOUR, tmp_path / "none")
