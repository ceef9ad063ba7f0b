"""The gate refuses every broken bundle, each for its own reason."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from simulated_markets import simulated_panel

from feature_store.service import DEFAULT
from lake.bundle import Manifest, parse_manifest, write_manifest
from training import bundle, evaluate, models, walk_forward
from training.bundle import Provenance
from training.gate import Contender, Verdict, champion_track, judge
from training.gate_rules import Rules
from training.panel import Panel
from training.splits import WalkForward
from training.walk_forward import Experiment

PLAN = WalkForward(first_train_days=20, fold_days=10, min_test_days=20)
RULES = Rules(min_days=20)
GBM = models.model("gbm")
CONFIG = replace(GBM.Config(), trees=40, min_leaf_rows=200)


class Trained:
    """One small market, one run, one bundle; tests work on copies."""

    def __init__(self, folder: Path) -> None:
        self.panel: Panel = simulated_panel(81, days=60)[0]
        self.experiment: Experiment = walk_forward.run(self.panel, GBM, CONFIG, 1, 1, PLAN)
        self.folder = folder
        self.sha256 = bundle.write_bundle(
            folder, self.panel, self.experiment, GBM, CONFIG, PLAN, Provenance("bitacora", "run", "commit", 1)
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("gate") / "bundle")


def judged(trained: Trained, folder: Path, sha256: str, rules: Rules = RULES) -> Verdict:
    return judge(Contender("candidate", folder, sha256), None, lambda _: trained.panel, rules)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def altered(trained: Trained, target: Path, change: Callable[[Manifest, Path], Manifest]) -> tuple[Path, str]:
    """A copy of the bundle, changed and properly signed again: what a careless or hostile trainer would register."""
    shutil.copytree(trained.folder, target)
    manifest = parse_manifest((target / "manifest.json").read_bytes(), None)
    (target / "manifest.json").unlink()
    return target, write_manifest(target, change(manifest, target))


def test_a_sound_bundle_of_a_learnable_market_passes_every_check(trained: Trained) -> None:
    verdict = judged(trained, trained.folder, trained.sha256)
    assert verdict.passed, verdict.failures
    names = [check.name for check in verdict.checks]
    assert names == [
        "bundle integrity", "feature service", "policy parameters", "costs", "graph signature", "out-of-sample days",
        "beats flat", "beats buy-and-hold",
    ]  # fmt: skip
    assert orjson.loads(orjson.dumps(verdict.to_dict()))["passed"] is True


def test_features_that_knew_the_future_are_refused(trained: Trained) -> None:
    me = Contender("candidate", trained.folder, trained.sha256)
    verdict = judge(me, None, lambda _: trained.panel, RULES, lambda _: ["rsi_14: the row of …"])
    assert failed(verdict) == ["features known at their time"]
    assert judge(me, None, lambda _: trained.panel, RULES, lambda _: []).passed


def test_one_changed_byte_anywhere_is_refused(trained: Trained, tmp_path: Path) -> None:
    for name in ("model.onnx", "equity.csv", "metrics.json", "model_card.md", "manifest.json"):
        copy = tmp_path / name.replace(".", "_")
        shutil.copytree(trained.folder, copy)
        body = bytearray((copy / name).read_bytes())
        body[len(body) // 2] ^= 1
        (copy / name).write_bytes(body)
        assert failed(judged(trained, copy, trained.sha256)) == ["bundle integrity"], name


def test_a_file_too_many_or_too_few_is_refused(trained: Trained, tmp_path: Path) -> None:
    more, fewer = tmp_path / "more", tmp_path / "fewer"
    shutil.copytree(trained.folder, more)
    (more / "extra.csv").write_text("x")
    shutil.copytree(trained.folder, fewer)
    (fewer / "equity.csv").unlink()
    for copy in (more, fewer):
        assert failed(judged(trained, copy, trained.sha256)) == ["bundle integrity"]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda m, _: replace(m, feature_service_hash="0" * 64), "feature service"),
        (lambda m, _: replace(m, feature_service="old_5m"), "feature service"),
        (lambda m, _: replace(m, features=list(reversed(m.features))), "feature service"),
        (lambda m, _: replace(m, policy=m.policy | {"full_weight_return": 0.0}), "policy parameters"),
        (lambda m, _: replace(m, policy={}), "policy parameters"),
        (lambda m, _: replace(m, cost_bps_per_side=0.0), "costs"),
        (lambda m, _: replace(m, window=3), "graph signature"),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(
    trained: Trained, tmp_path: Path, change: Callable[[Manifest, Path], Manifest], check: str
) -> None:
    assert check in failed(judged(trained, *altered(trained, tmp_path / "copy", change)))


def graph_of(output: str, value: float) -> bytes:
    """A graph of the right shape that always says `value`."""
    import onnx
    from onnx import TensorProto, helper

    k = len(DEFAULT.feature_names)
    nodes = [
        helper.make_node("ReduceSum", ["features", "axes"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["none"]),
        helper.make_node("Add", ["none", "value"], ["same"]),
        helper.make_node("Cast", ["same"], ["flat"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["flat", "shape"], [output]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0]),
        helper.make_tensor("value", TensorProto.DOUBLE, [], [value]),
        helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "constant",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["batch", 1, k])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 1])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(onnx.ModelProto.SerializeToString(model))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (graph_of("prediction", float("nan")), "not finite"),
        (graph_of("answer", 0.0), "outputs: expected"),
        (b"not a graph", "onnxruntime refuses it"),
        (b"\x80\x05cos\nsystem\n", "onnxruntime refuses it"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(trained: Trained, tmp_path: Path, body: bytes, why: str) -> None:
    def change(manifest: Manifest, folder: Path) -> Manifest:
        (folder / "model.onnx").write_bytes(body)
        return manifest

    verdict = judged(trained, *altered(trained, tmp_path / "copy", change))
    (check,) = (check for check in verdict.checks if not check.passed)
    assert check.name == "graph signature" and why in check.found


def test_too_few_days_are_refused(trained: Trained) -> None:
    verdict = judged(trained, trained.folder, trained.sha256, Rules(min_days=120))
    assert failed(verdict) == ["out-of-sample days"]


def test_doing_nothing_does_not_beat_doing_nothing(trained: Trained, tmp_path: Path) -> None:
    def change(manifest: Manifest, folder: Path) -> Manifest:
        table = pl.read_csv(folder / "equity.csv").with_columns(candidate_return=pl.lit(0.0))
        table.write_csv(folder / "equity.csv")
        return manifest

    assert "beats flat" in failed(judged(trained, *altered(trained, tmp_path / "copy", change)))


def test_days_that_are_not_numbers_are_refused_and_not_a_crash(trained: Trained, tmp_path: Path) -> None:
    for number, text in enumerate(("", "day,candidate_return\n2024-01-01,x\n", "day\n")):

        def change(manifest: Manifest, folder: Path, text: str = text) -> Manifest:
            (folder / "equity.csv").write_text(text)
            return manifest

        assert "evidence" in failed(judged(trained, *altered(trained, tmp_path / str(number), change)))


def test_the_same_model_does_not_beat_itself(trained: Trained) -> None:
    me = Contender("me", trained.folder, trained.sha256)
    verdict = judge(me, me, lambda _: trained.panel, RULES)
    assert failed(verdict) == ["beats the champion (me)"]


def test_a_champion_is_charged_with_its_record_and_replayed_on_days_it_has_none_of(trained: Trained) -> None:
    me = Contender("me", trained.folder, trained.sha256)
    market = trained.experiment.market
    np.testing.assert_allclose(
        champion_track(me, trained.panel, market).returns, trained.experiment.candidate.returns, atol=1e-15
    )
    other = simulated_panel(82, days=60)[0]  # another market: nothing recorded there counts
    start, stop = trained.experiment.folds[0].fold.test_start, trained.experiment.folds[-1].fold.test_stop
    there = evaluate.market(other, start, stop)
    replayed = champion_track(me, other, there)
    np.testing.assert_array_equal(replayed.days, there.days)
    assert not np.array_equal(replayed.returns, trained.experiment.candidate.returns)


def test_metrics_and_card_hold_what_a_person_needs(trained: Trained) -> None:
    numbers = orjson.loads((trained.folder / "metrics.json").read_bytes())
    assert len(numbers["folds"]) == len(trained.experiment.folds) and numbers["out_of_sample_days"] >= 20
    assert set(numbers["out_of_sample"]) == {"candidate", "buy_and_hold", "flat"}
    assert numbers["dataset_hash"] == trained.panel.content_hash()
    card = (trained.folder / "model_card.md").read_text()
    for text in ("all data up to", "judge the *procedure*", DEFAULT.content_hash, "seed 1"):
        assert text in card
    table = pl.read_csv(trained.folder / "equity.csv")
    np.testing.assert_allclose(np.cumprod(1 + table["candidate_return"]), table["candidate_equity"], rtol=1e-12)
