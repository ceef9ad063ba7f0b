"""What commands print: JSON, or plain text for people."""

from collections.abc import Sequence
from typing import Any

import orjson


def print_json(value: Any) -> None:
    """One JSON document; Decimals as text."""
    print(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode())


def columns(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A plain text table: columns padded to their widest cell."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
