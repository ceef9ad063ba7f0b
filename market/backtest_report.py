"""A backtest as one HTML file that needs nothing else: measures, critique and charts."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs

from lake.intervals import DAY, HOUR
from market import metrics
from market import round_trips as rt
from market.backtest_text import label, measured, shown
from market.critique import MONTH_DAYS, Critique
from market.execution import Floats
from market.results import Results, buy_and_hold

INK, MUTED, OURS, BAD, SOFT = "#1c2733", "#8894a0", "#0b6e4f", "#c0362c", "rgba(11,110,79,.14)"
POINTS = 2_000
"""Most points of a line: more than a screen has pixels."""
ROLLING_DAYS = 30
TILES = ("total_return", "sharpe", "max_drawdown", "round_trips", "turnover_per_day", "deflated_sharpe")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ d.strategy }}: backtest</title>
<style>
 :root { --ink: #1c2733; --muted: #6b7886; --line: #dfe4e9; --paper: #f6f7f9; --ours: #0b6e4f; --bad: #c0362c;
   --warn: #9a6700; }
 * { box-sizing: border-box; }
 body { margin: 0; background: var(--paper); color: var(--ink);
   font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", sans-serif; }
 main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
 h1 { margin: 0; font-size: 28px; letter-spacing: -.02em; } h2 { margin: 0 0 4px; font-size: 18px; }
 header p, .hint { color: var(--muted); margin: 4px 0 12px; overflow-wrap: anywhere; }
 section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px; margin-top: 18px;
   overflow-x: auto; }
 .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 18px; }
 .tile { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
 .tile b { display: block; font-size: 22px; font-variant-numeric: tabular-nums; } .tile span { color: var(--muted);
   font-size: 13px; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 th { text-align: left; color: var(--muted); font-weight: 500; font-size: 13px; }
 th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
 tr:last-child td { border-bottom: 0; } .n { text-align: right; white-space: nowrap; }
 .ok { color: var(--ours); } .warning { color: var(--warn); font-weight: 600; }
 .fault { color: var(--bad); font-weight: 600; }
 .two { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 0 18px; }
 .two > * { min-width: 0; align-self: start; }
</style><script>{{ script | safe }}</script></head><body><main>
<header><h1>{{ d.strategy }}</h1>
<p>{{ d.start }} to {{ d.end }} · {{ "{:,}".format(d.bars) }} bars of {{ d.instruments | join(", ") }}
{% for name, value in d.parameters.items() %} · {{ name }} = {{ value }}{% endfor %}</p></header>
<div class="tiles">{% for name, value, interval in tiles %}
 <div class="tile"><b>{{ value }}</b><span>{{ name }}{% if interval %}<br>{{ interval }}{% endif %}</span></div>
{% endfor %}</div>
<section><h2>Equity</h2><p class="hint">After costs, at each close, against equal shares bought once and held.</p>
{{ charts.equity | safe }}{{ charts.drawdown | safe }}</section>
{% if d.critique %}<section><h2>What speaks against it</h2>
<p class="hint">Looked at automatically; a fault makes the figures meaningless, a warning makes them doubtful.</p>
<table>{% for f in d.critique.findings %}<tr><td class="{{ f.verdict }}">{{ f.verdict }}</td><td>{{ f.name }}</td>
<td>{{ f.found }}</td><td class="hint">{{ f.why }}</td></tr>{% endfor %}</table>
<div class="two"><div>{{ charts.costs | safe }}</div><div>{{ charts.capacity | safe }}</div></div></section>{% endif %}
<section><h2>Measures</h2><p class="hint">Risk on periods of {{ d.measured_on }}. 90 % intervals by the circular block
bootstrap; those of drawdowns say what such a market may bring.</p>
<div class="two">{% for part in measures %}<table><tr><th>Measure</th><th class="n">Value</th>
<th class="n">90 % interval</th></tr>{% for name, value, interval in part %}<tr><td>{{ name }}</td>
<td class="n">{{ value }}</td><td class="n">{{ interval }}</td></tr>{% endfor %}</table>{% endfor %}</div></section>
<section><h2>Over time</h2><div class="two">
<div>{{ charts.rolling | safe }}</div><div>{{ charts.exposure | safe }}</div>
<div>{{ charts.months | safe }}</div><div>{{ charts.returns | safe }}</div></div></section>
<section><h2>Round trips</h2><p class="hint">Closed ones, net of fees.</p>
<div class="two"><div>{{ charts.trips | safe }}</div><div>{{ charts.holding | safe }}</div></div></section>
<section><h2>Conditions</h2><table>{% for name, value in d.conditions.items() %}<tr><td>{{ name }}</td>
<td class="n">{{ value if value is not none else "–" }}</td></tr>{% endfor %}</table></section>
</main></body></html>
"""


