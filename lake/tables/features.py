"""Gold features, a table per service that a job stores. Column names end in their parameters and come from the feature
views, which `feature_store` owns; a test holds the lists equal."""

import pyarrow as pa

from lake.intervals import HOUR
from lake.table import TIME, Column, Table

FEATURE_COLUMNS: tuple[str, ...] = (
    "log_return_1", "log_return_12", "log_return_48", "log_return_144", "log_return_288", "log_return_480",
    "sma_20", "ema_20",
    "rsi_14",
    "macd_12_26", "macd_signal_12_26_9", "macd_hist_12_26_9",
    "atr_14",
    "bb_upper_20_2", "bb_mid_20_2", "bb_lower_20_2",
    "realized_vol_60",
    "volume_z_60",
)  # fmt: skip

REFERENCE_COLUMNS: tuple[str, ...] = (*FEATURE_COLUMNS, "corr_btc_60", "beta_btc_60")

DERIVATIVES_COLUMNS: tuple[str, ...] = (
    "funding_rate_1", "basis_1", "open_interest_change_288",
    "implied_vol_30d", "skew_25d_30d", "term_slope_90d",
    "text_count_24h", "text_sentiment_24h",
)  # fmt: skip

CHAIN_COLUMNS: tuple[str, ...] = (
    "address_growth_7", "transaction_growth_7", "activity_1",
    "market_cap_1", "dominance_1", "mvrv_1", "nvt_28",
    "tvl_1", "loan_to_value_1", "tvl_growth_7", "stablecoin_flow_7",
    "corr_market_60", "beta_market_60", "corr_term_spread_60",
)  # fmt: skip


def _features(name: str, description: str, columns: tuple[str, ...], freshness: int | None = None) -> Table:
    return Table(
        name=name,
        layer="gold",
        description=description,
        owner="ml",
        columns=(
            Column("instrument", pa.string(), "Instrument id."),
            Column("open_time", TIME, "Open of the bar the row was made from."),
            Column("event_time", TIME, "Close of that bar."),
            Column("available_time", TIME, "When the row could first be known: only this may join a label."),
            Column("service_hash", pa.string(), "Content hash of the feature service that computed the row."),
            *(Column(name, pa.float64(), f"See `feature_store list`: {name}.", nullable=True) for name in columns),
            Column("month", pa.string(), "YYYY-MM of open_time."),
        ),
        key=("instrument", "open_time"),
        time_column="open_time",
        partition=("month",),
        freshness=freshness,
    )


FEATURES_5M = _features(
    "features_5m_v1",
    "The default feature service over five-minute bars: one row per input bar, null until warm.",
    FEATURE_COLUMNS,
    freshness=2 * HOUR,
)
FEATURES_REF_5M = _features(
    "features_ref_5m_v1",
    "The default feature service with correlation and beta to BTC: one row per input bar, null until warm.",
    REFERENCE_COLUMNS,
)
FEATURES_DERIVATIVES_5M = _features(
    "features_derivatives_5m_v1",
    "Funding, basis, open interest, option surface and texts beside five-minute bars: null where untold or too old.",
    DERIVATIVES_COLUMNS,
)
FEATURES_CHAIN_1D = _features(
    "features_chain_1d_v1",
    "On-chain, DeFi and macro series beside daily bars: one row per closed UTC day, null where untold or too old.",
    CHAIN_COLUMNS,
)

SERVICE_TABLES: dict[str, Table] = {
    "default_5m": FEATURES_5M,
    "default_ref_5m": FEATURES_REF_5M,
    "derivatives_5m": FEATURES_DERIVATIVES_5M,
    "chain_1d": FEATURES_CHAIN_1D,
}
"""Which table holds a feature service's rows, by the service's name: what jobs, stores and DAGs go by."""
