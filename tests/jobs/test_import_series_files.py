"""Real files of other people's series: their forms are understood, their defects are found by checks."""

import argparse
import statistics
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.import_series import refuse_snapshot, refuse_unit, request
from jobs.ingest_source import raw_rows
from jobs.observation_rows import candidates, kernel
from lake.errors import BadInput, UsageError
from lake.intervals import DAY, parse_time
from lake.sources.coingecko import SWITCH, end_of
from lake.sources.files import inside
from lake.sources.source import Answer
from lake.storage import Lake

NOW = parse_time("2026-06-01")
ARGUMENTS = {
    "source": "archive", "entity": "BTC", "form": "series", "metric": None, "unit": None, "time": "Date",
    "value": "Data", "period": "day", "columns": None, "treasury": None,
}  # fmt: skip


def raw(path: Path, **asked: Any) -> pl.DataFrame:
    arguments = argparse.Namespace(**(ARGUMENTS | asked), file=str(path))
    told = [(request(arguments), Answer(path.read_text(encoding="utf-8"), NOW))]
    return raw_rows(arguments.source, arguments.entity, told, NOW, NOW, "")


def imported(path: Path, **asked: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that stand, rows refused."""
    rows = kernel(raw(path, **asked))
    return rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null())


ON_CHAIN = [
    ("BTC_dominance.csv", "dominance", "percent", 2546),
    ("MVRV_ratio.csv", "mvrv", None, 5524),
    ("SOPR_ratio.csv", "sopr", None, 5044),
    ("exchange_reserves.csv", "exchange_reserve", None, 4615),
    ("funding_fee.csv", "funding_rate", "percent", 3110),
    ("hashrate.csv", "hash_rate", "GH/s", 5799),
    ("UTXO_in_loss_ratio.csv", "utxo_in_loss", "percent", 5799),
    ("federal_funds_effective_rate.csv", "policy_rate", "percent", 1828),
    ("real_broad_dollar_index.csv", "broad_dollar", None, 226),
    ("total_miner_to_exchange_coin_transfers.csv", "miner_to_exchange", None, 4592),
]


@pytest.mark.parametrize(("name", "metric", "unit", "count"), ON_CHAIN)
def test_daily_files_with_a_byte_order_mark_and_dotted_dates_pass(
    shared_data: Path, name: str, metric: str, unit: str | None, count: int
) -> None:
    period = "month" if metric == "broad_dollar" else "day"
    good, refused = imported(shared_data / "onchain/btc_daily" / name, metric=metric, unit=unit, period=period)
    assert good.height + refused.height == count
    assert refused.height <= count // 100, refused["reason"].unique().to_list()
    assert good["event_time"].is_unique().all()
    assert (good["available_time"] > good["event_time"]).all()


def test_two_sources_of_the_hash_rate_agree_once_each_says_its_unit(shared_data: Path) -> None:
    daily, _ = imported(shared_data / "onchain/btc_daily/hashrate.csv", metric="hash_rate", unit="GH/s")
    context = {"time": "date", "value": "hashrate", "unit": "TH/s"}
    other, _ = imported(shared_data / "onchain/btc_context/hashrate.csv", metric="hash_rate", **context)
    both = daily.filter(pl.col("value") > 1).join(other, on="event_time")
    ratio = (both["value"] / both["value_right"]).to_list()
    assert len(ratio) > 4000
    assert 0.9 < statistics.median(ratio) < 1.1


def test_a_file_told_in_the_wrong_unit_is_refused_by_range_or_by_another_source(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, lake: Lake
) -> None:
    path = shared_data / "onchain/btc_daily/hashrate.csv"
    _, refused = imported(path, metric="hash_rate", unit="TH/s")
    assert refused.height > 1000 and "hash_rate is outside" in refused["reason"][0]
    context = {"metric": "hash_rate", "time": "date", "value": "hashrate", "source": "other"}
    truth, _ = imported(shared_data / "onchain/btc_context/hashrate.csv", unit="TH/s", **context)
    monkeypatch.setattr(Lake, "exists", lambda self, table: True)
    monkeypatch.setattr(Lake, "scan", lambda self, table: truth.lazy())
    refuse_unit(lake, candidates(raw(path, metric="hash_rate", unit="GH/s")))
    with pytest.raises(BadInput, match=r"10\^3 times what another source says.*--unit"):
        refuse_unit(lake, candidates(raw(path, metric="hash_rate", unit="TH/s")))


def test_a_snapshot_repeated_on_all_rows_is_refused(shared_data: Path) -> None:
    path = shared_data / "onchain/uniswap_v3_USDC-ETH_pool_1h.csv"
    columns = {"time": "periodStartUnix", "value": "pool.totalValueLockedUSD", "period": "hour"}
    rows = candidates(raw(path, metric="tvl_usd", **columns))
    assert rows.height == 1000
    with pytest.raises(BadInput, match=r"all 1,000 rows say 3.82323e\+08: a snapshot"):
        refuse_snapshot(rows)
    good, refused = imported(path, metric="tvl_usd", **columns)
    assert (good.height, refused.height) == (11, 989), "built from bronze it would be caught as a frozen feed"
    refuse_snapshot(candidates(raw(path, metric="price_usd", **(columns | {"value": "close"}))))


def test_etherscan_rows_of_ten_fields_and_amounts_with_commas_are_summed_per_day(shared_data: Path) -> None:
    path = shared_data / "onchain/ethereum_tether_treasury_transfers_2018-2021.csv"
    columns = "time=UnixTimestamp,from=From,to=To,value=Value"
    treasury = "0x5754284f345afc66a98fbb0a0afe71e0f007b949"
    good, refused = imported(path, form="transfers", entity="treasury/usdt", columns=columns, treasury=treasury)
    assert refused.is_empty()
    first = good.filter(pl.col("metric") == "treasury_inflow").sort("event_time").row(0, named=True)
    assert (first["value"], first["event_time"].isoformat()) == (30_000_000.0, "2018-07-29T00:00:00+00:00")
    by_hand = sum(
        float(line.split('","')[5].replace(",", ""))
        for line in path.read_text().splitlines()[1:]
        if line.split('","')[3] == treasury
    )
    outflow = good.filter(pl.col("metric") == "treasury_outflow")["value"].sum()
    assert outflow == pytest.approx(by_hand) and outflow > 1e10


def test_a_row_with_a_field_too_many_spoils_its_day_alone(tmp_path: Path) -> None:
    path = tmp_path / "transfers.csv"
    path.write_text(
        'at,from,to,value\n1600000000,a,t,"1,000"\n1600000001,t,b,7,surplus\n1600100000,t,b,5,\n1600200000,t,b,x\n'
    )
    asked = {"form": "transfers", "columns": "time=at,from=from,to=to,value=value", "treasury": "T"}
    good, refused = imported(path, **asked)
    assert good.select("metric", "value").sort("metric").rows() == [("treasury_inflow", 0), ("treasury_outflow", 5)]
    assert sorted(refused["reason"].unique()) == ["row cannot be read: could not convert string to float: 'x'",
                                                  "row has 5 fields, the header 4"]  # fmt: skip


def test_coingeckos_day_label_is_read_as_what_it_meant_that_day(shared_data: Path) -> None:
    good, _ = imported(shared_data / "ohlcv/coingecko_btc-usd_1d_price_mcap_volume.csv", form="coingecko")
    prices = good.filter(pl.col("metric") == "price_usd").select("event_time", told="value")
    bars = pl.read_parquet(shared_data / "ohlcv/coinbase_spot_BTC-USD_1d.parquet").filter(pl.col("symbol") == "btcusd")
    closes = bars.select(event_time=pl.col("ts").dt.offset_by("1d").cast(prices.schema["event_time"]), close="close")
    both = prices.join(closes, on="event_time").sort("event_time").with_columns(
        off=(pl.col("told") / pl.col("close") - 1).abs(),
        a_day_late=(pl.col("told") / pl.col("close").shift(1) - 1).abs(),
        a_day_early=(pl.col("told") / pl.col("close").shift(-1) - 1).abs(),
    )  # fmt: skip
    at = pl.col("event_time").dt.epoch("us")
    for half, count in ((both.filter(at.is_between(SWITCH - 900 * DAY, SWITCH)), 890), (both.filter(at > SWITCH), 190)):
        right, late, early = (half[name].median() for name in ("off", "a_day_late", "a_day_early"))
        assert half.height > count
        assert right < 0.006 < 0.01 < min(late, early), (right, late, early)  # type: ignore[type-var,operator]


def test_no_coingecko_row_is_known_before_the_instant_it_is_about() -> None:
    old, new = parse_time("2018-01-28"), parse_time("2018-02-02")
    assert end_of(old) == old + DAY, "that day's close"
    assert end_of(new) == new, "midnight itself"
    assert end_of(SWITCH + 318_000_000) == SWITCH + 318_000_000, "00:05:18 is an instant"


def test_what_the_import_cannot_know_it_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("day,x\n2024-01-01,1\n")
    for asked, said in (
        ({"metric": None}, "nobody declares it"),
        ({"metric": "hash_rate", "unit": "usd"}, "expected one of H/s, GH/s, TH/s, EH/s"),
        ({"metric": "mvrv", "period": "fortnight"}, "expected one of instant, hour, day, month"),
        ({"form": "xml"}, "expected one of series, coingecko, transfers"),
        ({"form": "transfers"}, "--treasury"),
    ):
        with pytest.raises((UsageError, BadInput), match=said):
            raw(path, **asked)
    rows = candidates(raw(path, metric="mvrv"))
    assert "column Date, Data is missing" in rows["reason"][0]


DEFI = [
    ("defi_tvl_daily_2017-2021.csv", "DEFI", "tvl_usd", "usd", "tvlUSD", 477),
    ("defi_lending_rates_2017-2021.csv", "protocol/compound", "lend_rate", "percent", "lend_rates:compound", 600),
    ("defi_lending_rates_2017-2021.csv", "protocol/compound", "borrow_rate", "percent", "borrow_rates:compound", 600),
    ("defi_lending_rates_2017-2021.csv", "DEFI", "borrowed_usd", "usd", "outstanding:total:USD", 1245),
]


@pytest.mark.parametrize(("name", "entity", "metric", "unit", "value", "least"), DEFI)
def test_defi_files_give_value_locked_rates_and_loans(
    shared_data: Path, name: str, entity: str, metric: str, unit: str, value: str, least: int
) -> None:
    asked = {"entity": entity, "metric": metric, "unit": unit, "time": "timestamp", "value": value, "period": "instant"}
    good, refused = imported(shared_data / "onchain" / name, **asked)
    assert good.height >= least and refused.height <= good.height // 50, refused["reason"].unique().to_list()
    assert (good["available_time"] > good["event_time"]).all()
    assert set(good["metric"]) == {metric} and set(good["entity"]) == {entity}
    if metric.endswith("rate"):
        assert 0 < float(good["value"].median()) < 0.3, "a fraction a year"  # type: ignore[arg-type]


def test_a_cell_that_is_no_mapping_is_a_problem_and_a_lacking_key_says_nothing() -> None:
    assert inside("{'aave': 7.5, 'maker': None}", ["aave"]) == ("7.5", "")
    assert inside("{'aave': {'USD': 2}}", ["aave", "USD"]) == ("2", "")
    assert inside("{'maker': None}", ["maker"]) == inside("{'maker': None}", ["dydx"]) == ("", "")
    assert inside("__import__('os').getcwd()", ["x"])[1].startswith("no mapping")