def write_report(path: Path, document: dict[str, Any], results: Results, critique: Critique | None) -> None:
    """Write the page; nothing on it is fetched when it is opened."""
    rows = {row[0]: row for row in measured(document)}
    listed = list(rows.values())
    tiles = [rows[label(name)] for name in TILES if label(name) in rows]
    half = (len(listed) + 1) // 2
    page = Environment(autoescape=True).from_string(PAGE)
    charts = {name: _html(figure) for name, figure in _charts(results, critique).items()}
    path.write_text(
        page.render(
            d=document, script=get_plotlyjs(), tiles=tiles, measures=(listed[:half], listed[half:]), charts=charts
        )
    )


def _html(figure: go.Figure) -> str:
    fragment: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return fragment


def _figure(title: str, height: int = 260, **axes: Any) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 56, "r": 16, "t": 36, "b": 36}, showlegend=False,
        title={"text": title, "font": {"size": 14, "color": INK}}, font={"color": INK, "size": 12}, **axes,
    )  # fmt: skip
    return figure


def _thin(n: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).astype(np.int64))


def _times(microseconds: Any) -> Any:
    return np.asarray(microseconds).astype("datetime64[us]").astype("datetime64[s]").astype(str).tolist()


def _line(figure: go.Figure, x: Any, y: Floats, name: str, color: str, **more: Any) -> None:
    figure.add_scatter(
        x=x, y=np.asarray(y).tolist(), name=name, mode="lines", line={"color": color, "width": 1.6}, **more
    )


def _charts(results: Results, critique: Critique | None) -> dict[str, go.Figure]:
    charts = {
        "equity": _equity(results),
        "drawdown": _drawdown(results),
        "rolling": _rolling(results),
        "exposure": _exposure(results),
        "months": _months(results),
        "returns": _returns(results),
        "trips": _trips(results),
        "holding": _holding(results),
    }
    if critique:
        charts |= {"costs": _costs(critique), "capacity": _capacity(critique, results.measures["days"])}
    return charts


def _equity(results: Results) -> go.Figure:
    run = results.run
    at = _thin(len(run.equity))
    x = _times(run.bars.open_time[at] + run.bars.timeframe)
    figure = _figure("", 340, yaxis={"type": "log", "title": "quote"})
    _line(figure, x, (run.conditions.capital * buy_and_hold(run))[at], "buy and hold", MUTED)
    _line(figure, x, run.equity[at], "strategy", OURS)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.12}, margin={"t": 10})
    return figure


def _drawdown(results: Results) -> go.Figure:
    run = results.run
    at = _thin(len(run.equity))
    figure = _figure("Drawdown", 180, yaxis={"tickformat": ".1%"})
    x = _times(run.bars.open_time[at] + run.bars.timeframe)
    _line(figure, x, metrics.drawdown(run.equity)[at], "drawdown", BAD, fill="tozeroy")
    return figure


def _rolling(results: Results) -> go.Figure:
    summed = results.periods
    window = max(2, round(ROLLING_DAYS * DAY / summed.length)) if summed.length >= HOUR else 288
    figure = _figure(f"Sharpe ratio of the last {window * summed.length / DAY:.3g} days", yaxis={"title": "a year"})
    if len(summed.returns) <= window:
        return figure
    views = np.lib.stride_tricks.sliding_window_view(summed.returns, window)
    spread = views.std(axis=1, ddof=1)
    ratio = np.divide(views.mean(axis=1), spread, out=np.zeros(len(views)), where=spread > 0)
    x = results.run.bars.open_time[summed.ends[window - 1 :]]
    at = _thin(len(ratio))
    _line(figure, _times(x[at]), (ratio * math.sqrt(summed.per_year))[at], "Sharpe", OURS)
    figure.add_hline(y=0, line_color=MUTED, line_width=1)
    return figure


