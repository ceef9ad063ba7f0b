"""What the report shows. Every part is None while there is nothing to show."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
import polars as pl

from bitacora import lineage, skew
from bitacora.home import Home
from bitacora.journal_export import journal_file
from bitacora.registry import open_registry
from lake.errors import BitacoraError
from lake.instruments import instrument
from lake.intervals import MINUTE, to_datetime
from lake.journal import Record, read_journal
from lake.wire.binance import kline_from_payload

MODEL_NAME = "bitacora"


@dataclass(frozen=True, slots=True)
class Model:
    """The champion's out-of-sample record, from its bundle."""

    version: int
    run_id: str
    equity: pl.DataFrame
    """day, candidate_equity, buy_and_hold_equity, … one row per out-of-sample day."""
    metrics: dict[str, Any]


@dataclass(slots=True)
class Trading:
    """What live did, on the market clock."""

    times: list[datetime] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    prices: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)
    """Closes of the bars live decided on, by instrument."""
    fills: list[dict[str, Any]] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)


def model(home: Home) -> Model | None:
    """The champion, or the newest challenger while there is none."""
    for alias in ("champion", "challenger"):
        try:
            registry = open_registry(home)
            found = registry.by_alias(MODEL_NAME, alias)
            folder, _ = registry.bundle(found)
            equity = pl.read_csv(folder / "equity.csv", try_parse_dates=True)
            metrics = orjson.loads((folder / "metrics.json").read_bytes())
        except (BitacoraError, OSError):
            continue
        return Model(found.version, found.run_id, equity, metrics)
    return None


def trading(home: Home) -> Trading | None:
    """Live's session from its journal: prices and equity at every decided bar's close."""
    path = journal_file(home)
    if not path.is_file():
        return None
    records, _ = read_journal(path)
    decided = [r for r in records if r["kind"] == "decision"]
    if not decided:
        return None
    first = min(r["open_time"] for r in decided)
    closes = _closes(records, first)
    result = Trading(tally=Counter(r["kind"] for r in records))
    for name, bars in closes.items():
        result.prices[name] = [(to_datetime(time), float(price)) for time, price in sorted(bars.items())]
    result.fills = [
        {"instrument": r["instrument"], "side": r["side"], "price": float(r["price"]),
         "quantity": float(r["quantity"]), "time": to_datetime(r["event_time"])}
        for r in records if r["kind"] == "fill"
    ]  # fmt: skip
    _mark(result, records, closes)
    return result


def _closes(records: list[Record], first: int) -> dict[str, dict[int, Decimal]]:
    """Instrument to close time to close price, from the frames at and after the first decision."""
    closes: defaultdict[str, dict[int, Decimal]] = defaultdict(dict)
    for record in records:
        if record["kind"] == "frame" and record["open_time"] >= first - 5 * MINUTE:
            kline = kline_from_payload(record["stream"], record["payload"])
            closes[record["instrument"]][kline.close_time] = Decimal(kline.close)
    return dict(closes)


def _mark(result: Trading, records: list[Record], closes: dict[str, dict[int, Decimal]]) -> None:
    """Account value at each close: balances moved by the fills so far, valued at the last close seen."""
    start = next((r for r in records if r["kind"] == "start"), None)
    if start is None:
        return
    held = defaultdict(Decimal, {asset: Decimal(text) for asset, text in start["balances"].items()})
    fills = sorted((r for r in records if r["kind"] == "fill"), key=lambda r: r["event_time"])
    last: dict[str, Decimal] = {}
    for time in sorted({time for bars in closes.values() for time in bars}):
        while fills and fills[0]["event_time"] <= time:
            _apply(held, fills.pop(0))
        last |= {name: bars[time] for name, bars in closes.items() if time in bars}
        if len(last) < len(closes):
            continue
        value = held["USDT"] + sum(held[instrument(name).base] * price for name, price in last.items())
        result.times.append(to_datetime(time))
        result.equity.append(float(value))


def _apply(held: dict[str, Decimal], fill: Record) -> None:
    pair, sign = instrument(fill["instrument"]), 1 if fill["side"] == "buy" else -1
    quantity, price = Decimal(fill["quantity"]), Decimal(fill["price"])
    held[pair.base] += sign * quantity
    held[pair.quote] -= sign * quantity * price
    held[fill["fee_asset"]] -= Decimal(fill["fee"])


def one_chain() -> dict[str, Any] | None:
    """The recomputed lineage of the newest filled order."""
    try:
        chains = lineage.trace(None, verify=True)
    except BitacoraError:
        return None
    filled = [chain for chain in chains if chain["links"]["order"]["trade_ids"]]
    return (filled or chains)[-1]


def skew_result() -> dict[str, Any] | None:
    try:
        return skew.compare()
    except BitacoraError:
        return None


def run_record(home: Home) -> dict[str, Any]:
    """Stages and checks of the demo run, if there was one."""
    try:
        found: dict[str, Any] = orjson.loads((home.report.parent / "stages.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {"stages": [], "checks": []}
    return found
