"""The stylised facts as one HTML file: a table with bands and sources, and simulated beside real in plots."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment
from plotly.offline import get_plotlyjs

if TYPE_CHECKING:
    from market.facts import Measured

INK, OURS = "#1c2733", "#0b6e4f"
REAL = ("#8894a0", "#c08a2c", "#6f7fc0", "#b05a7a", "#4a90a4", "#999999")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stylised facts: {{ title }}</title>
<style>
 body { margin: 0; background: #f6f7f9; color: #1c2733;
   font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", sans-serif; }
 main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
 h1 { margin: 0; font-size: 28px; letter-spacing: -.02em; } h2 { margin: 0 0 8px; font-size: 18px; }
 header p, .hint { color: #6b7886; }
 section { background: #fff; border: 1px solid #dfe4e9; border-radius: 10px; padding: 20px 22px; margin-top: 18px;
   overflow-x: auto; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 th { text-align: left; color: #6b7886; font-weight: 500; font-size: 13px; }
 th, td { padding: 6px 10px; border-bottom: 1px solid #dfe4e9; vertical-align: top; }
 tr:last-child td { border-bottom: 0; } .n { text-align: right; white-space: nowrap; } small { color: #6b7886; }
 .ok { color: #0b6e4f; } .no { color: #c0362c; font-weight: 600; }
 .two { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 0 18px; }
 .two > * { min-width: 0; }
</style><script>{{ script | safe }}</script></head><body><main>
<header><h1>Stylised facts</h1><p>{{ title }}: {{ held }} of {{ rows | length }} facts hold. Green is simulated, other
colours are real markets.</p></header>
<section><h2>Simulated beside real</h2><table><tr><th></th><th>Fact</th><th class="n">Simulated</th>
<th class="n">Band</th><th>Real</th><th>Source</th></tr>
{% for r in rows %}<tr><td class="{{ 'ok' if r.holds else 'no' }}">{{ 'holds' if r.holds else 'fails' }}</td>
<td>{{ r.fact }}<br><small>{{ r.what }}</small></td><td class="n">{{ r.ours }}</td>
<td class="n">{{ r.low }} – {{ r.high }}</td><td>{{ r.theirs }}</td><td><small>{{ r.source }}</small></td></tr>
{% endfor %}</table></section>
<section><h2>In plots</h2><div class="two">{% for chart in charts %}<div>{{ chart | safe }}</div>{% endfor %}</div>
</section></main></body></html>
"""


def write_report(
    path: Path, title: str, table: Sequence[dict[str, Any]], simulated: Sequence["Measured"], real: Sequence["Measured"]
) -> None:
    """Write the page; nothing on it is fetched when it is opened."""
    rows = [{**row, "ours": _values(row["simulated"], False), "theirs": _values(row["real"], True)} for row in table]
    charts = [_html(figure) for figure in _charts(simulated, real)]
    page = Environment(autoescape=True).from_string(PAGE)
    held = sum(row["holds"] for row in table)
    path.write_text(page.render(title=title, held=held, rows=rows, charts=charts, script=get_plotlyjs()))


def _values(values: dict[str, float], named: bool) -> str:
    shown = {name: value for name, value in values.items() if not math.isnan(value)}
    return " · ".join(f"{name} {value:.3g}" if named else f"{value:.3g}" for name, value in shown.items())


def _html(figure: go.Figure) -> str:
    fragment: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return fragment


def _figure(title: str, **axes: Any) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white", height=300, margin={"l": 56, "r": 16, "t": 40, "b": 40}, showlegend=False,
        title={"text": title, "font": {"size": 14, "color": INK}}, font={"color": INK, "size": 12}, **axes,
    )  # fmt: skip
    return figure


def _charts(simulated: Sequence["Measured"], real: Sequence["Measured"]) -> list[go.Figure]:
    from market.facts import LAGS

    log = {"type": "log"}
    tail = _figure("Tail: share of |returns| larger than x deviations", xaxis=log, yaxis=log)
    memory = _figure("Autocorrelation of |returns| by lag, five-minute bars", xaxis=log, yaxis=log)
    linear = _figure("Autocorrelation of returns by lag", yaxis={"range": [-0.2, 0.2]})
    season = _figure("Mean |return| by hour of the day, UTC")
    lines = [(m, OURS) for m in simulated if "memory" in m.curves]
    lines += [(m, REAL[k % len(REAL)]) for k, m in enumerate(real) if "memory" in m.curves]
    for measured, color in reversed(lines):  # simulated last, on top
        curves, name = measured.curves, measured.name
        _line(tail, curves["tail"][0], curves["tail"][1], name, color)
        _line(memory, LAGS, np.where(curves["memory"] > 0, curves["memory"], np.nan), name, color)
        _line(linear, np.arange(1, 21), curves["linear"], name, color)
        _line(season, np.arange(24), curves["season"], name, color)
    figures = [tail, memory, linear, season]
    for measured in simulated:
        if "impact" in measured.curves:
            figures += _flow_charts(measured)
    return figures


def _flow_charts(measured: "Measured") -> list[go.Figure]:
    log = {"type": "log"}
    impact = _figure("Impact of large orders, in daily deviations, by share of the day's volume", xaxis=log, yaxis=log)
    share, moved = measured.curves["impact"]
    exponent, factor = measured.facts["impact exponent"], measured.facts["impact factor"]
    seen = moved > 0
    impact.add_scatter(
        x=share[seen].tolist(), y=moved[seen].tolist(), mode="markers", marker={"color": OURS, "size": 8}
    )
    _line(impact, share, factor * share**exponent, f"exponent {exponent:.2f}", INK)
    signs = _figure("Autocorrelation of trade signs by lag, in trades", xaxis=log)
    lags, memory = measured.curves["signs"]
    _line(signs, lags, np.where(memory > 0, memory, np.nan), "signs", OURS)
    return [impact, signs]


def _line(figure: go.Figure, x: Any, y: Any, name: str, color: str) -> None:
    width = 2.4 if color == OURS else 1.3
    values = [None if math.isnan(value) else value for value in np.asarray(y, float).tolist()]
    figure.add_scatter(
        x=np.asarray(x).tolist(), y=values, name=name, mode="lines", line={"color": color, "width": width}
    )
