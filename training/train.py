"""Train one model: walk forward, judge, log to MLflow, register the bundle as challenger.

Reads gold features and silver bars at the tables' newest versions, which the run records. Prints the MLflow run id and,
as the last line, a JSON summary. The same table versions and the same seed give the same predictions.

  python -m training.train --model gbm
  python -m training.train --model bilstm --set epochs=3 --set hidden=32 --instruments binance:BTC/USDT,binance:ETH/USDT
  python -m training.train --model gbm --service default_ref_5m
  python -m training.train --model gbm --start 2024-01-01 --end 2024-07-01 --seed 7

Settings (environment): TRAINING_TRACKING_URI, TRAINING_REGISTERED_MODEL, TRAINING_EXPERIMENT, TRAINING_THREADS,
LAKE_URI, BITACORA_HOME. Next: python -m training.promote --version challenger --judge-only
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from feature_store.service import DEFAULT, FeatureService, service
from feature_store.stored import table_of
from lake.command import parser, run
from lake.instruments import INSTRUMENTS
from lake.instruments import instruments as lookup
from lake.intervals import DAY, Interval, format_time, parse_time
from lake.retention import record
from lake.settings import HomeSettings, LakeSettings, read_settings, refuse_unknown
from lake.storage import Lake
from lake.tables.features import SERVICE_TABLES
from training import bundle, models, walk_forward
from training.bundle import Provenance
from training.panel import Panel
from training.plot import equity_plot
from training.progress import progress
from training.settings import TrainingSettings
from training.splits import WalkForward

PLAN_HELP = {
    "first_train_days": "history before the first out-of-sample day",
    "fold_days": "refit after about so many days",
    "min_test_days": "refuse to train with fewer out-of-sample days than this",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    model: str
    assignments: list[str]
    instruments: list[str]
    seed: int
    interval: Interval | None
    plan: WalkForward
    service: FeatureService = DEFAULT
    """Whose stored features to train on."""


def main(argv: list[str] | None = None) -> int:
    """Read the command line and the settings, then train."""
    request = _request(_arguments().parse_args(argv))
    refuse_unknown(TrainingSettings)
    home, settings = read_settings(HomeSettings), read_settings(TrainingSettings)
    lake = Lake(read_settings(LakeSettings).root(home))
    summary = train(request, lake, settings, home)
    print(f"MLflow run {summary['run_id']}")
    print(orjson.dumps(summary).decode())
    return os.EX_OK


def train(request: Request, lake: Lake, settings: TrainingSettings, home: HomeSettings) -> dict[str, Any]:
    """One run, from the lake to a registered challenger; returns the summary."""
    from training.registry import Registry  # mlflow takes seconds to import: not for --help or a usage error

    module = models.model(request.model)
    config = models.configure(module, request.assignments)
    panel = load(lake, request)
    registry = Registry(settings, home)
    tags = {
        "model": module.NAME,
        "seed": str(request.seed),
        "git_commit": git_commit(),
        "instruments": ",".join(panel.instruments),
        "feature_service": panel.service,
        "feature_service_hash": panel.service_hash,
        "dataset_hash": panel.content_hash(),
        **{f"delta.{table}.version": str(version) for table, version in panel.table_versions.items()},
    }
    parameters = {"model": module.NAME, "seed": request.seed} | bundle.settings_of(config, request.plan)
    with (
        registry.run(f"{module.NAME} seed {request.seed}", tags, parameters) as run_id,
        tempfile.TemporaryDirectory() as scratch,
        progress(f"train {module.NAME}") as tell,
    ):
        experiment = walk_forward.run(panel, module, config, request.seed, settings.threads, request.plan, tell)
        made = Provenance(registry.name, run_id, tags["git_commit"], request.seed)
        folder = Path(scratch) / "bundle"
        sha256 = bundle.write_bundle(folder, panel, experiment, module, config, request.plan, made)
        numbers = orjson.loads((folder / bundle.METRICS_FILE).read_bytes())
        registry.log_metrics(run_id, metric_rows(numbers))
        plots = Path(scratch) / "plots"
        equity_plot(experiment, plots / "equity.png")
        registry.log_folder(run_id, plots)
        version = registry.register(run_id, folder, sha256, tags)
        record(lake, panel.table_versions, version.name, version.number)
    return {
        "job": "train",
        "table": table_of(request.service).name,
        "version": panel.table_versions[table_of(request.service).name],
        "rows": int(panel.features.shape[0] * panel.features.shape[1]),
        "start": format_time(int(panel.open_times[0])),
        "end": format_time(int(panel.open_times[-1])),
        "run_id": run_id,
        "model": module.NAME,
        "model_name": version.name,
        "model_version": version.number,
        "manifest_sha256": sha256,
        "table_versions": panel.table_versions,
        "out_of_sample_days": numbers["out_of_sample_days"],
        "sharpe": numbers["out_of_sample"]["candidate"]["sharpe"],
        "intervals_bps_per_day": numbers["intervals_bps_per_day"],
    }


def load(lake: Lake, request: Request) -> Panel:
    """The panel of a request."""
    from training.dataset import load_panel

    return load_panel(lake, request.service, request.instruments, request.interval)


def metric_rows(numbers: dict[str, Any]) -> list[tuple[str, float, int]]:
    """(name, value, step) rows for MLflow: totals at step 0, each fold at its number."""
    rows = [
        (f"{strategy}.{name}", value, 0)
        for strategy, values in numbers["out_of_sample"].items()
        for name, value in values.items()
    ]
    for name, (low, middle, high) in numbers["intervals_bps_per_day"].items():
        rows += [(f"{name}.low_bps", low, 0), (f"{name}.mean_bps", middle, 0), (f"{name}.high_bps", high, 0)]
    for fold in numbers["folds"]:
        rows.append(("fold.correlation", fold["correlation"], fold["fold"]))
        rows.append(("fold.train_rows", float(fold["train_rows"]), fold["fold"]))
        rows += [(f"fold.{name}", value, fold["fold"]) for name, value in fold["candidate"].items()]
    rows += [(f"policy.{name}", value, 0) for name, value in numbers["policy"].items()]
    return rows


def git_commit() -> str:
    """The checkout's commit, `-dirty` if tracked files differ from it, `unknown` outside a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        return commit + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _arguments() -> argparse.ArgumentParser:
    line = parser("training.train", __doc__)
    line.add_argument("--model", required=True, metavar="NAME", help=f"which kind: {', '.join(models.MODELS)}")
    line.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the model's Config")
    line.add_argument("--instruments", metavar="A,B", help=f"default: {','.join(INSTRUMENTS)}")
    line.add_argument("--service", choices=tuple(SERVICE_TABLES), default=DEFAULT.name, help=f"default {DEFAULT.name}")
    line.add_argument("--seed", type=int, default=0, help="fixes every random draw of the fit (default 0)")
    line.add_argument("--start", metavar="TIME", help="use bars from here (default: the first)")
    line.add_argument("--end", metavar="TIME", help="use bars before this (default: the last)")
    for name, what in PLAN_HELP.items():
        default = getattr(WalkForward(), name)
        line.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"{what} (default {default})")
    return line


def _request(args: argparse.Namespace) -> Request:
    names = args.instruments.split(",") if args.instruments else None
    interval = None
    if args.start or args.end:
        far = 200 * 365 * DAY
        interval = Interval(parse_time(args.start) if args.start else 0, parse_time(args.end) if args.end else far)
    plan = WalkForward(args.first_train_days, args.fold_days, args.min_test_days)
    return Request(
        args.model, args.set, [i.id for i in lookup(names)], args.seed, interval, plan, service(args.service)
    )


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
