"""
### market_data: trades, books, quotes, derivatives and options, from REST answers and recorded frames to tables

**Reads** exchanges through ccxt (`params`), and what `python -m jobs.record` has stored since the last run. **Writes**
`raw_frames_v1`, the silver tables made of it, and `option_surface_v1`. Recording itself is no task: it is a process
that runs for as long as there is a market, beside this DAG; both may write bronze at once.

**Interval.** Histories go on where the last run stopped, builds take what their table has not seen. Give `start` and
`end` to do an interval again; equal input changes nothing. The DAG starts paused: it asks exchanges.

**When it fails.** 75 (rate limit, connection lost) is retried by itself. 69: the exchange does not answer, or nothing
is stored yet. 65: a stop check failed, and nothing was committed; the reasons are in the log and in
`<table>_quarantine`; or `check_option_quotes` found none, or a venue fallen silent: no surface is built on that. 64:
`params` name an instrument that the exchange does not trade.
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param
from bitacora_airflow.assets import asset
from bitacora_airflow.defaults import DAG_DEFAULTS
from bitacora_airflow.job import Job
from bitacora_airflow.spark_job import SparkJob

from lake.tables import derivatives, market

SPOT, PERPETUAL = "binance:BTC/USDT,binance:ETH/USDT", "binance:BTC/USDT:USDT,binance:ETH/USDT:USDT"
ASKED = [
    ("spot", "trades"), ("spot", "books"), ("spot", "tickers"), ("perpetual", "trades"), ("perpetual", "funding"),
    ("perpetual", "open_interest"), ("perpetual", "marks"), ("options", "options"),
]  # fmt: skip
PARAMS = {
    "start": Param(None, type=["null", "string"], description="Empty: go on where the last run stopped"),
    "end": Param(None, type=["null", "string"], description="Exclusive; empty: now"),
    "spot": Param(f"binance {SPOT}", type="string", description="ccxt id, a space, instruments"),
    "perpetual": Param(f"binanceusdm {PERPETUAL}", type="string", description="The same for perpetuals"),
    "options": Param("deribit BTC,ETH", type="string", description="deribit, a space, coins"),
}
TIMES = {f"--{name}": f"{{{{ params.{name} or '' }}}}" for name in ("start", "end")}
SILVER = [
    market.TRADES, market.BOOK_CHANGES, market.BOOKS, market.QUOTES, derivatives.LIQUIDATIONS, derivatives.FUNDING,
    derivatives.OPEN_INTEREST, derivatives.MARKS, derivatives.OPTION_QUOTES,
]  # fmt: skip

with DAG(
    "market_data",
    schedule=CronTriggerTimetable("20 * * * *", timezone="UTC"),
    doc_md=__doc__,
    tags=["tier-2", "market-data"],
    params=PARAMS,
    **(DAG_DEFAULTS | {"is_paused_upon_creation": True}),
):
    frames = {"outlets": [asset(market.RAW_FRAMES)], "pool": market.RAW_FRAMES.name, "module": "jobs.ingest_market"}
    fetched = [
        Job(task_id=f"ingest_{group}_{kind}", options={
            "--kind": kind, "--venue": f"{{{{ params.{group}.split()[0] }}}}",
            "--instruments": f"{{{{ params.{group}.split()[1] }}}}", **TIMES,
        }, **frames) for group, kind in ASKED
    ]  # fmt: skip
    build = SparkJob(task_id="build_market", module="jobs.build_market", options={"--table": "all", **TIMES},
                     outlets=[asset(table) for table in SILVER])  # fmt: skip
    checked = Job(task_id="check_option_quotes", module="jobs.check_tables",
                  arguments=["--quick", "--table", derivatives.OPTION_QUOTES.name])  # fmt: skip
    surface = SparkJob(task_id="build_option_surface", module="jobs.build_option_surface", options=TIMES,
                       outlets=[asset(derivatives.OPTION_SURFACE)])  # fmt: skip
    fetched >> build >> checked >> surface
