"""How orders fill against bars, compiled: costs, limits of the account, and the fast path of target weights.

One set of functions serves the event-driven backtest and the fast path, so they give the same fills.

An order fills at the reference price (the bar's open, or the order's own price) made worse by the half spread and
slippage `SLIPPAGE` and, where it takes liquidity, by the square-root impact law I = Y σ √(Q / V) with σ and V the daily
volatility and volume of the past day (Tóth et al. 2011, Phys. Rev. X 1, 021006; Y is about 1). A bar without volume
fills nothing. The path inside a bar is unknown, so whatever hurts more is taken to have come first.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market.kernel import njit

Floats = NDArray[np.float64]

OPEN, HIGH, LOW, CLOSE, VOLUME, BAR_FIELDS = range(6)
# Terms of a run: fractions per side, the impact factor Y, largest gross exposure over equity, whether shorts are
# allowed, exits as fractions of the entry price (0 is none), the drift of a weight that is traded back (inf: never),
# bars in a day, the share of an order's impact that stays, and how much of that is kept from bar to bar.
(
    FEE, SLIPPAGE, IMPACT, LEVERAGE, SHORTS, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT, DRIFT, BARS_PER_DAY, PERMANENT,
    KEPT, TERM_FIELDS,
) = range(13)  # fmt: skip
# Columns of a fill. COST is what the price was worse than the reference by, times the quantity; DECIDED is the close
# at which the order was decided.
(
    FILL_BAR, FILL_INSTRUMENT, FILL_QUANTITY, FILL_PRICE, FILL_FEE, FILL_COST, FILL_DECIDED, FILL_KIND, FILL_FIELDS,
) = range(9)  # fmt: skip
MARKET_FILL, LIMIT_FILL, STOP_FILL = range(3)
# Columns of Ledger.instruments.
(
    POSITION, MARK, ENTRY, PEAK, STEP, MIN_NOTIONAL, VARIANCE, MEAN_VOLUME, OBSERVED, SHIFT, SHIFT_BAR, LEDGER_FIELDS,
) = range(12)  # fmt: skip
RUIN = 1e-6
"""Equity below this share of the capital ends a run: everything is closed and the rest stays there."""


class Ledger(NamedTuple):
    """Money and positions, plain arrays the compiled code writes."""

    cash: Floats
    """[2], quote: cash, and the funding paid so far."""
    instruments: Floats
    """[k, LEDGER_FIELDS]: position, last price, mean entry price, best price since entry, quantity step, least
    notional, the running mean of squared returns and of volumes with the weight seen so far, and by what fraction our
    own orders have moved the price as of which bar (market/impact.py)."""


def new_ledger(capital: float, steps: Floats, min_notionals: Floats) -> Ledger:
    """Flat, with `capital` in cash; a step of 0 leaves quantities unrounded."""
    instruments = np.zeros((len(steps), LEDGER_FIELDS))
    instruments[:, STEP], instruments[:, MIN_NOTIONAL] = steps, min_notionals
    return Ledger(np.array([capital, 0.0], np.float64), instruments)


@njit(cache=True, nogil=True)
def equity(ledger: Any) -> float:
    """Cash and positions at the last prices."""
    total = ledger.cash[0]
    for j in range(len(ledger.instruments)):
        if ledger.instruments[j, POSITION] != 0.0:
            total += ledger.instruments[j, POSITION] * ledger.instruments[j, MARK]
    return float(total)


@njit(cache=True, nogil=True)
def gross_exposure(ledger: Any) -> float:
    """Sum of the positions' absolute values at the last prices."""
    total = 0.0
    for j in range(len(ledger.instruments)):
        total += abs(ledger.instruments[j, POSITION]) * ledger.instruments[j, MARK]
    return total


