"""One unit per quantity: what a source or a file tells in another one is converted by declaration, never by guess."""

from lake.errors import BadInput

_FACTORS: dict[str, tuple[str, float]] = {
    "H/s": ("H/s", 1.0),
    "GH/s": ("H/s", 1e9),
    "TH/s": ("H/s", 1e12),
    "EH/s": ("H/s", 1e18),
    "fraction": ("fraction", 1.0),
    "percent": ("fraction", 1e-2),
    "bps": ("fraction", 1e-4),
    "usd": ("usd", 1.0),
    "usd_million": ("usd", 1e6),
    "native": ("native", 1.0),
    "satoshi": ("native", 1e-8),
}
"""Unit to the quantity it measures and its size."""


def convert(value: float, unit: str, into: str) -> float:
    """Raises:
    BadInput: the two do not measure the same quantity.
    """
    if unit == into:
        return value
    one, other = _FACTORS.get(unit), _FACTORS.get(into)
    if one is None or other is None or one[0] != other[0]:
        raise BadInput(f"unit {unit!r} cannot be told in {into!r}: expected one of {', '.join(alike(into))}")
    return value * (one[1] / other[1])


def alike(unit: str) -> list[str]:
    """Units that measure the same quantity."""
    quantity = _FACTORS.get(unit, (None, 0.0))[0]
    return [name for name, (other, _) in _FACTORS.items() if other == quantity] if quantity else [unit]
