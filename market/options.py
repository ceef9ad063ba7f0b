"""Options arithmetic: an implied-volatility surface without arbitrage, Black-76 prices and greeks.

The surface is SSVI (Gatheral and Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14, 2014).
With k = ln(K/F), θ the total variance at the money of an expiry and φ(θ) = η / √(θ (1 + θ)):

    w(k, θ) = θ/2 · (1 + ρ φ k + √((φ k + ρ)² + 1 − ρ²))             total implied variance, σ² T

Each expiry is one SVI slice (`raw_svi` gives a, b, ρ, m, σ). There is no butterfly and no calendar arbitrage as long as
η (1 + |ρ|) ≤ 2 and θ never falls with the expiry (their theorems 4.1 and 4.2). The term structure is that of a variance
that reverts from today's level to a long one: θ(T) = v∞ T + (v₀ − v∞)(1 − e^{−κT})/κ, which always rises.

Years have 365 days, rates are zero, variances are per year. Prices are a coin's, as Deribit quotes inverse options: the
dollar price divided by the forward. Parity then reads C − P = 1 − K/F.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from market.kernel import njit

Floats = NDArray[np.float64]

YEAR_US = 365 * 86_400_000_000
_ROOT_TWO_PI = math.sqrt(2 * math.pi)


class RawSvi(NamedTuple):
    """w(k) = a + b (ρ (k − m) + √((k − m)² + σ²))."""

    a: float
    b: float
    rho: float
    m: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Surface:
    """One moment's surface of one coin."""

    variance_now: float
    """v₀, at the money and at once."""
    variance_long: float
    """v∞"""
    reversion: float = 12.0
    """κ per year: half of the way takes three weeks."""
    rho: float = -0.10
    """Slope of the smile: below zero puts cost more."""
    eta: float = 0.95
    """Curvature of the smile; 0.94 with ρ = −0.06 fits the chain of ETH options of 2024-01-08 to 7 % of volatility."""

    def __post_init__(self) -> None:
        if not (self.variance_now > 0 and self.variance_long > 0 and self.reversion > 0):
            raise UsageError("volatility surface: expected variances and reversion above 0.")
        if not (abs(self.rho) < 1 and 0 < self.eta * (1 + abs(self.rho)) <= 2):
            raise UsageError(
                f"volatility surface: expected |rho| < 1 and eta (1 + |rho|) within 0 to 2, found rho {self.rho} and "
                f"eta {self.eta}; beyond, butterflies would have negative prices."
            )

    def total_variance(self, years: Floats) -> Floats:
        """θ: at the money, per expiry."""
        faded = -np.expm1(-self.reversion * years) / self.reversion
        return self.variance_long * years + (self.variance_now - self.variance_long) * faded

    def volatility(self, log_moneyness: Floats, years: Floats) -> Floats:
        """Implied volatility per year at k = ln(K/F); the arrays broadcast, years are above zero."""
        return np.sqrt(total_variance(log_moneyness, self.total_variance(years), self.rho, self.eta) / years)

    def raw_svi(self, years: float) -> RawSvi:
        """The slice of an expiry in SVI's raw parameters."""
        theta = float(self.total_variance(np.array(years)))
        phi = self.eta / math.sqrt(theta * (1 + theta))
        root = math.sqrt(1 - self.rho**2)
        return RawSvi(theta / 2 * root**2, theta * phi / 2, self.rho, -self.rho / phi, root / phi)


def total_variance(log_moneyness: Floats, theta: Floats, rho: float, eta: float) -> Floats:
    """w(k, θ) of the module's formula."""
    phi = eta / np.sqrt(theta * (1 + theta))
    scaled = phi * log_moneyness
    return theta / 2 * (1 + rho * scaled + np.sqrt((scaled + rho) ** 2 + 1 - rho**2))


def variance_swap(theta: Floats, rho: float, eta: float) -> Floats:
    """Total variance that a strip of all out-of-the-money options replicates, per θ [n]; above θ by the smile.

    w_swap = 2 ∫ C_otm(k)/K dk over the forward: the model-free variance behind VIX and DVOL (Demeterfi, Derman, Kamal
    and Zou, "More than you ever wanted to know about volatility swaps", 1999), by the trapezoidal rule.
    """
    found = np.empty(len(theta))
    for n, level in enumerate(theta):
        reach = max(12 * math.sqrt(level), 0.5)
        k = np.linspace(-reach, reach, 2001)
        ratio, w = np.exp(k), total_variance(k, np.array(level), rho, eta)
        prices = black76(np.ones_like(k), ratio, np.ones_like(k), np.sqrt(w), k >= 0)
        found[n] = 2 * np.trapezoid(prices[PRICE] / ratio, k)
    return found


# Rows of `black76`'s answer.
PRICE, DELTA, GAMMA, VEGA, THETA, RHO, GREEKS = range(7)


def black76(forward: Floats, strike: Floats, years: Floats, volatility: Floats, is_call: NDArray[np.bool_]) -> Floats:
    """[GREEKS, n]: the price in coin and the dollar price's greeks; all arguments are [n], years above zero.

    Source: Black, "The pricing of commodity contracts" (1976), at a rate of zero. Delta is per dollar of the forward
    (not of the coin price), gamma per dollar², vega per point (1 %) of volatility, theta per day, rho per point (1 %)
    of a rate that moves the forward with it, as Deribit shows them.
    """
    out = np.empty((GREEKS, len(forward)))
    _black76(forward, strike, years, volatility, is_call, out)
    return out


@njit(cache=True, nogil=True)
def _black76(forward, strike, years, volatility, is_call, out):  # type: ignore[no-untyped-def]
    for n in range(len(forward)):
        f, ratio, time = forward[n], strike[n] / forward[n], years[n]
        deviation = volatility[n] * math.sqrt(time)
        d1 = -math.log(ratio) / deviation + 0.5 * deviation
        d2 = d1 - deviation
        density = math.exp(-0.5 * d1 * d1) / _ROOT_TWO_PI
        sign = 1.0 if is_call[n] else -1.0
        in_forward = 0.5 * math.erfc(-sign * d1 / math.sqrt(2.0))
        in_money = 0.5 * math.erfc(-sign * d2 / math.sqrt(2.0))
        out[PRICE, n] = max(0.0, sign * (in_forward - ratio * in_money))
        out[DELTA, n] = sign * in_forward
        out[GAMMA, n] = density / (f * deviation)
        out[VEGA, n] = f * density * math.sqrt(time) / 100.0
        out[THETA, n] = -f * density * volatility[n] / (2.0 * math.sqrt(time)) / 365.0
        out[RHO, n] = sign * strike[n] * time * in_money / 100.0


def implied_volatility(
    price: Floats, forward: Floats, strike: Floats, years: Floats, is_call: NDArray[np.bool_]
) -> Floats:
    """Volatility that gives a coin price, by bisection between 0.001 and 20; NaN where none does. All arguments [n]."""
    low, high = np.full(len(price), 1e-3), np.full(len(price), 20.0)
    bounds = [black76(forward, strike, years, edge, is_call)[PRICE] for edge in (low, high)]
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = black76(forward, strike, years, middle, is_call)[PRICE] < price
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where((price < bounds[0]) | (price > bounds[1]), np.nan, 0.5 * (low + high))


@njit(cache=True, nogil=True)
def faded_mean(values, decay, level):  # type: ignore[no-untyped-def]
    """Running mean of float64 [n] with weights that fade by `decay` per step, continued from `level`; [n]."""
    out = np.empty(len(values))
    for n in range(len(values)):
        level = decay * level + (1.0 - decay) * values[n]
        out[n] = level
    return out
