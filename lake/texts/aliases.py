"""By which names texts call an asset. This table is all the tagger knows: add a line to tag one more.

`ticker`: matches as $BTC and #BTC in any case, and as the bare word BTC in capitals only where `bare` is true: a ticker
that is a word or a name of its own (LINK, DOT, ADA, SOL in Spanish) counts with its sign alone.
`names`: whole words or phrases, any case.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alias:
    asset: str
    names: tuple[str, ...]
    bare: bool = True
    tickers: tuple[str, ...] = ()
    """Further tickers, e.g. XBT."""


ALIASES: tuple[Alias, ...] = (
    Alias("BTC", ("bitcoin", "bitcoins"), tickers=("XBT",)),
    Alias("ETH", ("ethereum", "ether")),
    Alias("SOL", ("solana",), bare=False),
    Alias("BNB", ("binance coin", "bnb chain", "binance smart chain")),
    Alias("XRP", ("ripple", "xrp ledger", "xrpl")),
    Alias("ADA", ("cardano",), bare=False),
    Alias("DOGE", ("dogecoin",)),
    Alias("DOT", ("polkadot",), bare=False),
    Alias("AVAX", ("avalanche network", "avalanche blockchain", "avalanche c-chain")),
    Alias("LINK", ("chainlink",), bare=False),
    Alias("LTC", ("litecoin",)),
    Alias("BCH", ("bitcoin cash",)),
    Alias("TRX", ("tron network",)),
    Alias("MATIC", ("polygon network",), tickers=("POL",)),
    Alias("UNI", ("uniswap",), bare=False),
    Alias("AAVE", ()),
    Alias("SHIB", ("shiba inu",)),
    Alias("USDT", ("tether",)),
    Alias("USDC", ("usd coin",)),
    Alias("LUNA", ("terra luna", "terraform labs"), bare=False),
    Alias("ATOM", ("cosmos hub",), bare=False),
    Alias("XMR", ("monero",)),
    Alias("ETC", ("ethereum classic",), bare=False),
    Alias("TON", ("toncoin",), bare=False),
)

HIDES = ("wrapped bitcoin", "bitcoin sv", "bitcoin gold")
"""Phrases that contain an asset's name and mean another one, which the table does not know."""