@njit(cache=True, nogil=True)
def observe(ledger: Any, j: int, close: float, volume: float, bars_per_day: float) -> None:
    """Take note of a closed bar: mark the position and move the means of the past day (exponential, corrected)."""
    row = ledger.instruments[j]
    decay = 1.0 - 1.0 / max(bars_per_day, 2.0)
    if row[OBSERVED] > 0.0:
        change = close / row[MARK] - 1.0
        row[VARIANCE] = decay * row[VARIANCE] + (1.0 - decay) * change * change
    row[MEAN_VOLUME] = decay * row[MEAN_VOLUME] + (1.0 - decay) * volume
    row[OBSERVED] = decay * row[OBSERVED] + (1.0 - decay)
    row[MARK] = close


@njit(cache=True, nogil=True)
def impact(ledger: Any, j: int, quantity: float, terms: Any) -> float:
    """The fraction by which taking `quantity` moves the price against us."""
    row = ledger.instruments[j]
    if terms[IMPACT] == 0.0 or row[MEAN_VOLUME] <= 0.0:
        return 0.0
    share = abs(quantity) / (row[MEAN_VOLUME] / row[OBSERVED] * terms[BARS_PER_DAY])
    return float(terms[IMPACT] * np.sqrt(row[VARIANCE] / row[OBSERVED] * terms[BARS_PER_DAY] * share))


@njit(cache=True, nogil=True)
def moved_before(row: Any, t: int, sign: float, terms: Any) -> float:
    """The permanent part of our earlier orders' impact, as far as it hurts one of this sign in bar t."""
    row[SHIFT] *= terms[KEPT] ** (t - row[SHIFT_BAR])
    row[SHIFT_BAR] = t
    return float(max(sign * row[SHIFT], 0.0))


@njit(cache=True, nogil=True)
def pay_funding(ledger: Any, rates: Any) -> None:
    """Pay rates [k] on what is held, at the last prices."""
    for j in range(len(rates)):
        if rates[j] != 0.0 and ledger.instruments[j, POSITION] != 0.0:
            paid = ledger.instruments[j, POSITION] * ledger.instruments[j, MARK] * rates[j]
            ledger.cash[0] -= paid
            ledger.cash[1] += paid


@njit(cache=True, nogil=True)
def allowed(ledger: Any, j: int, quantity: float, price: float, terms: Any) -> float:
    """The part of a signed quantity that the account may trade: cut to leverage, shorts, step and least notional.

    Reducing a position is always allowed. For the rest the gross exposure after the trade may not exceed the leverage
    times the equity after its fee.
    """
    row = ledger.instruments[j]
    held, sign = row[POSITION], 1.0 if quantity > 0.0 else -1.0
    wanted = abs(quantity)
    if terms[SHORTS] == 0.0 and sign < 0.0:
        wanted = min(wanted, max(held, 0.0))
    closes = -sign * held  # what this direction can close; negative: it adds
    if closes > 0.0 and abs(wanted - closes) <= 1e-9 * closes:
        return float(-held)
    if wanted > closes:
        others = gross_exposure(ledger) - abs(held) * row[MARK]
        worth = equity(ledger) + held * (price - row[MARK])
        room = (terms[LEVERAGE] * worth - others + closes * price) / (price * (1.0 + terms[LEVERAGE] * terms[FEE]))
        wanted = max(min(wanted, room), min(wanted, max(closes, 0.0)))
    if closes > 0.0 and abs(wanted - closes) <= 1e-9 * closes:
        return float(-held)
    if row[STEP] > 0.0:
        wanted = np.floor(wanted / row[STEP] + 1e-9) * row[STEP]
    if wanted <= 0.0 or wanted * price < row[MIN_NOTIONAL]:
        return 0.0
    return float(sign * wanted)


