"""The equity plot of a run, for MLflow's artifact view."""

from pathlib import Path

import numpy as np

from lake.intervals import to_datetime
from training.walk_forward import Experiment


def equity_plot(experiment: Experiment, path: Path) -> None:
    """Write a PNG: equity of candidate, buy-and-hold and flat, and the candidate's drawdown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    days = [to_datetime(int(day)) for day in experiment.candidate.days]
    for name, track in (
        ("model", experiment.candidate),
        ("buy and hold", experiment.buy_and_hold),
        ("flat", experiment.flat),
    ):
        top.plot(days, np.cumprod(1.0 + track.returns), label=name)
    for result in experiment.folds:
        day = result.fold.number - 1
        top.axvline(days[day * len(days) // len(experiment.folds)], color="0.85", linewidth=0.8, zorder=0)
    equity = np.cumprod(1.0 + experiment.candidate.returns)
    bottom.fill_between(days, (equity / np.maximum.accumulate(equity) - 1.0) * 100.0, 0.0, alpha=0.5)
    top.set_ylabel("equity, net of costs")
    bottom.set_ylabel("drawdown, %")
    top.legend()
    top.set_title("Out of sample; grey lines: refits")
    figure.autofmt_xdate()
    figure.savefig(path, dpi=110)
