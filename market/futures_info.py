"""What a derivative is, in Binance's USDⓈ-M fields: exchangeInfo, brackets, commissions, a client's settings."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from market.contracts import PERPETUAL, Contract
from market.fees import DERIVATIVES_MARKET, MAKER_RATE, TAKER_RATE
from market.futures_orders import MOST_CONDITIONAL, MOST_ORDERS, TIMES, TYPES
from market.margin import ISOLATED, POS_LEVERAGE, POS_MODE
from market.reports import milliseconds

if TYPE_CHECKING:
    from market.exchange import Exchange

MARGIN_ASSET = "USDT"


def most_notional(exchange: "Exchange", i: int, leverage: int) -> int:
    """Quote that a position may be worth at a leverage: the cap of the last tier that allows it."""
    caps = [tier.cap for tier in exchange.contracts[i].margin_tiers if tier.leverage >= leverage]
    return max(caps, default=0)


def brackets(contract: Contract) -> dict[str, Any]:
    """A row of `leverageBracket`."""
    rows, floor, amount_so_far, rate = [], 0, Decimal(0), Decimal(0)
    for number, tier in enumerate(contract.margin_tiers, 1):
        amount_so_far += floor * (tier.maintenance_rate - rate)
        rate = tier.maintenance_rate
        rows.append({
            "bracket": number, "initialLeverage": tier.leverage, "notionalCap": tier.cap, "notionalFloor": floor,
            "maintMarginRatio": float(rate), "cum": float(amount_so_far),
        })  # fmt: skip
        floor = tier.cap
    return {"symbol": contract.venue_symbol, "notionalCoef": 1.0, "brackets": rows}


def contract_type(contract: Contract, now: int) -> str:
    """PERPETUAL, CURRENT_QUARTER or NEXT_QUARTER."""
    if contract.kind == PERPETUAL or contract.expiry is None:
        return "PERPETUAL"
    return "CURRENT_QUARTER" if contract.expiry - now < 91 * 86_400_000_000 else "NEXT_QUARTER"


def symbol_row(contract: Contract, status: str, now: int, since: int) -> dict[str, Any]:
    """A symbol of `exchangeInfo`; the market knows it since `since` (µs)."""
    instrument = contract.instrument
    tick, step = f"{instrument.price_tick:f}", f"{instrument.quantity_step:f}"
    most = f"{10_000_000 * instrument.quantity_step:f}"
    up, down = f"{1 + contract.price_band:.4f}", f"{1 - contract.price_band:.4f}"
    return {
        "symbol": contract.venue_symbol, "pair": instrument.base + instrument.quote,
        "contractType": contract_type(contract, now),
        "deliveryDate": milliseconds(contract.expiry) if contract.expiry else 4_133_404_800_000,
        "onboardDate": milliseconds(since), "status": status,
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base, "quoteAsset": instrument.quote, "marginAsset": MARGIN_ASSET,
        "pricePrecision": _digits(instrument.price_tick), "quantityPrecision": _digits(instrument.quantity_step),
        "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN", "underlyingSubType": [],
        "triggerProtect": "0.0500", "liquidationFee": f"{contract.liquidation_fee:.6f}",
        "marketTakeBound": f"{contract.price_band:.2f}", "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": MOST_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MOST_CONDITIONAL},
            {"filterType": "MIN_NOTIONAL", "notional": f"{instrument.min_notional:f}"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": up, "multiplierDown": down, "multiplierDecimal": "4"},
        ],
        "orderTypes": list(TYPES), "timeInForce": list(TIMES), "permissionSets": ["GRID", "COPY"],
    }  # fmt: skip


def _digits(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))


def commission_rates(exchange: "Exchange", owner: int, contract: Contract) -> dict[str, Any]:
    """The answer to `commissionRate`."""
    rates = exchange.engine.accounts.fees.rates[owner, DERIVATIVES_MARKET]
    return {
        "symbol": contract.venue_symbol, "makerCommissionRate": f"{int(rates[MAKER_RATE]) / 1e6:.6f}",
        "takerCommissionRate": f"{int(rates[TAKER_RATE]) / 1e6:.6f}", "rpiCommissionRate": "0.000000",
    }  # fmt: skip


def symbol_config(exchange: "Exchange", owner: int, i: int) -> dict[str, Any]:
    """A row of `symbolConfig`."""
    position = exchange.engine.accounts.positions[owner, i]
    leverage = int(position[POS_LEVERAGE])
    return {
        "symbol": exchange.contracts[i].venue_symbol,
        "marginType": "ISOLATED" if int(position[POS_MODE]) == ISOLATED else "CROSSED", "isAutoAddMargin": False,
        "leverage": leverage, "maxNotionalValue": str(most_notional(exchange, i, leverage)),
    }  # fmt: skip