@njit(cache=True, nogil=True)
def trade(
    ledger: Any, t: int, j: int, quantity: float, reference: float, kind: int, worst: float, decided: float,
    terms: Any, fills: Any, count: int,
) -> float:  # fmt: skip
    """Trade up to a signed quantity around `reference` in bar `t` and write row `count` of `fills`, if it has one.

    A limit fill is at its price. `worst` bounds the price of what takes liquidity (0: no bound). Answers the signed
    quantity traded, 0 where the account or the step allows none: then no row is written.
    """
    row = ledger.instruments[j]
    sign = 1.0 if quantity > 0.0 else -1.0
    price = reference
    if kind != LIMIT_FILL:
        earlier = moved_before(row, t, sign, terms) if terms[PERMANENT] > 0.0 else 0.0
        price = reference * (1.0 + sign * (terms[SLIPPAGE] + impact(ledger, j, quantity, terms) + earlier))
        if worst > 0.0:
            price = min(price, worst) if sign > 0.0 else max(price, worst)
        price = max(price, 0.0)
    done = allowed(ledger, j, quantity, price, terms) if price > 0.0 else 0.0
    if done == 0.0:
        return 0.0
    if terms[PERMANENT] > 0.0 and kind != LIMIT_FILL:
        row[SHIFT] += sign * terms[PERMANENT] * impact(ledger, j, done, terms)
    fee = abs(done) * price * terms[FEE]
    held = row[POSITION]
    after = held + done
    if abs(after) < 1e-12 * abs(done):
        after = 0.0
    if held * done >= 0.0:
        row[ENTRY] = (abs(held) * row[ENTRY] + abs(done) * price) / (abs(held) + abs(done))
        row[PEAK] = price if held == 0.0 else row[PEAK]
    elif after * held < 0.0:
        row[ENTRY], row[PEAK] = price, price
    row[POSITION] = after
    ledger.cash[0] -= done * price + fee
    row[MARK] = price if row[MARK] == 0.0 else row[MARK]
    if count < len(fills):
        out = fills[count]
        out[FILL_BAR], out[FILL_INSTRUMENT], out[FILL_QUANTITY], out[FILL_PRICE] = t, j, done, price
        out[FILL_FEE], out[FILL_COST] = fee, done * (price - reference)
        out[FILL_DECIDED], out[FILL_KIND] = decided, kind
    return float(done)


@njit(cache=True, nogil=True)
def exit_price(ledger: Any, j: int, bar: Any, terms: Any) -> tuple[float, int]:
    """Where, inside this bar, a position's stop, trailing stop or profit target is met: (price, kind), 0 where none.

    Stops come before the target, at the open where the bar opens beyond them. The target is a resting order: it needs
    a price beyond it and gets no better than its own.
    """
    row = ledger.instruments[j]
    held, entry = row[POSITION], row[ENTRY]
    sign = 1.0 if held > 0.0 else -1.0
    against = bar[LOW] if held > 0.0 else bar[HIGH]
    stop = 0.0
    if terms[STOP_LOSS] > 0.0:
        stop = entry * (1.0 - sign * terms[STOP_LOSS])
    if terms[TRAILING_STOP] > 0.0:
        trailing = row[PEAK] * (1.0 - sign * terms[TRAILING_STOP])
        stop = trailing if stop == 0.0 else (max(stop, trailing) if held > 0.0 else min(stop, trailing))
    if stop > 0.0 and sign * (against - stop) <= 0.0:
        beyond = sign * (bar[OPEN] - stop) < 0.0
        return (bar[OPEN] if beyond else stop), STOP_FILL
    if terms[TAKE_PROFIT] > 0.0:
        target = entry * (1.0 + sign * terms[TAKE_PROFIT])
        favour = bar[HIGH] if held > 0.0 else bar[LOW]
        if target > 0.0 and sign * (favour - target) > 0.0:
            return target, LIMIT_FILL
    return 0.0, 0


@njit(cache=True, nogil=True)
def leave(ledger: Any, t: int, j: int, bar: Any, terms: Any, fills: Any, count: int) -> float:
    """Leave position j if this bar meets one of its exits, else move its peak; answers what was traded."""
    row = ledger.instruments[j]
    price, kind = exit_price(ledger, j, bar, terms)
    if price > 0.0:
        return float(trade(ledger, t, j, -row[POSITION], price, kind, 0.0, price, terms, fills, count))
    row[PEAK] = max(row[PEAK], bar[HIGH]) if row[POSITION] > 0.0 else min(row[PEAK], bar[LOW])
    return 0.0


