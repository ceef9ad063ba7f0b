"""`bitacora reconcile`: venue = journal = gold, exactly.

per asset   start (the journal's first `start`) + Σ fills − fees  =  the venue's balance      (Decimal, no tolerance)
per fill    journal, gold `fills_v1` and the venue's myTrades hold the same trades, one to one by trade id
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

from bitacora import show, venue
from bitacora.home import Home
from bitacora.journal_export import journal_file, read
from lake.errors import JournalCorrupted, NothingStored
from lake.instruments import instrument
from lake.journal import Record
from lake.settings import HomeSettings, LakeSettings, read_settings

ZERO = Decimal(0)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade, in numbers that compare exactly whatever their text."""

    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str


Fills = dict[Key, Fill]


def fills_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Fills, list[Key]]:
    """Fills by instrument and trade id, and the keys that occur more than once."""
    found: Fills = {}
    seen: Counter[Key] = Counter()
    for row in rows:
        key = (str(row["instrument"]), str(row["trade_id"]))
        seen[key] += 1
        price, quantity, fee = (Decimal(str(row[name])) for name in ("price", "quantity", "fee"))
        found[key] = Fill(str(row["side"]), price, quantity, fee, str(row["fee_asset"]))
    return found, [key for key, count in seen.items() if count > 1]


def venue_fills(trades: Mapping[str, list[dict[str, Any]]]) -> Fills:
    """The venue's trade rows in our words."""
    names = {"trade_id": "id", "price": "price", "quantity": "qty", "fee": "commission", "fee_asset": "commissionAsset"}
    rows = (
        {ours: row[theirs] for ours, theirs in names.items()}
        | {"instrument": instrument_id, "side": "buy" if row["isBuyer"] else "sell"}
        for instrument_id, found in trades.items()
        for row in found
    )
    return fills_of(rows)[0]


def movements(fills: Fills) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Per asset: what fills moved, and what fees took."""
    moved: defaultdict[str, Decimal] = defaultdict(Decimal)
    fees: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (instrument_id, _), fill in fills.items():
        pair = instrument(instrument_id)
        sign = 1 if fill.side == "buy" else -1
        moved[pair.base] += sign * fill.quantity
        moved[pair.quote] -= sign * fill.quantity * fill.price
        fees[fill.fee_asset] += fill.fee
    return dict(moved), dict(fees)


def compare(records: list[Record], gold: Iterable[Mapping[str, Any]], account: venue.Account) -> dict[str, Any]:
    """The whole comparison, JSON-ready; `ok` only if nothing differs."""
    start = next((r for r in records if r["kind"] == "start"), None)
    if start is None:
        raise JournalCorrupted("the journal has no `start` record: there are no balances to begin with.")
    with localcontext(Context(prec=60)):
        journal_fills, twice = fills_of(r for r in records if r["kind"] == "fill")
        gold_fills, gold_twice = fills_of(gold)
        at_venue = venue_fills(account.trades)
        assets = _assets({a: Decimal(b) for a, b in start["balances"].items()}, journal_fills, account.balances)
    problems = [f"{asset}: {row['difference']} more at the venue" for asset, row in assets.items() if row["difference"]]
    problems += [f"{place} holds trade {key[1]} of {key[0]} twice" for place, keys in
                 (("journal", twice), ("gold", gold_twice)) for key in keys]  # fmt: skip
    problems += _unequal("gold", gold_fills, journal_fills) + _unequal("venue", at_venue, journal_fills)
    problems += [f"order {order_id} is still open at the venue" for order_id in account.open_orders]
    return {
        "ok": not problems,
        "venue": account.source,
        "assets": {asset: {k: f"{v:f}" for k, v in row.items()} for asset, row in assets.items()},
        "fills": {"journal": len(journal_fills), "gold": len(gold_fills), "venue": len(at_venue)},
        "problems": problems,
    }


def _assets(
    start: Mapping[str, Decimal], fills: Fills, balances: Mapping[str, list[str]]
) -> dict[str, dict[str, Decimal]]:
    moved, fees = movements(fills)
    rows = {}
    for asset in sorted({*start, *moved, *fees, *balances}):
        free, locked = (Decimal(text) for text in balances.get(asset, ["0", "0"]))
        row = {"start": start.get(asset, ZERO), "fills": moved.get(asset, ZERO), "fees": fees.get(asset, ZERO)}
        expected = row["start"] + row["fills"] - row["fees"]
        rows[asset] = row | {"expected": expected, "venue": free + locked, "difference": free + locked - expected}
    return {asset: row for asset, row in rows.items() if any(row.values())}


def _unequal(place: str, found: Fills, expected: Fills) -> list[str]:
    """Trades that one side lacks or tells otherwise."""
    lacking = [f"{place} lacks trade {trade} of {i}" for i, trade in sorted(expected.keys() - found.keys())]
    extra = [
        f"the journal lacks trade {trade} of {i}, which {place} holds" for i, trade in sorted(found.keys() - expected)
    ]
    other = [
        f"trade {key[1]} of {key[0]}: journal {expected[key]}, {place} {found[key]}"
        for key in sorted(found.keys() & expected.keys()) if found[key] != expected[key]
    ]  # fmt: skip
    return lacking + extra + other


def gold_fills() -> list[dict[str, Any]]:
    """Gold's fills; none while nothing was landed."""
    from lake.storage import Lake
    from lake.tables.trading import FILLS

    lake = Lake(read_settings(LakeSettings).root(read_settings(HomeSettings)))
    try:
        return lake.scan(FILLS).collect().to_dicts()
    except NothingStored:
        return []


def command(as_json: bool) -> int:
    """Print the comparison; 0 if everything is equal, 65 if not."""
    home = Home.read()
    result = compare(read(journal_file(home)), gold_fills(), venue.account(home))
    if as_json:
        show.print_json(result)
    else:
        rows = [[asset, *row.values()] for asset, row in result["assets"].items()]
        print(show.columns(rows, ["asset", "start", "fills", "fees", "expected", "venue", "difference"]))
        print(f"fills: {result['fills']}  ({result['venue']})")
        print("\n".join(result["problems"]) or "exact")
        if result["fills"]["gold"] < result["fills"]["journal"]:
            print("gold is behind the journal: python -m jobs.ingest_journal")
    return os.EX_OK if result["ok"] else os.EX_DATAERR
