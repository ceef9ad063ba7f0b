"""Write what a run registers: graph, card, numbers, daily equity, manifest (lake/bundle.py). And read it back."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from lake.bundle import MODEL_FILE, Manifest, write_manifest
from lake.errors import BundleRejected
from lake.intervals import format_time, to_datetime, to_us
from training import card, evaluate, gate_rules
from training.evaluate import Track
from training.models import Model
from training.panel import Panel
from training.splits import WalkForward
from training.walk_forward import Experiment

EQUITY_FILE, METRICS_FILE, IMPORTANCE_FILE, CARD_FILE = "equity.csv", "metrics.json", "importance.csv", "model_card.md"
STRATEGIES = ("candidate", "buy_and_hold", "flat")
TRACKS = (*STRATEGIES, "market")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run comes from."""

    model_name: str
    run_id: str
    git_commit: str
    seed: int


def write_bundle(
    folder: Path, panel: Panel, experiment: Experiment, module: Model, config: Any, plan: WalkForward, made: Provenance
) -> str:
    """Fill an empty folder and return the manifest's SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    experiment.model.export(folder / MODEL_FILE)
    numbers = summary(panel, experiment)
    (folder / METRICS_FILE).write_bytes(orjson.dumps(numbers, option=orjson.OPT_INDENT_2))
    equity_table(experiment).write_csv(folder / EQUITY_FILE)
    importance = sorted(experiment.model.importance().items(), key=lambda item: -item[1])
    pl.DataFrame(importance, schema=["input", "share"], orient="row").write_csv(folder / IMPORTANCE_FILE)
    (folder / CARD_FILE).write_text(card.render(panel, experiment, module, config, plan, made.seed, numbers))
    manifest = Manifest(
        model_name=made.model_name,
        run_id=made.run_id,
        git_commit=made.git_commit,
        seed=made.seed,
        created_time=format_time(to_us(datetime.now(UTC))),
        timeframe=panel.timeframe,
        horizon_bars=panel.horizon,
        window=config.window,
        feature_service=panel.service,
        feature_service_hash=panel.service_hash,
        features=list(panel.feature_names),
        table_versions=panel.table_versions,
        cost_bps_per_side=panel.cost_bps_per_side,
        policy=experiment.policy.to_dict(),
    )
    return write_manifest(folder, manifest)


def summary(panel: Panel, experiment: Experiment) -> dict[str, Any]:
    """Every number of a run, JSON-ready: what the report, the card and MLflow show."""
    tracks = {name: getattr(experiment, name) for name in STRATEGIES}
    difference = experiment.candidate.returns
    return {
        "out_of_sample": {name: evaluate.measures(track) for name, track in tracks.items()},
        "out_of_sample_days": len(experiment.candidate.days),
        "first_day": _day(experiment.candidate.days[0]),
        "last_day": _day(experiment.candidate.days[-1]),
        "intervals_bps_per_day": {
            f"vs_{name}": [v * 1e4 for v in gate_rules.interval(difference - tracks[name].returns)]
            for name in ("flat", "buy_and_hold")
        },
        "folds": [_fold(panel, experiment, i) for i in range(len(experiment.folds))],
        "importance": experiment.model.importance(),
        "policy": experiment.policy.to_dict(),
        "trained_until": format_time(experiment.trained_until),
        "dataset_hash": panel.content_hash(),
    }


def _fold(panel: Panel, experiment: Experiment, number: int) -> dict[str, Any]:
    result = experiment.folds[number]
    first, last = (int(panel.open_times[bar]) for bar in (result.fold.test_start, result.fold.test_stop - 1))
    part, held = (
        track.since(first).on(track.days[track.days <= last])
        for track in (experiment.candidate, experiment.buy_and_hold)
    )
    return {
        "fold": result.fold.number,
        "first_day": _day(first),
        "last_day": _day(last),
        "train_rows": result.train_rows,
        "correlation": result.correlation,
        "seconds": round(result.seconds, 3),
        "policy": result.policy.to_dict(),
        "candidate": evaluate.measures(part),
        "buy_and_hold": evaluate.measures(held),
    }


def equity_table(experiment: Experiment) -> pl.DataFrame:
    """One row per out-of-sample day: net return and equity of each strategy and of the market (equal weights, no cost),
    turnover and exposure of the candidate."""
    columns: dict[str, Any] = {"day": [_day(day) for day in experiment.candidate.days]}
    for name in TRACKS:
        returns = getattr(experiment, name).returns
        columns[f"{name}_return"] = returns
        columns[f"{name}_equity"] = np.cumprod(1.0 + returns)
    columns["candidate_turnover"] = experiment.candidate.turnover
    columns["candidate_exposure"] = experiment.candidate.exposure
    return pl.DataFrame(columns)


def read_tracks(folder: Path) -> dict[str, Track]:
    """Read the daily tracks of a verified bundle back, by strategy.

    Raises:
        BundleRejected: the file is missing or not such a table.
    """
    try:
        table = pl.read_csv(folder / EQUITY_FILE, schema_overrides={"day": pl.Date})
        days = table["day"].cast(pl.Datetime("us")).dt.epoch("us").to_numpy().astype(np.int64)
        blank = np.zeros(len(days))
        tracks = {
            name: Track(days, table[f"{name}_return"].cast(pl.Float64).to_numpy(), blank, blank) for name in TRACKS
        }
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BundleRejected(f"{folder.name}/{EQUITY_FILE}: expected the daily table of a run: {error}") from None
    if any(not np.isfinite(track.returns).all() for track in tracks.values()) or (np.diff(days) <= 0).any():
        raise BundleRejected(f"{folder.name}/{EQUITY_FILE}: expected finite returns of days in order.")
    return tracks


def settings_of(config: Any, plan: WalkForward) -> dict[str, Any]:
    """Parameters of a run, flat."""
    return asdict(config) | {f"walk_forward.{name}": value for name, value in asdict(plan).items()}


def _day(time_us: int) -> str:
    return to_datetime(int(time_us)).date().isoformat()
