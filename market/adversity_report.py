"""One adversity as one HTML file: bars before and after, and a small embedded exchange living through it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lake.intervals import MINUTE, SECOND, format_time
from market.adversity import described
from market.adversity_bars import history_bars, perturb
from market.adversity_events import Adversity, FundingShock
from market.adversity_live import apply
from market.bars import Bars
from market.book import BUY, SELL
from market.execution import CLOSE, HIGH, LOW, VOLUME, Floats
from market.scenario import Scenario, simulate_history

INK, MUTED, OURS, BAD = "#1c2733", "#8894a0", "#0b6e4f", "#c0362c"
BEFORE_MINUTES, AFTER_MINUTES, MOST_LIVE_MINUTES = 10.0, 15.0, 60
DEPTH_LEVELS = 20

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title><style>
 body {{ margin: 0; background: #f6f7f9; color: #1c2733; font: 15px/1.5 Inter, system-ui, sans-serif; }}
 main {{ max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }}
 section {{ background: #fff; border: 1px solid #dfe4e9; border-radius: 10px; padding: 20px 22px; margin-top: 18px; }}
 h1 {{ margin: 0; }} h2 {{ margin: 0 0 4px; font-size: 18px; }} p {{ color: #6b7886; margin: 4px 0 12px; }}
</style><script>{script}</script></head><body><main><h1>{name}</h1><p>{what}<br>{parameters}</p>
<section><h2>On stored bars</h2><p>{bars_hint}</p>{bars}</section>
<section><h2>Live, through the matching engine</h2><p>{live_hint}</p>{live}</section></main></body></html>
"""


def write_plot(path: Path, event: Adversity, seed: int, preset: str) -> dict[str, Any]:
    """Write the page; returns what `show` prints."""
    about = next(row for row in described() if row["name"] == event.name)
    bars = history_bars(simulate_history(Scenario(seed, days=3, preset=preset)))
    if isinstance(event, FundingShock):  # spot's bars stand for the perpetuals' here
        bars = Bars(tuple(f"{name}:USDT" for name in bars.instruments), bars.open_time, bars.values, bars.timeframe)
    moved = _later(event, BEFORE_MINUTES)
    perturbed = perturb(bars, moved)
    happened = perturbed.happened[0]
    shown = int(min(BEFORE_MINUTES + event.seconds / 60 + AFTER_MINUTES, len(bars.open_time)))
    trace = None if isinstance(event, FundingShock) else lived(event, seed, preset)
    path.write_text(
        PAGE.format(
            name=event.name.replace("_", " "),
            what=about["what"],
            parameters=" · ".join(f"{name} = {getattr(event, name)}" for name in about["parameters"]),
            script=get_plotlyjs(),
            bars_hint=f"{bars.instruments[0]}, {format_time(happened.start)} to {format_time(happened.end)}; "
            f"largest effect {happened.size:.4g}. Grey: as it was.",
            bars=_html(_bar_chart(bars, perturbed.bars, shown)),
            live_hint="Best bid and ask, spread and depth of the embedded exchange."
            if trace is not None
            else "Runs where perpetuals trade: python -m market.server --derivatives, POST /adversity.",
            live="" if trace is None else _html(_live_chart(trace)),
        )
    )
    return {"out": str(path), "event": event.name, "largest_effect": happened.size, "bars_shown": shown}


def _later(event: Adversity, minutes: float) -> Adversity:
    from dataclasses import replace

    return replace(event, start_minutes=event.start_minutes + minutes)


def lived(event: Adversity, seed: int, preset: str, minutes: int | None = None) -> dict[str, Floats]:
    """Live through an event in a small exchange: per five seconds, of its first instrument.

    Returns arrays of seconds since the start, bid, ask (quote), depth (base, best 20 levels a side), trades, and
    whether the venue was open; an empty side of the book is NaN.
    """
    from market.venue import build_venue

    venue = build_venue(Scenario(seed, days=1, preset=preset), 1.0, True, 1, Decimal(5), Decimal(100_000))
    exchange = venue.exchange
    exchange.advance(exchange.time + 2 * MINUTE)
    apply(venue, _later(event, 3.0))
    total = minutes or int(min(MOST_LIVE_MINUTES, 8 + event.seconds / 60))
    tick, step = float(exchange.instruments[0].price_tick), float(exchange.instruments[0].quantity_step)
    start, rows = exchange.time, []
    for _ in range(total * 12):
        exchange.outbox.trades.clear()
        exchange.advance(exchange.time + 5 * SECOND)
        bids, asks = exchange.depth(0, BUY, DEPTH_LEVELS), exchange.depth(0, SELL, DEPTH_LEVELS)
        bid, ask = (float(side[0, 0]) * tick if len(side) else np.nan for side in (bids, asks))
        trades = sum(1 for row in exchange.outbox.trades if row[0] == 0)
        depth = float(bids[:, 1].sum() + asks[:, 1].sum()) * step
        rows.append(((exchange.time - start) / SECOND, bid, ask, depth, trades, float(exchange.trading)))
    names = ("seconds", "bid", "ask", "depth", "trades", "open")
    return dict(zip(names, np.array(rows, np.float64).T, strict=True))


def _html(figure: go.Figure) -> str:
    fragment: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return fragment


def _stacked(titles: list[str]) -> go.Figure:
    from plotly.subplots import make_subplots

    count = len(titles)
    figure = make_subplots(rows=count, cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.07)
    figure.update_layout(
        template="plotly_white", height=190 * count + 60, showlegend=False, font={"color": INK, "size": 12},
        margin={"l": 60, "r": 16, "t": 30, "b": 36},
    )  # fmt: skip
    return figure


def _line(figure: go.Figure, row: int, x: Floats, y: Floats, color: str) -> None:
    figure.add_scatter(x=x.tolist(), y=y.tolist(), mode="lines", line={"color": color, "width": 1.5}, row=row, col=1)


def _bar_chart(before: Bars, after: Bars, shown: int) -> go.Figure:
    figure = _stacked(["Close, high and low", "Volume"])
    minutes = np.arange(shown, dtype=np.float64)
    for field, color in ((HIGH, BAD), (LOW, BAD), (CLOSE, OURS)):
        _line(figure, 1, minutes, after.values[:shown, 0, field], color)
    _line(figure, 1, minutes, before.values[:shown, 0, CLOSE], MUTED)
    _line(figure, 2, minutes, after.values[:shown, 0, VOLUME], OURS)
    _line(figure, 2, minutes, before.values[:shown, 0, VOLUME], MUTED)
    figure.update_xaxes(title="minutes", row=2, col=1)
    return figure


def _live_chart(trace: dict[str, Floats]) -> go.Figure:
    figure = _stacked(["Bid and ask", "Spread, basis points", "Depth of 20 levels, base", "Trades in five seconds"])
    x = trace["seconds"] / 60
    _line(figure, 1, x, trace["bid"], OURS)
    _line(figure, 1, x, trace["ask"], BAD)
    _line(figure, 2, x, (trace["ask"] / trace["bid"] - 1) * 1e4, INK)
    _line(figure, 3, x, trace["depth"], INK)
    _line(figure, 4, x, trace["trades"], INK)
    figure.update_xaxes(title="minutes", row=4, col=1)
    return figure
