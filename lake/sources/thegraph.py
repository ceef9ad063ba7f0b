"""The Graph: hosted subgraphs, here a Uniswap v3 pool by hour and a lending protocol by day. Needs a key (Bearer).

POST /api/subgraphs/id/<subgraph> with a GraphQL query, 1,000 rows a page; `id_gt` is the cursor, which stays exact
where rows arrive meanwhile (`skip` does not). Fields of the pool or market itself are values at the time of asking:
only those of the hour or day are read. Errors come with status 200.
"""

from collections.abc import Iterator
from typing import Any

from lake.errors import BadInput
from lake.intervals import DAY, HOUR, SECOND, Interval
from lake.sources.generated import number
from lake.sources.source import Call, Key, Metric, Observation, Pages, Raw, Refusal, Request, Source

PAGE = 1000
UNISWAP, AAVE = "5zvR82QoaXYFyDEKLZ9t6v9adgnptxYpKpSbxtgVENFV", "JCNWRypm7FYwV8fx5HhzZPSFaMxgkPuw4TnR3Gpi81zk"
HOURS = """query($owner: String!, $after: ID!, $from: Int!, $to: Int!) { rows: poolHourDatas(first: 1000, orderBy: id,
 where: {pool: $owner, id_gt: $after, periodStartUnix_gte: $from, periodStartUnix_lt: $to})
 { id periodStartUnix liquidity tvlUSD volumeUSD feesUSD close } }"""
DAYS = """query($owner: String!, $after: ID!, $from: Int!, $to: Int!) { rows: financialsDailySnapshots(first: 1000,
 orderBy: id, where: {protocol: $owner, id_gt: $after, timestamp_gte: $from, timestamp_lt: $to})
 { id days timestamp totalDepositBalanceUSD totalBorrowBalanceUSD } }"""
WHERE = {
    "pool/uniswap-v3/USDC-ETH": (UNISWAP, HOURS, "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"),
    "lending/aave-v3": (AAVE, DAYS, "0x2f39d218133afab8f2b819b1066c7e434ad94e9e"),
}


def pages(entity: str, interval: Interval) -> Pages:
    if entity not in WHERE:
        raise BadInput(f"thegraph: unknown entity {entity!r}: expected one of {', '.join(WHERE)}")
    subgraph, query, owner = WHERE[entity]
    asked = {"owner": owner, "from": interval.start // SECOND, "to": interval.end // SECOND}
    after, count = "", PAGE
    while count == PAGE:
        body = {"query": query, "variables": asked | {"after": after}}
        told = (yield Request(entity.split("/")[0], f"/api/subgraphs/id/{subgraph}", body=body)).json()
        if "errors" in told:
            raise BadInput(f"thegraph {entity}: {told['errors'][0]['message']:.200}")
        rows = told["data"]["rows"]
        after, count = rows[-1]["id"] if rows else after, len(rows)


def parse(raw: Raw) -> Iterator[Observation]:
    for row in raw.json()["data"]["rows"]:
        if raw.endpoint == "pool":
            end = int(row["periodStartUnix"]) * SECOND + HOUR
            for theirs, ours in (("tvlUSD", "tvl_usd"), ("volumeUSD", "volume_usd"), ("feesUSD", "fees_usd")):
                yield Observation(raw.entity, ours, end, float(row[theirs]))
            continue
        end = (int(row["days"]) + 1) * DAY
        lent, borrowed = float(row["totalDepositBalanceUSD"]), float(row["totalBorrowBalanceUSD"])
        yield Observation(raw.entity, "deposits_usd", end, lent)
        yield Observation(raw.entity, "loan_to_value", end, borrowed / lent if lent else None)


def answer(call: Call) -> Any:
    if not isinstance(call.body, dict) or "variables" not in call.body:
        raise Refusal(200, {"errors": [{"message": "no variables"}]})
    asked, hourly = call.body["variables"], UNISWAP in call.path
    step, rows = HOUR if hourly else DAY, []
    first, last = -(-asked["from"] * SECOND // step), min(asked["to"] * SECOND, call.now - step + 1)
    for n in range(first, -(-last // step)):
        row: dict[str, Any] = {"id": f"{asked['owner']}-{n:08d}"}
        at = n * step
        if hourly:
            row |= {"periodStartUnix": at // SECOND, "liquidity": "1", "close": "1"}
            row |= {k: repr(number(k, at, v)) for k, v in (("tvlUSD", 3e8), ("volumeUSD", 2e7), ("feesUSD", 1e4))}
        else:
            row |= {"days": n, "timestamp": str((at + DAY) // SECOND - 12)}
            row |= {f"total{k}BalanceUSD": repr(number(k, at, v)) for k, v in (("Deposit", 1e10), ("Borrow", 6e9))}
        if row["id"] > asked["after"]:
            rows.append(row)
    return {"data": {"rows": rows[:PAGE]}}


SOURCE = Source(
    name="thegraph", title="The Graph: Uniswap v3 pool, Aave v3 lending", address="https://gateway.thegraph.com",
    docs="https://thegraph.com/docs/en/subgraphs/querying/introduction/", entities=tuple(WHERE), pages=pages,
    parse=parse, answer=answer, key=Key(header="Authorization", prefix="Bearer "), requests_per_minute=100,
    metrics=(
        Metric("tvl_usd", "usd", HOUR, "Value in the pool at the end of the hour.", 0, frozen_after=12),
        Metric("volume_usd", "usd", HOUR, "Traded in the hour.", 0),
        Metric("fees_usd", "usd", HOUR, "Paid to liquidity providers in the hour.", 0),
        Metric("deposits_usd", "usd", HOUR, "Lent to the protocol at the end of the day.", 0, frozen_after=7),
        Metric("loan_to_value", "fraction", HOUR, "Borrowed over deposited: the protocol's utilisation.", 0, 2),
    ),
)  # fmt: skip