@njit(cache=True, nogil=True)
def ruined(ledger: Any, worth: float, capital: float) -> bool:
    """Close the account for good if nothing is left of the capital."""
    if worth > RUIN * capital:
        return False
    ledger.cash[0] = RUIN * capital
    ledger.instruments[:, POSITION] = 0.0
    return True


@njit(cache=True, nogil=True)
def close_bar(ledger: Any, bars: Any, t: int, terms: Any, capital: float, rates: Any) -> tuple[float, float]:
    """Close bar t of every instrument; bars are [n, k, BAR_FIELDS], rates [n or 0, k] what funding is paid at closes.

    Answers equity, and gross exposure over it.

    Where nothing is left of the capital the exposure is -1.
    """
    for j in range(bars.shape[1]):
        if bars[t, j, CLOSE] == bars[t, j, CLOSE]:
            observe(ledger, j, bars[t, j, CLOSE], bars[t, j, VOLUME], terms[BARS_PER_DAY])
    if len(rates) > 0:
        pay_funding(ledger, rates[t])
    now = equity(ledger)
    if ruined(ledger, now, capital):
        return RUIN * capital, -1.0
    return now, gross_exposure(ledger) / now


@njit(cache=True, nogil=True)
def run_weights(
    bars: Any, weights: Any, delay: int, ledger: Any, terms: Any, worth: Any, exposure: Any, fills: Any, rates: Any
) -> tuple[int, int]:
    """Follow target weights over bars [n, k, BAR_FIELDS]; weights [n, k] are shares of the equity, NaN is no change.

    A weight decided at the close of bar t is an order for the quantity that equity and close then say, filled at the
    open of bar t + `delay` (≥ 1), or of the next bar that trades. After an exit the position stays closed until the
    weight changes. `rates` are as in `close_bar`. Writes equity and gross exposure over equity at every close.

    Returns the number of fills, which may exceed the rows of `fills` (then run again with more), and the bar of ruin
    or n.
    """
    n, k = weights.shape
    ring, ring_price = np.zeros((delay, k)), np.zeros((delay, k))
    due, due_price, planned, last = np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k)
    has_exits = terms[STOP_LOSS] > 0.0 or terms[TRAILING_STOP] > 0.0 or terms[TAKE_PROFIT] > 0.0
    capital, count = ledger.cash[0], 0
    for t in range(n):
        slot = t % delay
        for j in range(k):
            if ring[slot, j] != 0.0:
                due[j] += ring[slot, j]
                due_price[j], ring[slot, j] = ring_price[slot, j], 0.0
            bar = bars[t, j]
            if due[j] != 0.0 and bar[VOLUME] > 0.0:
                done = trade(ledger, t, j, due[j], bar[OPEN], MARKET_FILL, 0.0, due_price[j], terms, fills, count)
                count += done != 0.0
                planned[j] -= due[j] - done
                due[j] = 0.0
        if has_exits:
            for j in range(k):
                if ledger.instruments[j, POSITION] != 0.0 and bars[t, j, VOLUME] > 0.0:
                    done = leave(ledger, t, j, bars[t, j], terms, fills, count)
                    count += done != 0.0
                    planned[j] += done
        # As close_bar does it: called here, that function costs as much as all the rest of the loop.
        for j in range(k):
            if bars[t, j, CLOSE] == bars[t, j, CLOSE]:
                observe(ledger, j, bars[t, j, CLOSE], bars[t, j, VOLUME], terms[BARS_PER_DAY])
        if len(rates) > 0:
            pay_funding(ledger, rates[t])
        now = equity(ledger)
        if ruined(ledger, now, capital):
            worth[t:], exposure[t:] = RUIN * capital, 0.0
            return count, t
        worth[t], exposure[t] = now, gross_exposure(ledger) / now
        for j in range(k):
            weight, close = weights[t, j], bars[t, j, CLOSE]
            if weight != weight or close != close:
                continue
            drifted = abs(weight - planned[j] * close / now) > terms[DRIFT]
            if weight != last[j] or drifted:
                quantity = weight * now / close - planned[j]
                ring[slot, j], ring_price[slot, j] = quantity, close
                planned[j] += quantity
                last[j] = weight
    return count, n
