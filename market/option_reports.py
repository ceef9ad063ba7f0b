"""Options in Deribit's exact fields: prices in coin, volatilities in percent, greeks in dollars, times in ms."""

import math
from typing import Any

import numpy as np

from lake.intervals import DAY
from market.option_chain import SMALL_TICK, TICK, TICK_BELOW, Listing, Quotes
from market.options import DELTA, GAMMA, PRICE, RHO, THETA, VEGA, implied_volatility

SETTLED_BY = {"day": "day", "week": "week", "month": "month", "quarter": "month"}
LEVELS, LEVEL_AMOUNT = 5, {"BTC": 5.0, "ETH": 50.0}
"""Levels of a quoted book, and the contracts of a typical one."""
COMMISSION = 0.0003


def described(base: str, listing: Listing, n: int) -> dict[str, Any]:
    """As `get_instrument` shows it."""
    expiry = listing.expiry[n]
    return {
        "price_index": f"{base.lower()}_usd", "kind": "option", "instrument_name": listing.names[n],
        "option_type": "call" if listing.is_call[n] else "put", "strike": float(listing.strike[n]), "max_leverage": 1,
        "maker_commission": COMMISSION, "taker_commission": COMMISSION, "instrument_type": "reversed",
        "expiration_timestamp": expiry.time // 1000, "creation_timestamp": expiry.listed_from // 1000,
        "is_active": True, "state": "open", "tick_size": SMALL_TICK, "contract_size": 1.0,
        "instrument_id": _number(listing, n), "min_trade_amount": 0.1 if base == "BTC" else 1.0,
        "max_liquidation_commission": 0.0075, "block_trade_commission": COMMISSION,
        "block_trade_min_trade_amount": 25 if base == "BTC" else 250, "block_trade_tick_size": 0.0001,
        "settlement_currency": base, "settlement_period": SETTLED_BY[expiry.kind], "base_currency": base,
        "counter_currency": "USD", "quote_currency": base, "rfq": False,
        "tick_size_steps": [{"above_price": TICK_BELOW, "tick_size": TICK}],
    }  # fmt: skip


def _number(listing: Listing, n: int) -> int:
    """A number of its own for an option that does not change while it is listed."""
    strike = round(float(listing.strike[n]) * 100)
    return (listing.expiry[n].time // DAY % 100_000) * 10**10 + strike * 2 + int(listing.is_call[n])


def summary(base: str, listing: Listing, quotes: Quotes, n: int) -> dict[str, Any]:
    """A row of `get_book_summary_by_currency`."""
    bid, ask = _price(quotes.bid[n]), _price(quotes.ask[n])
    return {
        "instrument_name": listing.names[n], "base_currency": base, "quote_currency": base,
        "underlying_index": f"SYN.{base}-{listing.expiry[n].name}", "underlying_price": _forward(quotes, n),
        "estimated_delivery_price": round(quotes.spot, 2), "interest_rate": 0.0,
        "mark_price": round(float(quotes.values[PRICE, n]), 6), "mark_iv": round(float(quotes.volatility[n]) * 100, 2),
        "bid_price": bid, "ask_price": ask, "mid_price": None if bid is None or ask is None else (bid + ask) / 2,
        "last": None, "low": None, "high": None, "price_change": None, "volume": 0.0, "volume_usd": 0.0,
        "open_interest": 0.0, "creation_timestamp": quotes.time // 1000,
    }  # fmt: skip


def ticker(base: str, listing: Listing, quotes: Quotes, n: int) -> dict[str, Any]:
    bid, ask = _price(quotes.bid[n]), _price(quotes.ask[n])
    values = quotes.values[:, n]
    return {
        "timestamp": quotes.time // 1000, "state": "open", "instrument_name": listing.names[n],
        "underlying_index": f"SYN.{base}-{listing.expiry[n].name}", "underlying_price": _forward(quotes, n),
        "index_price": round(quotes.spot, 2), "estimated_delivery_price": round(quotes.spot, 2), "interest_rate": 0.0,
        "mark_price": round(float(values[PRICE]), 6), "mark_iv": round(float(quotes.volatility[n]) * 100, 2),
        "bid_iv": _implied(listing, quotes, n, bid), "ask_iv": _implied(listing, quotes, n, ask),
        "best_bid_price": bid or 0.0, "best_bid_amount": _amount(base, quotes, n, -1, 0) if bid else 0.0,
        "best_ask_price": ask or 0.0, "best_ask_amount": _amount(base, quotes, n, 1, 0) if ask else 0.0,
        "min_price": SMALL_TICK, "max_price": round(float(values[PRICE]) + 0.1, 4), "last_price": None,
        "settlement_price": None, "open_interest": 0.0,
        "greeks": {
            "delta": round(float(values[DELTA]), 5), "gamma": round(float(values[GAMMA]), 8),
            "vega": round(float(values[VEGA]), 5), "theta": round(float(values[THETA]), 5),
            "rho": round(float(values[RHO]), 5),
        },
        "stats": {"volume": 0.0, "volume_usd": 0.0, "price_change": None, "low": None, "high": None},
    }  # fmt: skip


def _price(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _implied(listing: Listing, quotes: Quotes, n: int, price: float | None) -> float:
    """Percent; 0 where there is no quote or no volatility has its price, as Deribit shows it."""
    if price is None:
        return 0.0
    part = slice(n, n + 1)
    found = implied_volatility(
        np.array([price]), quotes.forward[part], listing.strike[part], quotes.years[part], listing.is_call[part]
    )
    return 0.0 if np.isnan(found[0]) else round(float(found[0]) * 100, 2)


def levels(base: str, quotes: Quotes, n: int, side: int) -> list[list[float]]:
    """Price and amount, best first: one tick apart."""
    best = _price((quotes.bid if side < 0 else quotes.ask)[n])
    if best is None:
        return []
    tick = TICK if best >= TICK_BELOW else SMALL_TICK
    prices = [round(best + side * level * tick, 4) for level in range(LEVELS)]
    return [[price, _amount(base, quotes, n, side, k)] for k, price in enumerate(prices) if price > 0]


def _amount(base: str, quotes: Quotes, n: int, side: int, level: int) -> float:
    """Contracts at a level: more at the money and behind the best price."""
    near = 4 * abs(float(quotes.values[DELTA, n])) * (1 - abs(float(quotes.values[DELTA, n])))
    step = 0.1 if base == "BTC" else 1.0
    wanted = LEVEL_AMOUNT[base] * (0.2 + near) * (1 + level) * (1.0 if side < 0 else 1.1)
    return round(max(1, round(wanted / step)) * step, 1)


def _forward(quotes: Quotes, n: int) -> float:
    return round(float(quotes.forward[n]), 4)
