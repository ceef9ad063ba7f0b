"""Labels: what a decision would have earned, from the first price it could really have had.

A decision on bar t is made at t's close plus the publication delay. Its fill is the open of the first bar that opens
*after* that instant: never the close of the signal bar, and never the open of the bar that begins at the same instant
as the close, which trades before the decision is known. With 5m bars and a delay of 1 s that is bar t+2. The exit is
the open `horizon` bars after the entry:

    label(t) = open(t + lag + horizon) / open(t + lag) - 1 - 2 · cost          lag = 2, horizon = 12, cost = 5 bps

Net of a full round trip; a fraction, not a log return.
"""

import numpy as np
from numpy.typing import NDArray

HORIZON_BARS = 12
COST_BPS_PER_SIDE = 5.0

Floats = NDArray[np.float64]


def entry_lag(timeframe_us: int, delay_us: int) -> int:
    """Bars from the signal bar to the first bar that opens strictly after the decision."""
    return (timeframe_us + delay_us) // timeframe_us + 1


def round_trip_cost(cost_bps_per_side: float) -> float:
    """Cost of entering and leaving, as a fraction."""
    return 2.0 * cost_bps_per_side * 1e-4


def net_forward_returns(opens: Floats, lag: int, horizon: int, cost_bps_per_side: float) -> Floats:
    """Label every bar of a dense grid.

    Args:
        opens: [..., bars] opening prices on the grid; NaN where a bar is missing.
        lag: from `entry_lag`; at least 1, or the label would use the signal bar itself.
        horizon: bars held.
        cost_bps_per_side: charged twice.

    Returns:
        [..., bars]; NaN where entry or exit is missing or lies beyond the end.
    """
    if lag < 1 or horizon < 1:
        raise ValueError(f"lag {lag} and horizon {horizon} must be at least 1")
    labels = np.full_like(opens, np.nan)
    usable = opens.shape[-1] - lag - horizon
    if usable > 0:
        entry = opens[..., lag : lag + usable]
        exit_ = opens[..., lag + horizon : lag + horizon + usable]
        labels[..., :usable] = exit_ / entry - 1.0 - round_trip_cost(cost_bps_per_side)
    return labels
