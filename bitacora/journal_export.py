"""`bitacora journal export`: intents, orders, fills and cancels, one JSON object per line, oldest first."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from bitacora.home import Home
from lake.errors import NothingStored
from lake.journal import Record, read_journal

KINDS = ("intent", "order", "fill", "cancel")


def journal_file(home: Home) -> Path:
    """Live's own journal."""
    return home.live / "journal" / "journal.log"


def read(path: Path) -> list[Record]:
    """Every record; a torn last line is left out.

    Raises:
        NothingStored: there is no journal.
        JournalCorrupted: a record in the middle is damaged.
    """
    if not path.is_file():
        raise NothingStored(f"{path}: no journal there. Live writes one when it trades.")
    return read_journal(path)[0]


def exported(records: list[Record]) -> Iterator[Record]:
    """The four kinds; `order_id` is on each, for intents and cancels the one the venue gave later, or null."""
    given = {r["client_order_id"]: r["order_id"] for r in records if r["kind"] == "order" and r.get("order_id")}
    for record in records:
        if record["kind"] in KINDS:
            order_id = record.get("order_id") or given.get(record["client_order_id"])
            yield {"kind": record["kind"], **record, "order_id": order_id}


def command(path: Path | None, as_json: bool) -> None:
    """Print the lines; without --json as short text."""
    for line in exported(read(path or journal_file(Home.read()))):
        if as_json:
            print(orjson.dumps(line).decode())
            continue
        words = [str(line[k]) for k in ("instrument", "side", "quantity", "price", "status", "trade_id") if line.get(k)]
        print(f"{line['seq']:>7}  {line['kind']:<7} {line['client_order_id']}  {' '.join(words)}")
