"""The chain behind an order holds, and a planted break anywhere in it is found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from small_world import BTC, build, features, frames

from bitacora.lineage import Tracer, command, text
from bitacora.skew import compare, late_nulls
from feature_store.inputs import GRACE
from feature_store.service import DEFAULT_REF
from lake.errors import NothingStored, UsageError
from lake.tables.bars import RAW_BARS


def traced(root: Path, change: dict[str, Any] | None = None) -> dict[str, Any]:
    books = build(root, change)
    orders = books.orders(None)
    return Tracer(books, orders).trace(orders[0], verify=True)


def test_every_link_of_an_order_resolves_and_recomputes(tmp_path: Path) -> None:
    chain = traced(tmp_path)
    assert chain["problems"] == []
    links = chain["links"]
    assert list(links)[:3] == ["order", "decision", "prediction"]
    assert links["model_version"]["version"] == 1
    assert links["training_run"] == {"run_id": "run-1", "status": "FINISHED", "git_commit": "abc", "seed": 1}
    assert links["table_versions"] == {"features_5m_v1": 0}
    assert links["raw_messages"]["bars_behind_it"] == 620
    assert links["verified"]["features"] == 0.0
    assert links["verified"]["prediction"] == 0.0
    assert "└ model version" in text(chain)


def test_an_order_is_found_by_the_venues_id_and_by_ours(tmp_path: Path) -> None:
    books = build(tmp_path)
    assert books.orders("77") == books.orders("bj-10")
    with pytest.raises(NothingStored, match="does not hold order 78"):
        books.orders("78")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prediction": 0.5}, "prediction 0.5 differs"),
        ({"features": [0.0] * 18}, "features differ"),
        ({"features": [0.0] * 3}, "features differ"),
        ({"manifest_sha256": "other"}, "the registry pins another"),
        ({"service_hash": "other"}, "feature service other"),
        ({"model_version": 2}, "knows no version 2"),
        ({"model_version": None}, "made without a model"),
        ({"frame_hash": "0" * 64}, "is not in bronze"),
        ({"decision_id": "j-8"}, "decision j-9 is not stored"),
    ],
)
def test_a_planted_break_is_found(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    chain = traced(tmp_path, change)
    assert not chain["ok"]
    assert any(problem in found for found in chain["problems"]), chain["problems"]


def test_a_table_version_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    assert "features_5m_v1 version 9" in build(tmp_path).missing_version("features_5m_v1", 9)


def test_an_altered_raw_message_is_found(tmp_path: Path) -> None:
    books = build(tmp_path)
    table = DeltaTable(books.lake.uri(RAW_BARS))
    table.update({"payload": "replace(payload, '\"n\": 3', '\"n\": 4')"})
    orders = books.orders(None)
    chain = Tracer(books, orders).trace(orders[0], verify=True)
    assert any("it was altered" in problem for problem in chain["problems"])


def test_lineage_wants_one_order_or_all() -> None:
    with pytest.raises(UsageError):
        command("", False, False, True)
    with pytest.raises(UsageError):
        command("77", True, False, True)


def test_skew_is_zero_between_live_and_gold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    found = compare()
    assert (found["ok"], found["max"], found["compared"]) == (True, 0.0, 1)


def test_only_reference_columns_of_a_row_that_waited_the_grace_out_may_be_null() -> None:
    live = np.full((2, len(DEFAULT_REF.feature_names)), np.nan)
    excused = late_nulls(DEFAULT_REF, live, np.array([GRACE - 1, GRACE]))
    assert not excused[0].any()
    assert [DEFAULT_REF.feature_names[at] for at in np.flatnonzero(excused[1])] == ["corr_btc_60", "beta_btc_60"]
    assert not late_nulls(DEFAULT_REF, np.zeros_like(live), np.array([GRACE, GRACE])).any()


def test_skew_names_the_feature_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = features(frames())[-1]
    vector[8] += 1e-6
    build(tmp_path, {"features": vector.tolist()})
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "lake"))
    found = compare()
    assert not found["ok"]
    assert found["offending"] == ["rsi_14"]


def test_skew_counts_a_null_on_one_side_and_a_bar_missing_in_gold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = features(frames())[-1]
    vector[0] = float("nan")
    build(tmp_path / "a", {"features": vector.tolist()})
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "a" / "lake"))
    assert compare()["max"] == "inf"
    build(tmp_path / "b", {"instrument": BTC.replace("BTC", "ETH")})
    monkeypatch.setenv("LAKE_URI", str(tmp_path / "b" / "lake"))
    assert compare()["missing_in_gold"] == ["j-9"]
