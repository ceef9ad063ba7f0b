"""Quantities that come as files (`jobs.import_series`) from whatever source the person names, daily and declared once.

Delays are those of the services that compute such series: half a day after the day's end, or as said.
"""

from lake.intervals import DAY, HOUR
from lake.sources.source import Metric

_DAILY = 12 * HOUR
_COUNT, _USD, _NATIVE, _RATIO = "count", "usd", "native", "ratio"

METRICS = (
    Metric("active_addresses", _COUNT, _DAILY, "Addresses that sent or received that day.", 0),
    Metric("transactions", _COUNT, _DAILY, "Transactions that day.", 0),
    Metric("fees", _NATIVE, _DAILY, "Fees paid that day.", 0),
    Metric("hash_rate", "TH/s", _DAILY, "Mean hash rate of the day.", 0, 5e9),
    Metric("difficulty", _COUNT, _DAILY, "Mining difficulty at the end of the day.", 0),
    Metric("price_usd", _USD, HOUR, "At the end of the day.", 0, frozen_after=10),
    Metric("market_cap_usd", _USD, HOUR, "At the end of the day.", 0, frozen_after=10),
    Metric("volume_usd", _USD, HOUR, "Traded that day, or in the 24 hours before.", 0),
    Metric("exchange_reserve", _NATIVE, _DAILY, "Held by exchanges at the end of the day.", 0),
    Metric("miner_reserve", _NATIVE, _DAILY, "Held by miners at the end of the day.", 0),
    Metric("fund_reserve", _NATIVE, _DAILY, "Held by funds at the end of the day.", 0),
    Metric("miner_to_exchange", _NATIVE, _DAILY, "Sent from miners to exchanges that day.", 0),
    Metric("exchange_inflow_cdd", _COUNT, _DAILY, "Coin days destroyed by deposits to exchanges.", 0),
    Metric("exchange_stablecoin_ratio", _RATIO, _DAILY, "Reserve over stablecoin reserve of exchanges.", 0),
    Metric("mvrv", _RATIO, _DAILY, "Market value over realised value.", 0),
    Metric("sopr", _RATIO, _DAILY, "Price sold over price paid, of coins spent that day.", 0),
    Metric("nupl", "fraction", _DAILY, "Net unrealised profit over market value."),
    Metric("utxo_in_profit", "fraction", _DAILY, "Share of outputs worth more than when made.", 0, 1),
    Metric("utxo_in_loss", "fraction", _DAILY, "Share of outputs worth less than when made.", 0, 1),
    Metric("realised_price", _USD, _DAILY, "Mean price at which the coins of an age band last moved.", 0),
    Metric("miner_position_index", _RATIO, _DAILY, "Miners' outflow over its yearly mean."),
    Metric("open_interest_usd", _USD, HOUR, "Over venues, at the end of the day.", 0, frozen_after=10),
    Metric("funding_rate", "fraction", HOUR, "Per interval, mean of the day.", -0.05, 0.05),
    Metric("dominance", "fraction", HOUR, "Share of all coins' capitalisation.", 0, 1),
    Metric("fear_greed", "points", HOUR, "0 extreme fear to 100 extreme greed.", 0, 100),
    Metric("tvl_usd", _USD, _DAILY, "Value locked.", 0, frozen_after=12),
    Metric("lend_rate", "fraction", _DAILY, "Interest a year that lenders of a protocol earn.", 0, 10),
    Metric("borrow_rate", "fraction", _DAILY, "Interest a year that borrowers of a protocol pay.", 0, 10),
    Metric("borrowed_usd", _USD, _DAILY, "Outstanding loans.", 0, frozen_after=12),
    Metric("policy_rate", "fraction", 2 * DAY, "Effective federal funds rate.", -0.1, 1),
    Metric("broad_dollar", "index", 45 * DAY, "Real broad dollar index, January 2006 = 100.", 0),
    Metric("treasury_outflow", _NATIVE, HOUR, "Sent by an issuer's treasury in the day.", 0),
    Metric("treasury_inflow", _NATIVE, HOUR, "Returned to an issuer's treasury in the day.", 0),
)
