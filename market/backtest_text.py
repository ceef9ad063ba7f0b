"""A backtest's measures and critique as plain text, and the words both reports use for them."""

from typing import Any

LABELS: dict[str, tuple[str, str]] = {
    "total_return": ("Total return", "percent"),
    "annual_return": ("Annual return", "percent"),
    "volatility": ("Volatility, annual", "percent"),
    "sharpe": ("Sharpe ratio", "number"),
    "sortino": ("Sortino ratio", "number"),
    "calmar": ("Calmar ratio", "number"),
    "max_drawdown": ("Maximum drawdown", "percent"),
    "longest_drawdown_days": ("Longest drawdown, days", "number"),
    "value_at_risk_95": ("Value at risk, 95 %", "percent"),
    "expected_shortfall_95": ("Expected shortfall, 95 %", "percent"),
    "tail_ratio": ("Tail ratio", "number"),
    "skewness": ("Skewness", "number"),
    "kurtosis": ("Kurtosis", "number"),
    "probabilistic_sharpe": ("Probabilistic Sharpe", "number"),
    "deflated_sharpe": ("Deflated Sharpe", "number"),
    "minimum_track_record_days": ("Minimum track record, days", "number"),
    "pnl": ("Profit, quote", "money"),
    "fees": ("Fees, quote", "money"),
    "slippage": ("Slippage and impact, quote", "money"),
    "average_slippage_bps": ("Average slippage, bps", "number"),
    "average_shortfall_bps": ("Price against signal's close, bps", "number"),
    "latency_seconds": ("Latency of a signal, s", "number"),
    "feed_latency_ms": ("Market data on its way, ms", "number"),
    "entry_latency_ms": ("Orders on their way, ms", "number"),
    "ack_latency_ms": ("Answers on their way, ms", "number"),
    "funding": ("Funding paid, quote", "money"),
    "orders": ("Orders", "count"),
    "cancels": ("Cancellations", "count"),
    "refusals": ("Orders refused", "count"),
    "fills": ("Fills", "count"),
    "maker_share": ("Fills that rested", "percent"),
    "round_trips": ("Round trips", "count"),
    "open_positions": ("Open positions at the end", "count"),
    "hit_rate": ("Hit rate of round trips", "percent"),
    "profit_factor": ("Profit factor", "number"),
    "average_trade": ("Average round trip, quote", "money"),
    "best_trade": ("Best round trip, quote", "money"),
    "worst_trade": ("Worst round trip, quote", "money"),
    "mean_holding_hours": ("Mean holding, hours", "number"),
    "exposure": ("Exposure, mean", "percent"),
    "time_in_market": ("Time in the market", "percent"),
    "turnover_per_day": ("Turnover a day, × equity", "number"),
}


def label(name: str) -> str:
    """A measure's name for people."""
    if name in LABELS:
        return LABELS[name][0]
    kind, _, reference = name.partition("_")
    return f"{kind.capitalize()} with {reference.replace('_', ' ')}"


def shown(name: str, value: float | None) -> str:
    """A measure's value for people; what is not finite is a dash."""
    if value is None:
        return "–"
    kind = LABELS.get(name, ("", "number"))[1]
    if kind == "percent":
        return f"{value:.2%}"
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.1 or not value else f"{value:.2g}"


def measured(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Label, value and interval of each measure, in the order of reports."""
    measures, intervals = document["measures"], document["intervals_90"]
    names = [name for name in LABELS if name in measures]
    names += [name for name in measures if name.startswith(("correlation_", "beta_"))]
    rows = []
    for name in names:
        low, high = intervals.get(name, (None, None))
        interval = "" if name not in intervals else f"{shown(name, low)} to {shown(name, high)}"
        rows.append((label(name), shown(name, measures[name]), interval))
    return rows


def text(document: dict[str, Any], events: int, seconds: float) -> str:
    """The whole result on a terminal; `seconds` the compiled run over so many events took, NaN where none did."""
    what = "rows" if "rows" in document else "bars"
    chosen = ", ".join(f"{name}={value}" for name, value in document["parameters"].items())
    speed = f" in {seconds:.3f} s ({events / seconds / 1e6:.1f} M {what}/s)" if seconds == seconds else ""
    lines = [
        f"{document['strategy']}({chosen}) on {', '.join(document['instruments'])}",
        f"{document['start']} to {document['end']}: {events:,} {what}{speed}",
        "",
        f"{'':36}{'value':>14}   90 % interval (blocks of {document['measured_on']} periods)",
        *(f"{name:36}{value:>14}   {interval}".rstrip() for name, value, interval in measured(document)),
    ]
    if document["critique"]:
        lines += ["", "What speaks against it:"]
        lines += [f"  {f['verdict']:8} {f['name']}: {f['found']}" for f in document["critique"]["findings"]]
        gain = "annual_return" if document["measures"]["days"] >= 30 else "total_return"
        lines += ["", f"{'':20}{'capital':>14}{label(gain).lower():>16}{'Sharpe':>9}"]
        for variant in [*document["critique"]["variants"], *document["critique"]["capacity"]]:
            annual = shown(gain, variant[gain])
            lines.append(f"{variant['name']:20}{variant['capital']:>14,.0f}{annual:>16}{variant['sharpe']:>9.2f}")
    return "\n".join(lines)
