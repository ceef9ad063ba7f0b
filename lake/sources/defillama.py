"""DefiLlama: value locked, supply of stablecoins, yields. No key; each answer is the whole history.

GET api.llama.fi/protocol/<slug>, /v2/historicalChainTvl/<chain>, stablecoins.llama.fi/stablecoincharts/all?stablecoin=
(1 is USDT, 2 USDC), yields.llama.fi/chart/<pool id>. A date is an instant: midnight, or now for the newest row.
"""

from collections.abc import Iterator
from typing import Any

from lake.intervals import DAY, HOUR, SECOND, Interval, format_time, parse_time
from lake.sources.generated import number
from lake.sources.source import Call, Metric, Observation, Pages, Raw, Refusal, Request, Source

PATHS = {
    "protocol": "//api.llama.fi/protocol/",
    "chain": "//api.llama.fi/v2/historicalChainTvl/",
    "stablecoin": "//stablecoins.llama.fi/stablecoincharts/all",
    "yield": "//yields.llama.fi/chart/",
}
LENGTH = 60


def pages(entity: str, interval: Interval) -> Pages:
    kind, _, name = entity.partition("/")
    if kind == "stablecoin":
        yield Request(kind, PATHS[kind], {"stablecoin": name})
    else:
        yield Request(kind, PATHS[kind] + name)


def parse(raw: Raw) -> Iterator[Observation]:
    told: Any = raw.json()
    before: tuple[int, float] | None = None
    rows = (told["tvl"] if "tvl" in told else told["data"]) if isinstance(told, dict) else told
    for row in rows:
        if raw.endpoint == "yield":
            at = parse_time(row["timestamp"])
            yield Observation(raw.entity, "tvl_usd", at, float(row["tvlUsd"]))
            yield Observation(raw.entity, "yield", at, float(row["apy"]), unit="percent")
            continue
        at = int(row["date"]) * SECOND
        if raw.endpoint == "stablecoin":
            supply = float(row["totalCirculatingUSD"]["peggedUSD"])
            yield Observation(raw.entity, "supply_usd", at, supply)
            if before is not None and at - before[0] == DAY:
                yield Observation(raw.entity, "supply_flow_usd", at, supply - before[1])
            before = at, supply
        else:
            yield Observation(raw.entity, "tvl_usd", at, float(row.get("totalLiquidityUSD", row.get("tvl"))))


def answer(call: Call) -> Any:
    today = call.now - call.now % DAY
    times = [*range(today - LENGTH * DAY, today + 1, DAY), call.now - call.now % SECOND]
    kind = next((k for k, path in PATHS.items() if call.path.startswith(path)), None)
    name = call.path.rpartition("/")[2]
    if kind == "stablecoin":
        supply = {at: number("stablecoin" + call.params["stablecoin"], at, 9.8e10, 0.03) for at in times}
        return [{"date": str(at // SECOND), "totalCirculatingUSD": {"peggedUSD": v}} for at, v in supply.items()]
    if kind is None or name == "nobody":
        raise Refusal(400, {"statusCode": 400, "body": "Protocol not found"})
    values = [(at, number(kind + name, at, 1e10)) for at in times]
    if kind == "yield":
        stamps = [(format_time(at).replace("Z", ".000Z"), v) for at, v in values]
        return {"status": "success", "data": [{"timestamp": t, "tvlUsd": v, "apy": v / 2.5e9} for t, v in stamps]}
    if kind == "protocol":
        return {"id": "111", "name": name, "tvl": [{"date": t // SECOND, "totalLiquidityUSD": v} for t, v in values]}
    return [{"date": at // SECOND, "tvl": value} for at, value in values]


SOURCE = Source(
    name="defillama", title="DefiLlama: TVL, stablecoins, yields", address="https:",
    docs="https://api-docs.defillama.com",
    entities=("protocol/aave", "chain/Ethereum", "stablecoin/1", "yield/747c1d2a-c668-4682-b9f9-296708a3dd90"),
    pages=pages, parse=parse, answer=answer, requests_per_minute=60,
    metrics=(
        Metric("tvl_usd", "usd", 12 * HOUR, "Value locked at the instant.", 0, frozen_after=12, restated=True),
        Metric("supply_usd", "usd", 12 * HOUR, "Stablecoin in circulation at the instant.", minimum=0, frozen_after=30),
        Metric("supply_flow_usd", "usd", 12 * HOUR, "Minted less burnt in the day before.", frozen_after=30),
        Metric("yield", "fraction", 12 * HOUR, "Annual yield of the pool, rewards included."),
    ),
)  # fmt: skip
