"""What an option chain says of volatility at constant maturities: level, skew, butterfly, term slope, DVOL.

Volatilities are the venue's own marks where it tells them, else inverted from mark prices by Black (1976): a price in
coin times the forward is the undiscounted price in dollars. Only options out of the money count: they trade.

- **At the money**: total variance w = iv² years, linear in log(strike / forward), read at zero.
- **25 delta**: volatility linear in the option's forward delta N(d1), read at 0.25 for calls and -0.25 for puts;
  skew = put less call, butterfly = their mean less at the money.
- **Constant maturity**: total variance linear in time between the two expiries around it; nothing is extrapolated.
- **DVOL**: the model-free variance of the VIX (Cboe, "Volatility Index Methodology"; Deribit, "DVOL", 2021) at the two
  expiries around 30 days, s² T = 2 sum(dK / K² Q(K)) - (F / K0 - 1)², interpolated as above; a fraction a year here.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from lake.intervals import DAY
from lake.tables import OPTION_SURFACE
from market.options import DELTA, black76, implied_volatility

YEAR = 365 * DAY
TENORS = {"7d": 7 * DAY, "30d": 30 * DAY, "60d": 60 * DAY, "90d": 90 * DAY, "180d": 180 * DAY}
WINDOW = 300_000_000
"""A surface is made of the newest quote of each option in five minutes, and stands at their end."""
LEAST_OPTIONS = 4
"""Of an expiry; with fewer it is left out."""
_TIME = pl.Datetime("us", "UTC")
Floats = npt.NDArray[np.float64]


class Smile(NamedTuple):
    """One expiry: volatilities a year as fractions, NaN where the chain does not reach."""

    years: float
    forward: float
    atm: float
    put_25: float
    call_25: float
    model_free_iv: float
    """What a strip of all its options replicates."""
    options: int


def surfaces(quotes: pl.DataFrame) -> pl.DataFrame:
    """Rows of option_surface_v1.

    Args:
        quotes: rows of option_quotes_v1, any order; quotes of one window of `WINDOW` µs make one surface.
    """
    venue = pl.col("instrument").str.extract(r"^([^:]+):")
    time = pl.col("event_time").dt.epoch("us")
    known = quotes.with_columns(
        chain=pl.concat_str(venue, pl.lit(":"), "underlying"), at=(time // WINDOW + 1) * WINDOW
    ).sort("event_time")
    rows = [
        row
        for (chain, at), part in known.group_by("chain", "at", maintain_order=True)
        for row in _surface(str(chain), int(at), part.unique("instrument", keep="last", maintain_order=True))
    ]
    schema = pl.Schema(OPTION_SURFACE.schema)
    frame = pl.DataFrame(rows, schema={n: pl.Int64() if t == _TIME else t for n, t in schema.items()}, orient="row")
    return frame.cast({n: _TIME for n, t in schema.items() if t == _TIME})


def _surface(chain: str, at: int, quotes: pl.DataFrame) -> list[dict[str, object]]:
    """The rows of one chain at one time; empty where no tenor lies between two expiries."""
    expiries = quotes.with_columns(left=pl.col("expiry_time").dt.epoch("us") - at).filter(pl.col("left") > 0)
    smiles = [smile(part, left / YEAR) for (left,), part in expiries.group_by("left", maintain_order=True)]
    whole = sorted((s for s in smiles if s is not None), key=lambda s: s.years)
    known = max(at, int(quotes["available_time"].dt.epoch("us").max()))  # type: ignore[arg-type]  # not empty
    at_30 = _between(whole, TENORS["30d"] / YEAR)
    rows: list[dict[str, object]] = []
    for tenor, length in TENORS.items():
        found = _between(whole, length / YEAR)
        if found is None:
            continue
        skew = found.put_25 - found.call_25
        rows.append({
            "instrument": chain, "event_time": at, "available_time": known, "tenor": tenor, "forward": found.forward,
            "atm_iv": found.atm, "skew_25d": _known(skew),
            "butterfly_25d": _known((found.put_25 + found.call_25) / 2 - found.atm),
            "term_slope": None if at_30 is None else found.atm - at_30.atm,
            "dvol": _known(found.model_free_iv) if tenor == "30d" else None, "options": found.options,
            "day": _day(at),
        })  # fmt: skip
    return rows


def _day(at: int) -> str:
    return str(pl.select(pl.lit(at).cast(_TIME).dt.strftime("%Y-%m-%d")).item())


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def smile(quotes: pl.DataFrame, years: float) -> Smile | None:
    """One expiry's volatilities; None where too few options are out of the money or one side has none."""
    forward = float(quotes["underlying_price"].median())  # type: ignore[arg-type]
    otm = quotes.filter(pl.col("is_call") == (pl.col("strike") >= forward)).sort("strike")
    strikes, calls = otm["strike"].to_numpy(), otm["is_call"].to_numpy()
    coins = otm["mark_price"].fill_null(math.nan).to_numpy()
    told = otm["mark_iv"].fill_null(math.nan).to_numpy()
    forwards, times = np.full_like(strikes, forward), np.full_like(strikes, years)
    own = implied_volatility(coins, forwards, strikes, times, calls)
    volatility = np.where(np.isnan(told), own, told)
    good = (volatility > 0.01) & (volatility < 10) & (coins > 0)
    strikes, calls, prices, volatility = strikes[good], calls[good], coins[good] * forward, volatility[good]
    if len(strikes) < LEAST_OPTIONS or calls.all() or not calls.any():
        return None
    moneyness = np.log(strikes / forward)
    atm = math.sqrt(float(np.interp(0.0, moneyness, volatility**2)))
    delta = np.abs(black76(forwards[good], strikes, times[good], volatility, calls)[DELTA])
    put = _at(delta[~calls], volatility[~calls])
    call = _at(delta[calls], volatility[calls])
    return Smile(years, forward, atm, put, call, model_free(strikes, prices, forward, years), len(strikes))


def _at(delta: Floats, volatility: Floats, wanted: float = 0.25) -> float:
    """The volatility at a delta; NaN where the strikes do not reach it."""
    order = np.argsort(delta)
    if not len(delta) or not delta[order[0]] <= wanted <= delta[order[-1]]:
        return math.nan
    return float(np.interp(wanted, delta[order], volatility[order]))


def model_free(strikes: Floats, prices: Floats, forward: float, years: float) -> float:
    """Volatility of the variance that a strip of out-of-the-money options replicates; strikes ascending."""
    widths = np.gradient(strikes)
    below = strikes[strikes <= forward]
    pivot = float(below[-1]) if len(below) else float(strikes[0])
    variance = 2.0 * float((widths / strikes**2 * prices).sum()) - (forward / pivot - 1.0) ** 2
    return math.sqrt(variance / years) if variance > 0 else math.nan


def _between(smiles: list[Smile], years: float) -> Smile | None:
    """The smile at a maturity between two expiries: total variances linear in time, the forward too."""
    for near, far in pairwise(smiles):
        if near.years <= years <= far.years:
            share = (years - near.years) / (far.years - near.years)

            def mixed(one: float, other: float, share: float = share, near: Smile = near, far: Smile = far) -> float:
                variance = (1 - share) * one**2 * near.years + share * other**2 * far.years
                return math.sqrt(variance / years)

            return Smile(
                years, (1 - share) * near.forward + share * far.forward, mixed(near.atm, far.atm),
                mixed(near.put_25, far.put_25), mixed(near.call_25, far.call_25),
                mixed(near.model_free_iv, far.model_free_iv), near.options + far.options,
            )  # fmt: skip
    return None
