"""From predictions to money: the only place that says how good a model is.

The policy of `market.policy`, the very function live calls, turns predictions into weights, one decision after the
other, with the weight really held at that moment. Each instrument has a fixed, equal capital, as in live:

    quantity(t) changes only at a fill: the open of the bar `lag` bars after the decision bar, at `cost` per side
    profit(t)   = quantity(t) · (open(t+1) - open(t)) - cost · |change of quantity| · open(t)

Daily returns are UTC days' profits over the whole capital. A missing bar is not traded; its price is the last known.
Flat earns nothing. Buy-and-hold spends the capital equally at the first fill the candidate could have had, drifts, and
pays the exit on the last day.
"""

from dataclasses import dataclass

import numpy as np

from lake.intervals import DAY
from market import metrics
from market.policy import PolicyParameters, target_weight
from training.labels import Floats
from training.panel import Ints, Panel


@dataclass(frozen=True, slots=True)
class Track:
    """A strategy's out-of-sample days."""

    days: Ints
    """[days] 00:00 UTC in µs."""
    returns: Floats
    """[days] net, as a fraction of the capital at the start of the day."""
    turnover: Floats
    """[days] traded value over capital."""
    exposure: Floats
    """[days] mean share of the capital that was invested."""

    def since(self, day: int) -> "Track":
        """The days from `day` on."""
        return self._where(self.days >= day)

    def on(self, days: Ints) -> "Track":
        """The days that are also in `days`."""
        return self._where(np.isin(self.days, days))

    def _where(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> "Track":
        return Track(self.days[mask], self.returns[mask], self.turnover[mask], self.exposure[mask])


@dataclass(frozen=True, slots=True)
class Account:
    """One instrument's bars [start, stop): what was held, traded and earned per unit of capital."""

    profit: Floats
    traded: Floats
    held: Floats


def simulate(
    panel: Panel, predictions: Floats, parameters: list[PolicyParameters], which: Ints, start: int, stop: int
) -> Track:
    """Trade the predictions over the bars [start, stop), flat before.

    Args:
        panel: prices, lag and cost.
        predictions: [instruments, bars] expected net return, made at each bar's decision time; NaN where none was.
        parameters: policies.
        which: [bars] which of `parameters` the decision of a bar uses (each fold has its own).
        start, stop: whole UTC days.
    """
    rates = panel.cost_bps_per_side * 1e-4
    accounts = []
    for i in range(len(panel.instruments)):
        prices = last_known(panel.opens[i])[start : stop + 1]
        tradable = np.isfinite(panel.opens[i, start:stop])
        quantities = _quantities(predictions[i], parameters, which, start, panel.lag, prices, tradable, rates)
        accounts.append(_account(quantities, prices, rates))
    return _track(panel, accounts, start, stop)


def buy_and_hold(panel: Panel, start: int, stop: int) -> Track:
    """Spend the capital equally at the first possible fill, let it drift, leave at the end; costs at both ends."""
    rates = panel.cost_bps_per_side * 1e-4
    accounts = []
    for i in range(len(panel.instruments)):
        prices = last_known(panel.opens[i])[start : stop + 1]
        quantities = np.zeros(stop - start)
        tradable = np.flatnonzero(np.isfinite(panel.opens[i, start:stop]))
        entries = tradable[tradable >= panel.lag]
        if len(entries):
            quantities[entries[0] :] = 1.0 / prices[entries[0]]
        account = _account(quantities, prices, rates)
        account.profit[-1] -= rates * account.held[-1]
        accounts.append(account)
    track = _track(panel, accounts, start, stop)
    # profits are on the first day's capital; a day's return is on the wealth it began with
    wealth = 1.0 + np.concatenate(([0.0], np.cumsum(track.returns)[:-1]))
    return Track(track.days, track.returns / wealth, track.turnover / wealth, track.exposure / wealth)


def flat(panel: Panel, start: int, stop: int) -> Track:
    """Hold nothing."""
    return _track(panel, [Account(*np.zeros((3, stop - start)))] * len(panel.instruments), start, stop)


def market(panel: Panel, start: int, stop: int) -> Track:
    """The mean of the instruments' daily moves, midnight to midnight, without cost."""
    per_day = DAY // int(panel.open_times[1] - panel.open_times[0])
    moves = []
    for opens in panel.opens:
        prices = last_known(opens)
        edges = np.minimum(np.arange(start, stop + 1, per_day), len(prices) - 1)
        moves.append(np.nan_to_num(prices[edges[1:]] / prices[edges[:-1]] - 1.0))
    returns = np.mean(moves, axis=0)
    return Track(panel.open_times[start:stop:per_day], returns, np.zeros(len(returns)), np.ones(len(returns)))


def measures(track: Track) -> dict[str, float]:
    """The numbers of one track, JSON-ready: an infinite ratio (no loss at all) is given as zero."""
    numbers = metrics.Performance.of_returns(track.returns).to_dict() | {
        "mean_daily_bps": float(track.returns.mean() * 1e4),
        "turnover_per_day": float(track.turnover.mean()),
        "exposure": float(track.exposure.mean()),
    }
    return {name: float(value) if np.isfinite(value) else 0.0 for name, value in numbers.items()}


def last_known(prices: Floats) -> Floats:
    """Fill gaps with the last price before them; NaN only before the first."""
    known = np.where(np.isfinite(prices), np.arange(len(prices)), -1)
    newest = np.maximum.accumulate(known)
    return np.where(newest >= 0, prices[newest], np.nan)


def _quantities(
    predictions: Floats, parameters: list[PolicyParameters], which: Ints, start: int, lag: int,
    prices: Floats, tradable: np.ndarray[tuple[int], np.dtype[np.bool_]], cost: float,
) -> Floats:  # fmt: skip
    """Units held during each bar for one unit of capital; decisions before `start` do not count."""
    bars = len(tradable)
    quantities, quantity = np.zeros(bars), 0.0
    price_list, prediction_list = prices.tolist(), predictions[start : start + bars].tolist()
    which_list, tradable_list = which[start : start + bars].tolist(), tradable.tolist()
    for fill in range(lag, bars):
        prediction = prediction_list[fill - lag]
        if tradable_list[fill] and prediction == prediction:
            # the weight the decision saw: what it held, at the price of the bar that opened as the signal bar closed
            current = quantity * price_list[fill - lag + 1] if quantity else 0.0
            wanted = target_weight(prediction, current, parameters[which_list[fill - lag]], cost)
            if wanted != current:
                quantity = wanted / price_list[fill]
        quantities[fill] = quantity
    return quantities


def _account(quantities: Floats, prices: Floats, rates: float) -> Account:
    """Mark a path of quantities to market; `prices` has one bar more, or the last bar earns nothing."""
    bars = len(quantities)
    now = np.nan_to_num(prices[:bars])
    ahead = np.nan_to_num(np.append(prices, prices[-1])[1 : bars + 1])
    traded = np.abs(np.diff(quantities, prepend=0.0)) * now
    return Account(quantities * (ahead - now) - rates * traded, traded, quantities * now)


def _track(panel: Panel, accounts: list[Account], start: int, stop: int) -> Track:
    """Sum bars into UTC days over the whole capital, one unit an instrument."""
    step = int(panel.open_times[1] - panel.open_times[0])
    per_day, capital = DAY // step, float(len(accounts))

    def daily(name: str) -> Floats:
        total = np.sum([getattr(account, name) for account in accounts], axis=0)
        return np.asarray(total.reshape(-1, per_day).sum(axis=1) / capital)

    return Track(panel.open_times[start:stop:per_day], daily("profit"), daily("traded"), daily("held") / per_day)
