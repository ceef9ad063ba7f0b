"""Venues' names of what they trade, in ccxt's unified symbols: BTC/USDT, BTC/USDT:USDT, BTC/USD:BTC-240628.

Each function gives the symbol and the unit of its quantities, and raises ValueError for what is no symbol.
"""

import re
from datetime import datetime

_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "DAI", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "EUR", "GBP",
    "TRY", "BRL", "AUD", "JPY", "MXN", "PLN", "RUB", "UAH", "ZAR", "ARS", "COP", "CZK", "RON", "IDRT", "USD1", "USD",
)  # fmt: skip
"""Most common first: of BTCUSDT the quote is USDT, of USDTTRY it is TRY."""
_KRAKEN = {"XBT": "BTC", "XDG": "DOGE"}
_DAY = re.compile(r"\d{1,2}[A-Z]{3}\d{2}", re.ASCII)


def pair(symbol: str) -> tuple[str, str]:
    """Base and quote of two names run together."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise ValueError(f"{symbol!r}: no known quote at its end")


def dollar_pair(symbol: str) -> tuple[str, str]:
    """Base and USD of an inverse contract: DOTUSD is no DO in TUSD."""
    if not symbol.endswith("USD") or symbol == "USD":
        raise ValueError(f"{symbol!r}: expected USD at its end")
    return symbol.removesuffix("USD"), "USD"


def spot(symbol: str) -> tuple[str, str]:
    base, quote = pair(symbol)
    return f"{base}/{quote}", "base"


def binance_usdm(symbol: str) -> tuple[str, str]:
    name, _, expiry = symbol.partition("_")
    base, quote = pair(name)
    return f"{base}/{quote}:{quote}" + (f"-{expiry}" if expiry else ""), "base"


def binance_coinm(symbol: str) -> tuple[str, str]:
    """Quantities are contracts of 100 USD for BTC, else of 10."""
    name, _, expiry = symbol.partition("_")
    base, quote = dollar_pair(name)
    return f"{base}/{quote}:{base}" + ("" if expiry == "PERP" else f"-{expiry}"), "contracts"


def bybit_linear(symbol: str) -> tuple[str, str]:
    name, _, expiry = symbol.partition("-")
    if expiry:
        base, quote = pair(name) if name.endswith("USDT") else (name, "USDC")
        return f"{base}/{quote}:{quote}-{day(expiry)}", "base"
    base, quote = (name.removesuffix("PERP"), "USDC") if name.endswith("PERP") else pair(name)
    return f"{base}/{quote}:{quote}", "base"


def bybit_inverse(symbol: str) -> tuple[str, str]:
    """Quantities are dollars."""
    base, quote = dollar_pair(symbol)
    return f"{base}/{quote}:{base}", "quote"


def okx(symbol: str) -> tuple[str, str]:
    """Quantities of derivatives are contracts."""
    base, quote, *rest = symbol.split("-")
    if not rest:
        return f"{base}/{quote}", "base"
    settle = base if quote == "USD" else quote
    return f"{base}/{quote}:{settle}" + ("" if rest == ["SWAP"] else "-" + "-".join(rest)), "contracts"


def dashed(symbol: str) -> tuple[str, str]:
    """Coinbase's BTC-USD."""
    base, quote = symbol.split("-")
    return f"{base}/{quote}", "base"


def kraken(symbol: str) -> tuple[str, str]:
    """Kraken's XBT/CHF."""
    base, quote = symbol.split("/")
    return f"{_KRAKEN.get(base, base)}/{_KRAKEN.get(quote, quote)}", "base"


def kraken_futures(symbol: str) -> tuple[str, str]:
    """PI_XBTUSD and FI_XBTUSD_240628 are inverse, in dollars; PF_XBTUSD is linear."""
    kind, name, *expiry = symbol.upper().split("_")
    base, quote = dollar_pair(name)
    base = _KRAKEN.get(base, base)
    tail = f"-{expiry[0]}" if expiry else ""
    if kind in ("PI", "FI"):
        return f"{base}/{quote}:{base}{tail}", "quote"
    if kind in ("PF", "FF"):
        return f"{base}/{quote}:{quote}{tail}", "base"
    raise ValueError(f"{symbol!r}: expected PI_, FI_, PF_ or FF_")


def deribit(symbol: str) -> tuple[str, str]:
    """Perpetuals and futures of a coin are in dollars, options and what is quoted in USDC in the coin."""
    name, *rest = symbol.split("-")
    base, _, quote = name.partition("_")
    settle = quote or base
    if not rest or len(rest) not in (1, 3):
        raise ValueError(f"{symbol!r}: expected COIN-PERPETUAL, COIN-DMMMYY or COIN-DMMMYY-STRIKE-C")
    unified = f"{base}/{quote or 'USD'}:{settle}"
    if rest != ["PERPETUAL"]:
        unified += "-" + "-".join([day(rest[0]), *(part.replace("d", ".") for part in rest[1:])])
    return unified, "base" if quote or len(rest) == 3 else "quote"


def day(text: str) -> str:
    """28JUN24 as 240628."""
    if not _DAY.fullmatch(text):
        raise ValueError(f"{text!r}: expected a day like 28JUN24")
    return datetime.strptime(text.title() + "+0000", "%d%b%y%z").strftime("%y%m%d")
