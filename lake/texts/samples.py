"""Made-up posts for the loopback server: a pure function of a name and a time. They say nothing about any market."""

from collections.abc import Iterator

from lake.intervals import MINUTE, Interval
from lake.sources.generated import noise

EVERY = 20 * MINUTE
"""One post per source and entity."""

_NAMES = {
    "BTC": "Bitcoin",
    "ETH": "Ethereum",
    "SOL": "Solana",
    "BNB": "BNB Chain",
    "XRP": "Ripple",
    "ADA": "Cardano",
}
_SAID = (
    "{} holds steady as traders wait for the next move",
    "{} rallies on strong inflows, analysts see upside",
    "Fear grows: {} drops below support and liquidations follow",
    "Is the {} sell-off over? On-chain data says accumulation",
    "Exchange halts withdrawals, {} holders worried",
    "{} upgrade goes live without problems",
    "Why I keep buying {} every week, whatever the price does",
    "Regulators warn about risky {} products",
)


def post(name: str, asset: str, at: int) -> str:
    """What is written under a name about an asset at a time; never the same sentence twice."""
    which = int((noise(name + asset, at) + 1) * len(_SAID) / 2)
    return f"{_SAID[which].format(_NAMES.get(asset, asset))} (note {at // MINUTE})"


def posts(name: str, asset: str, interval: Interval) -> Iterator[tuple[int, str]]:
    """Times and posts of the interval, oldest first."""
    return ((at, post(name, asset, at)) for at in range(-(-interval.start // EVERY) * EVERY, interval.end, EVERY))


def newest(name: str, asset: str, before: int, count: int) -> list[tuple[int, str]]:
    """The last posts written before a time, newest first."""
    last = (before - 1) // EVERY
    return [(n * EVERY, post(name, asset, n * EVERY)) for n in range(last, max(last - count, 0), -1)]
