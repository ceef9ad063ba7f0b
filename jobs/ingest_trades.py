"""Fetch a venue's trades into bronze, resumable by trade id, from any exchange that ccxt knows.

    python -m jobs.ingest_trades --venue binance --instruments binance:BTC/USDT --start 2024-01-01 --end 2024-01-02

Reads   the exchange's public trades by REST (Binance: aggTrades)
Writes  bronze raw_frames_v1; `python -m jobs.build_market` makes trades_v1 of it
"""

from jobs.command import main
from jobs.ingest_market import arguments, run

__all__ = ["run"]

if __name__ == "__main__":
    main("ingest_trades", run, arguments("ingest_trades", __doc__, kind="trades"))
