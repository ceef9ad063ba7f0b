"""CoinGecko: price, market capitalisation and volume per coin by day; the whole market and shares of it now.

GET /api/v3/coins/<id>/market_chart/range?vs_currency=usd&from=&to=&interval=daily and /api/v3/global. The key is free
and optional (`x-cg-demo-api-key`). A day's label changed meaning on 2018-01-30: a row labelled with an earlier midnight
is about that day's close, one labelled with a later midnight about that very instant, the close of the day before.
"""

from collections.abc import Iterator
from typing import Any

from lake.errors import BadInput
from lake.intervals import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Interval, parse_time
from lake.sources.generated import number
from lake.sources.source import Call, Key, Metric, Observation, Pages, Raw, Request, Source

SWITCH = parse_time("2018-01-30")
COINS = {"BTC": "bitcoin", "ETH": "ethereum", "BNB": "binancecoin", "SOL": "solana"}
SERIES = {"prices": "price_usd", "market_caps": "market_cap_usd", "total_volumes": "volume_24h_usd"}
GLOBAL = "/api/v3/global"


def end_of(label: int) -> int:
    """The instant a row is about, from its label (µs): see above. A label inside a day is an instant already."""
    return label + DAY if label < SWITCH and label % DAY == 0 else label


def pages(entity: str, interval: Interval) -> Pages:
    if entity == "global":
        yield Request("global", GLOBAL)
        return
    if entity not in COINS:
        raise BadInput(f"coingecko: unknown coin {entity!r}: expected global or one of {', '.join(COINS)}")
    asked: dict[str, Any] = {
        "vs_currency": "usd",
        "from": interval.start // SECOND,
        "to": interval.end // SECOND,
        "interval": "daily",
    }
    yield Request("market_chart", f"/api/v3/coins/{COINS[entity]}/market_chart/range", asked)


def parse(raw: Raw) -> Iterator[Observation]:
    told = raw.json()
    if raw.endpoint == "global":
        data = told["data"]
        at = int(data["updated_at"]) * SECOND
        yield Observation("global", "total_market_cap_usd", at, float(data["total_market_cap"]["usd"]))
        yield Observation("global", "total_volume_24h_usd", at, float(data["total_volume"]["usd"]))
        for coin, share in data["market_cap_percentage"].items():
            yield Observation(coin.upper(), "dominance", at, float(share), unit="percent")
        return
    for theirs, ours in SERIES.items():
        for at, value in told[theirs]:
            if value is not None:
                yield Observation(raw.entity, ours, end_of(int(at) * MILLISECOND), float(value))


def answer(call: Call) -> Any:
    if call.path == GLOBAL:
        at = call.now - call.now % MINUTE
        share = {coin: number(coin, at, level, 0.05) for coin, level in (("btc", 52.0), ("eth", 17.0))}
        total = {"total_market_cap": {"usd": number("all", at, 2.5e12)}, "total_volume": {"usd": number("v", at, 9e10)}}
        return {"data": total | {"market_cap_percentage": share, "updated_at": at // SECOND}}
    start, end = (int(call.params[name]) * SECOND for name in ("from", "to"))
    times, coin = range(-(-start // DAY) * DAY, min(end, call.now) + 1, DAY), call.path.split("/")[4]
    levels = {"prices": 6e4, "market_caps": 1.2e12, "total_volumes": 3e10}
    return {name: [[at // MILLISECOND, number(coin + name, at, x)] for at in times] for name, x in levels.items()}


SOURCE = Source(
    name="coingecko", title="CoinGecko: capitalisation, volume, dominance", address="https://api.coingecko.com",
    docs="https://docs.coingecko.com/reference/coins-id-market-chart-range", entities=("BTC", "ETH", "global"),
    pages=pages, parse=parse, answer=answer, key=Key(header="x-cg-demo-api-key", needed=False), requests_per_minute=25,
    metrics=(
        Metric("price_usd", "usd", HOUR, "Volume-weighted over venues, at the instant.", 0, frozen_after=10),
        Metric("market_cap_usd", "usd", HOUR, "Price times circulating supply.", 0, frozen_after=10),
        Metric("volume_24h_usd", "usd", HOUR, "Traded in the 24 hours before.", 0),
        Metric("total_market_cap_usd", "usd", 10 * MINUTE, "Of all coins.", 0),
        Metric("total_volume_24h_usd", "usd", 10 * MINUTE, "Of all coins.", 0),
        Metric("dominance", "fraction", 10 * MINUTE, "Share of all coins' capitalisation.", 0, 1),
    ),
)  # fmt: skip