def _exposure(results: Results) -> go.Figure:
    summed = results.periods
    at = _thin(len(summed.ends))
    figure = _figure("Mean exposure of each period", yaxis={"tickformat": ".0%", "rangemode": "tozero"})
    _line(figure, _times(results.run.bars.open_time[summed.ends[at]]), summed.rows[at, 1], "exposure", OURS)
    return figure


def _months(results: Results) -> go.Figure:
    run = results.run
    months = run.bars.open_time.astype("datetime64[us]").astype("datetime64[M]")
    ends = np.flatnonzero(np.append(months[1:] != months[:-1], True))
    wealth = np.concatenate(([run.conditions.capital], run.equity[ends]))
    returns = wealth[1:] / wealth[:-1] - 1
    figure = _figure("Return by month", yaxis={"tickformat": ".0%"}, xaxis={"type": "category"})
    colors = [OURS if value >= 0 else BAD for value in returns]
    figure.add_bar(x=months[ends].astype(str).tolist(), y=returns.tolist(), marker_color=colors)
    return figure


def _returns(results: Results) -> go.Figure:
    summed = results.periods
    risks = {name: results.measures[name] for name in ("value_at_risk_95", "expected_shortfall_95")}
    var, shortfall = (shown(name, value) for name, value in risks.items())
    title = f"Returns of the periods; lines: value at risk {var}, expected shortfall {shortfall}"
    figure = _figure(title, xaxis={"tickformat": ".1%"})
    counts, edges = np.histogram(summed.returns, bins=min(60, max(10, len(summed.returns) // 5)))
    middles = (edges[1:] + edges[:-1]) / 2
    figure.add_bar(x=middles.tolist(), y=counts.tolist(), marker_color=OURS, width=float(edges[1] - edges[0]))
    for value, color in zip(risks.values(), (MUTED, BAD), strict=True):
        figure.add_vline(x=-value, line_color=color)
    return figure


def _closed(results: Results) -> Floats:
    return results.trips[results.trips[:, rt.EXIT_BAR] >= 0]


def _trips(results: Results) -> go.Figure:
    trips = _closed(results)
    figure = _figure("Profit by round trip, cumulated, best first", xaxis={"title": "round trips"})
    if len(trips):
        curve = np.cumsum(np.sort(trips[:, rt.PNL])[::-1])
        at = _thin(len(curve))
        _line(figure, (at + 1).tolist(), curve[at], "profit", OURS, fill="tozeroy", fillcolor=SOFT)
    return figure


def _holding(results: Results) -> go.Figure:
    trips = _closed(results)
    axes: dict[str, Any] = {
        "yaxis": {"tickformat": ".1%", "title": "return"},
        "xaxis": {"type": "log", "title": "hours held"},
    }
    figure = _figure("Return against holding time", **axes)
    if len(trips):
        trips = trips[_thin(len(trips))]
        hours = np.maximum(trips[:, rt.EXIT_BAR] - trips[:, rt.ENTRY_BAR], 0.5) * results.run.bars.timeframe / HOUR
        gains = trips[:, rt.PNL] / trips[:, rt.NOTIONAL]
        colors = [OURS if gain >= 0 else BAD for gain in gains]
        marker = {"color": colors, "size": 4, "opacity": 0.5}
        figure.add_scatter(x=hours.tolist(), y=gains.tolist(), mode="markers", marker=marker)
    return figure


def _costs(critique: Critique) -> go.Figure:
    figure = _figure("Return under other costs and delay", yaxis={"tickformat": ".3~p"})
    values = [variant.total_return for variant in critique.variants]
    colors = [OURS if value >= 0 else BAD for value in values]
    figure.add_bar(x=[variant.name for variant in critique.variants], y=values, marker_color=colors)
    return figure


def _capacity(critique: Critique, days: float) -> go.Figure:
    axes: dict[str, Any] = {"xaxis": {"type": "log", "title": "capital, quote"}, "yaxis": {"tickformat": ".3~p"}}
    figure = _figure(f"{'Annual return' if days >= MONTH_DAYS else 'Return'} by capital, with impact", **axes)
    x = [variant.capital for variant in critique.capacity]
    y = [variant.gain(days) for variant in critique.capacity]
    figure.add_scatter(x=x, y=y, mode="lines+markers", line={"color": OURS, "width": 1.6})
    figure.add_hline(y=0, line_color=MUTED, line_width=1)
    return figure
