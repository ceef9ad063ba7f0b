"""One writer of many: `python -m tests.lake.bronze_writer LAKE NUMBER COMMITS` stores its batches and a shared one."""

import sys

from jobs.bronze import store
from lake.intervals import HOUR
from lake.storage import Lake
from lake.tables import RAW_BARS
from tests.lake.raw_bars import BTC, START, random_minutes


def main(root: str, number: int, commits: int) -> None:
    lake = Lake(root)
    print("ready", flush=True)
    sys.stdin.readline()
    stored = 0
    for at in range(commits):
        rows = random_minutes(3, [f"binance:WRITER{number}/USDT"], START + at * HOUR)
        stored += store(lake, RAW_BARS, rows, f"writer-{number}")
    shared = store(lake, RAW_BARS, random_minutes(3, [BTC]), f"writer-{number}")
    print(stored, shared, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
