"""The live journal's format: append-only lines, each with a sequence number and a checksum.

    <crc32, 8 hex digits> <JSON object with "seq", "kind", "event_time", …>\\n

`live` writes it, `jobs` lands it in the lake, the CLI exports it. A torn last line is what a crash leaves and is cut
off; a damaged line with another record behind it means the file was altered or the disk failed, and is refused.

Kinds and their fields (prices, quantities, fees as decimal text; times in UTC microseconds of the market clock):
    start     journal_id, balances {asset: text}, instruments [...], settings
    frame     stream, instrument, open_time, market_time, payload (the venue's text, unchanged), payload_hash
    model     model_name, model_version, manifest_sha256, action (load | refuse), why
    decision  the columns of the table decisions_v1; where a book, a trade or the time led to orders, also event:
              kind, instrument, id, market_time, received_time, payload (the table decision_events_v1)
    intent    client_order_id, decision_id, instrument, side, order_type, price, quantity,
              timestamp (wall milliseconds, signed into the order: the venue refuses it after this plus recvWindow);
              where they apply: stop_price, time_in_force, post_only
    order     client_order_id, order_id, status, filled_quantity
    fill      the columns of the table fills_v1
    cancel    client_order_id, status (sent | done | gone)
    ready     how (fresh | recovered), seconds
    stop      balances {asset: text}, cancelled
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from lake.errors import JournalCorrupted

Record = dict[str, Any]

_RECORD = b'{"seq":'
"""How every record begins; inside a payload the quotes are escaped, so it stands nowhere else."""


def encode(record: Record) -> bytes:
    """One line, checksum included. Keys keep their order."""
    body = orjson.dumps(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """The record of one line (without its newline), or None where the line is damaged."""
    if len(line) < 10 or line[8:9] != b" " or line[:8] != b"%08x" % zlib.crc32(line[9:]):
        return None
    record = orjson.loads(line[9:])
    return record if isinstance(record, dict) else None


def read_journal(path: Path) -> tuple[list[Record], int]:
    """Read a journal; returns its records and the byte length of the intact part.

    A damaged *last* line is a torn write: it is left out, and the length says where to cut.

    Raises:
        JournalCorrupted: a damaged line has another record behind it, or sequence numbers have a gap.
    """
    data = path.read_bytes()
    records: list[Record] = []
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        record = decode(data[position:end]) if end >= 0 else None
        if record is None:
            if data.find(_RECORD, position + 10) >= 0:
                raise JournalCorrupted(
                    f"{path.name}: damaged record at byte {position} with another one behind it. "
                    "Keep the file, restore it from a copy, and compare with the venue before trading."
                )
            break
        if record.get("seq") != len(records):
            raise JournalCorrupted(f"{path.name}: expected sequence {len(records)}, found {record.get('seq')}.")
        records.append(record)
        position = end + 1
    return records, position


def of_kind(records: list[Record], *kinds: str) -> Iterator[Record]:
    return (r for r in records if r["kind"] in kinds)
