"""Features, training and gate on real five-minute bars, in this process: what does the procedure find out there?

Reads binance_spot_{BTC,ETH,SOL}-USDT_5m.parquet (columns ts, open, high, low, close, volume) from a folder. Needs no
lake, no JVM, no MLflow; the same scan, walk-forward, evaluation and gate as the platform. Prints the table, and writes
it with --out.

  python -m training.real_history --data ../shared/data/ohlcv
  python -m training.real_history --data DIR --models gbm,bilstm --seed 1 --out docs/results.md
"""

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from feature_store.service import DEFAULT
from lake.bundle import sha256_file
from lake.command import parser, run
from lake.errors import BadInput
from lake.intervals import format_time
from training import bundle, models, walk_forward
from training.bundle import Provenance
from training.gate import Contender, Verdict, judge
from training.labels import Floats
from training.panel import Ints, Panel
from training.panels import panel_from_bars
from training.progress import progress
from training.splits import WalkForward
from training.train import git_commit

BY_HAND = "\n## Through the lake"
"""From here on a results page is written by hand and kept."""

FILES = {f"binance:{base}/USDT": f"binance_spot_{base}-USDT_5m.parquet" for base in ("BTC", "ETH", "SOL")}
COLUMNS = ("open", "high", "low", "close", "volume")


def read_bars(path: Path) -> tuple[Ints, Floats]:
    """Open times [n] µs and bars [n, 5] of one file, in time order.

    Raises:
        BadInput: missing, or not such a file.
    """
    try:
        frame = pl.read_parquet(path, columns=["ts", *COLUMNS]).sort("ts")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInput(f"{path}: expected parquet with columns ts, {', '.join(COLUMNS)}: {error}") from None
    times = frame["ts"].dt.epoch("us").to_numpy().astype(np.int64)
    return times, frame.select(pl.col(COLUMNS).cast(pl.Float64)).to_numpy()


def load(folder: Path) -> Panel:
    """The panel over the time that all files share."""
    bars = {name: read_bars(folder / file) for name, file in FILES.items()}
    last = min(int(times[-1]) for times, _ in bars.values())
    return panel_from_bars(DEFAULT, {n: (t[t <= last], b[t <= last]) for n, (t, b) in bars.items()})


def judge_model(panel: Panel, name: str, seed: int, threads: int) -> tuple[dict[str, Any], Verdict]:
    """Walk forward, bundle, gate: the run's numbers and the verdict."""
    module, plan = models.model(name), WalkForward()
    config = module.Config()
    with progress(f"real history, {name}") as tell, tempfile.TemporaryDirectory() as scratch:
        experiment = walk_forward.run(panel, module, config, seed, threads, plan, tell)
        folder = Path(scratch) / "bundle"
        made = Provenance(f"real-{name}", "in-process", git_commit(), seed)
        sha256 = bundle.write_bundle(folder, panel, experiment, module, config, plan, made)
        verdict = judge(Contender(name, folder, sha256), None, lambda _: panel)
        return orjson.loads((folder / bundle.METRICS_FILE).read_bytes()), verdict


def render(folder: Path, panel: Panel, results: dict[str, tuple[dict[str, Any], Verdict]], seed: int) -> str:
    """The results page, Markdown."""
    command = f"python -m training.real_history --data DIR --models {','.join(results)} --seed {seed}"
    span = " to ".join(format_time(int(panel.open_times[at])) for at in (0, -1))
    lines = [
        "# Results on real history",
        "",
        "The embedded market has a structure planted in it; real markets owe us nothing. This page is what the whole",
        "procedure (features, labels, walk-forward, evaluation, gate) says on real bars, whatever it says.",
        "",
        f"- made {datetime.now(UTC).date().isoformat()} at commit `{git_commit()[:12]}`",
        f"- by `{command} --out docs/results.md`",
        f"- bars: {span}, 5m, Binance spot",
        *(f"- `{file}` (SHA-256 `{sha256_file(folder / file)[:16]}…`)" for file in FILES.values()),
        f"- label: net return over {panel.horizon} bars from the first open after the decision, "
        f"{panel.cost_bps_per_side:g} bps per side; long or flat, equal capital",
        f"- features: {panel.service} `{panel.service_hash[:16]}…`; dataset `{panel.content_hash()[:16]}…`",
        "",
    ]
    for name, (numbers, verdict) in results.items():
        lines += _section(name, numbers, verdict, panel.cost_bps_per_side)
    lines += [
        "## How to read it",
        "The interval is the 90 % block-bootstrap interval (blocks of 5 days) of the mean difference of daily net",
        "returns. A strategy counts as better only when its lower end is above zero. A refusal is no failure of the",
        "platform: it is what the gate is for. Nothing on this page was tuned to these files; models and policy use",
        "the defaults found on simulated markets (docs/training.md).",
        "",
    ]
    return "\n".join(lines)


def _section(name: str, numbers: dict[str, Any], verdict: Verdict, cost_bps: float) -> list[str]:
    lines = [
        f"## {name}: {'passed' if verdict.passed else 'refused by the gate'}",
        "",
        f"{numbers['out_of_sample_days']} out-of-sample days, {numbers['first_day']} to {numbers['last_day']}.",
        "",
        "| check | passed | found |",
        "| --- | --- | --- |",
        *(f"| {c.name} | {'yes' if c.passed else '**no**'} | {c.found} |" for c in verdict.checks[3:]),
        "",
        "| strategy | total return | net bps a day | costs | Sharpe | max drawdown | turnover a day | exposure |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for strategy, m in numbers["out_of_sample"].items():
        lines.append(
            f"| {strategy.replace('_', ' ')} | {m['total_return']:.1%} | {m['mean_daily_bps']:.1f} | "
            f"{m['turnover_per_day'] * cost_bps:.1f} | {m['sharpe']:.2f} | {m['max_drawdown']:.1%} | "
            f"{m['turnover_per_day']:.2f} | {m['exposure']:.2f} |"
        )
    lines += [
        "",
        "| fold | test days | train rows | correlation with the label | Sharpe | buy-and-hold Sharpe |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fold in numbers["folds"]:
        lines.append(
            f"| {fold['fold']} | {fold['first_day']} – {fold['last_day']} | {fold['train_rows']} | "
            f"{fold['correlation']:+.4f} | {fold['candidate']['sharpe']:.2f} | {fold['buy_and_hold']['sharpe']:.2f} |"
        )
    return [*lines, ""]


def main(argv: list[str] | None = None) -> int:
    """Read the command line, judge, print."""
    line = parser("training.real_history", __doc__)
    line.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with the parquet files")
    line.add_argument("--models", default="gbm", metavar="A,B", help=f"of {', '.join(models.MODELS)} (default gbm)")
    line.add_argument("--seed", type=int, default=0, help="of the fits (default 0)")
    line.add_argument("--threads", type=int, default=1, help="CPU threads of a fit (default 1)")
    line.add_argument("--out", type=Path, metavar="FILE", help="also write the page here")
    args = line.parse_args(argv)
    panel = load(args.data)
    results = {name: judge_model(panel, name, args.seed, args.threads) for name in args.models.split(",")}
    page = render(args.data, panel, results, args.seed)
    print(page)
    if args.out:
        kept = args.out.read_text().partition(BY_HAND) if args.out.is_file() else ("", "", "")
        args.out.write_text(page + "".join(kept[1:]))
    summary = {"job": "real_history", "passed": {name: verdict.passed for name, (_, verdict) in results.items()}}
    print(orjson.dumps(summary).decode())
    return os.EX_OK


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
