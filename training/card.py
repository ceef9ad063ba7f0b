"""The model card: what a person reads before approving."""

from dataclasses import asdict
from typing import Any

from lake.intervals import format_time
from training.labels import round_trip_cost
from training.models import Model
from training.panel import Panel
from training.splits import WalkForward
from training.walk_forward import Experiment


def render(
    panel: Panel, experiment: Experiment, module: Model, config: Any, plan: WalkForward, seed: int,
    numbers: dict[str, Any],
) -> str:  # fmt: skip
    """Markdown."""
    lines = [
        f"# {module.NAME}",
        "",
        module.WHY,
        "",
        "## What it predicts",
        f"The net return of buying {panel.lag} bars after the signal bar opened (the first price a decision could have "
        f"had) and selling {panel.horizon} bars ({panel.timeframe}) later, after a round trip of "
        f"{round_trip_cost(panel.cost_bps_per_side) * 1e4:g} bps. A fraction, not a promise.",
        "",
        "## How it was judged, and what was registered",
        f"The numbers below judge the *procedure*: {len(experiment.folds)} models, each fitted on the days before its "
        f"test block only (anchored walk-forward, at least {plan.first_train_days} days of training, labels purged, "
        f"embargo {plan.embargo_bars} bars), policy parameters from the same training days.",
        "The registered model is the same procedure and Config once more, fitted on all data up to "
        f"{format_time(experiment.trained_until)} (less the last labels' horizon). It has no out-of-sample days of its "
        "own yet; live provides them.",
        "",
        "## Out of sample",
        f"{numbers['first_day']} to {numbers['last_day']}, {numbers['out_of_sample_days']} days, "
        f"{panel.cost_bps_per_side:g} bps per side, long or flat, equal capital per instrument.",
        "",
        "| strategy | total return | Sharpe | max drawdown | turnover a day | exposure |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, m in numbers["out_of_sample"].items():
        lines.append(
            f"| {name} | {m['total_return']:.1%} | {m['sharpe']:.2f} | {m['max_drawdown']:.1%} | "
            f"{m['turnover_per_day']:.2f} | {m['exposure']:.2f} |"
        )
    lines += ["", "Difference of daily net return, 90 % block-bootstrap interval, bps a day:", ""]
    for name, (low, middle, high) in numbers["intervals_bps_per_day"].items():
        lines.append(f"- {name.replace('_', ' ')}: {low:.1f} … **{middle:.1f}** … {high:.1f}")
    lines += ["", "| fold | test days | train rows | correlation | Sharpe | buy-and-hold Sharpe |", "| --- " * 6 + "|"]
    for fold in numbers["folds"]:
        lines.append(
            f"| {fold['fold']} | {fold['first_day']} – {fold['last_day']} | {fold['train_rows']} | "
            f"{fold['correlation']:.3f} | {fold['candidate']['sharpe']:.2f} | {fold['buy_and_hold']['sharpe']:.2f} |"
        )
    lines += [
        "",
        "## Made from",
        f"- instruments: {', '.join(panel.instruments)}",
        f"- features: {panel.service} `{panel.service_hash}`",
        f"- tables: {', '.join(f'{k} version {v}' for k, v in panel.table_versions.items()) or 'arrays in memory'}",
        f"- dataset: `{numbers['dataset_hash']}`",
        f"- seed {seed}; Config: {', '.join(f'{k}={v}' for k, v in asdict(config).items())}",
        f"- policy: {', '.join(f'{k}={v:.6g}' for k, v in numbers['policy'].items())}",
        "",
        "## Limits",
        "Fills are assumed at the open of a bar without impact; small orders only. Trained on one venue's market; a "
        "market with other structure makes it worthless, which the gate sees only on the next training.",
        "",
    ]
    return "\n".join(lines)
