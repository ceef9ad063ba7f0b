"""The report's figures. Each returns an HTML fragment; Plotly's script is put into the page once."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from bitacora.report.data import Trading

INK, MUTED, GRID = "#1c2733", "#6b7886", "#e6eaee"
OURS, MARKET, GOOD, BAD = "#0b6e4f", "#b08900", "#1a7f37", "#c0362c"
_LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "Inter, system-ui, sans-serif", "size": 13, "color": INK},
    "margin": {"l": 56, "r": 16, "t": 16, "b": 40},
    "legend": {"orientation": "h", "y": 1.08, "x": 0},
    "hovermode": "x unified",
}


def html(figure: go.Figure, height: int) -> str:
    """A fragment without the script."""
    figure.update_layout(**_LAYOUT, height=height)
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    fragment: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False})
    return fragment


def equity(table: pl.DataFrame) -> str:
    """Out-of-sample equity over drawdown, the model against buy-and-hold."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.05)
    days = table["day"].to_list()
    for column, name, colour in (
        ("candidate_equity", "model, net of 5 bps per side", OURS),
        ("buy_and_hold_equity", "buy and hold", MARKET),
    ):
        values = table[column].to_numpy()
        drawdown = values / np.maximum.accumulate(np.maximum(values, 1.0)) - 1.0
        figure.add_scatter(x=days, y=values, name=name, line={"color": colour, "width": 2}, row=1, col=1)
        figure.add_scatter(
            x=days,
            y=drawdown,
            line={"color": colour, "width": 1},
            fill="tozeroy",
            showlegend=False,
            name=name,
            row=2,
            col=1,
        )
    figure.update_yaxes(title="equity, start = 1", row=1, col=1)
    figure.update_yaxes(title="drawdown", tickformat=".0%", row=2, col=1)
    return html(figure, 460)


def importance(shares: dict[str, float], count: int = 18) -> str:
    """What the model looked at."""
    top = sorted(shares.items(), key=lambda item: item[1])[-count:]
    figure = go.Figure(go.Bar(
        x=[share for _, share in top], y=[name for name, _ in top], orientation="h", marker={"color": OURS},
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    ))  # fmt: skip
    figure.update_xaxes(tickformat=".0%")
    figure.update_layout(hovermode="closest")
    return html(figure, 60 + 24 * len(top))


def folds(rows: list[dict[str, Any]]) -> str:
    """Total net return per fold, the model against buy-and-hold."""
    figure = go.Figure()
    names = [f"fold {row['fold']}<br>{row['first_day']}" for row in rows]
    for key, name, colour in (("candidate", "model", OURS), ("buy_and_hold", "buy and hold", MARKET)):
        values = [row[key]["total_return"] for row in rows]
        figure.add_bar(x=names, y=values, name=name, marker={"color": colour})
    figure.update_yaxes(tickformat=".0%", title="net return")
    return html(figure, 300)


def live_equity(trading: Trading) -> str:
    """Account value at every closed bar."""
    figure = go.Figure(go.Scatter(x=trading.times, y=trading.equity, line={"color": OURS, "width": 2}, name="account"))
    figure.update_yaxes(title="USDT", tickformat=",.0f")
    return html(figure, 280)


def fills(trading: Trading) -> str:
    """Each instrument's closes with the fills on them."""
    names = list(trading.prices)
    figure = make_subplots(rows=(len(names) + 1) // 2, cols=2, subplot_titles=names, vertical_spacing=0.11)
    for index, name in enumerate(names):
        row, column = index // 2 + 1, index % 2 + 1
        times, prices = zip(*trading.prices[name], strict=True) if trading.prices[name] else ((), ())
        figure.add_scatter(
            x=times, y=prices, line={"color": MUTED, "width": 1.4}, showlegend=False, name="close", row=row, col=column
        )
        for side, symbol, colour in (("buy", "triangle-up", GOOD), ("sell", "triangle-down", BAD)):
            mine = [f for f in trading.fills if f["instrument"] == name and f["side"] == side]
            figure.add_scatter(
                x=[f["time"] for f in mine], y=[f["price"] for f in mine], mode="markers", name=side,
                marker={"symbol": symbol, "size": 10, "color": colour}, showlegend=index == 0,
                customdata=[f["quantity"] for f in mine],
                hovertemplate=f"{side} %{{customdata}} at %{{y}}<extra></extra>",
                row=row, col=column,
            )  # fmt: skip
    figure.update_layout(hovermode="closest")
    return html(figure, 240 * ((len(names) + 1) // 2))


def stages(rows: list[dict[str, Any]]) -> str:
    """When each stage ran."""
    rows = rows[::-1]
    figure = go.Figure(go.Bar(
        x=[row["seconds"] for row in rows], base=[row["began"] for row in rows], y=[row["name"] for row in rows],
        orientation="h", marker={"color": [OURS if row["state"] == "done" else BAD for row in rows]},
        text=[f"{row['seconds']:.1f} s" for row in rows], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    ))  # fmt: skip
    figure.update_xaxes(title="seconds since the start")
    figure.update_layout(hovermode="closest")
    return html(figure, 80 + 26 * len(rows))
