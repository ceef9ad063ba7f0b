"""The catalogue of a service: what every column means, as data and as the table of docs/features.md."""

from typing import Any, Final, TypeAlias

from feature_store.book import BOOK, BookService
from feature_store.errors import UnknownService
from feature_store.inputs import REFERENCES, SERIES
from feature_store.service import FeatureService, services
from feature_store.view import UNTIL_WARM, FeatureView, Output

AnyService: TypeAlias = FeatureService | BookService
BUDGET_US: Final = 0.25
"""What a view may cost per row of a scan, µs, unless it is named below: a window or two of up to 60 bars."""
BUDGETS_US: Final = {
    "detrended_fluctuation": 3.0,  # four passes over 256 closes
    "higuchi": 2.0,  # eight passes over 128 closes
    "hurst": 8.0,  # ten passes over 256 returns
    "levels": 6.0,  # four passes over 288 bars
    "pivots": 3.0,  # up to 96 bars backwards, four neighbours each
    "return_quantiles": 1.0,  # 257 bins
    "variance_ratio": 3.0,  # four passes over 288 closes
    "vwap_distance": 1.0,  # a pass over 288 bars and one over 48
    "yang_zhang": 0.75,  # six passes over 60 bars
}
STREAM_US: Final = 5.0
"""What the stream around a view may add per update in live, µs: the bar's checks, an array, a call."""
SERVICES_US: Final = {"default_ref_5m": 20.0, "book_1": 5.0}
"""What one update of a service's stream may cost, µs (median); other services are held to the sum of their views."""


def budget_us(view: FeatureView) -> float:
    """What the view may cost per row of a scan, µs."""
    return BUDGETS_US.get(view.name, BUDGET_US)


def update_budget_us(service: AnyService) -> float:
    """What one update of its stream may cost, µs (median)."""
    return SERVICES_US.get(service.name, STREAM_US + sum(map(budget_us, service.views)))


def all_services() -> dict[str, AnyService]:
    """Every service by name: those over bars and that over books."""
    return {**services(), BOOK.name: BOOK}


def find(name: str) -> AnyService | FeatureView:
    """A service or a view by name.

    Raises:
        UnknownService: there is neither.
    """
    known: dict[str, AnyService | FeatureView] = {v.name: v for one in all_services().values() for v in one.views}
    known.update(all_services())
    if name not in known:
        raise UnknownService(f"unknown feature service or view {name!r}: expected one of {', '.join(known)}")
    return known[name]


def shown(view: FeatureView) -> dict[str, Any]:
    """Everything declared about one view as plain values."""
    sources = {reference.name: f"close of {reference.base}" for reference in REFERENCES}
    sources |= {series.name: f"{series.metric} of {series.entity}, {series.unit}" for series in SERIES}
    return {
        "view": view.name,
        "version": view.version,
        "owner": view.owner,
        "description": view.description,
        "inputs": {name: sources.get(name, "row") for name in view.inputs},
        "warm_up": view.warm_up,
        "state_size": view.state_size,
        "budget_us": budget_us(view),
        "services": [one.name for one in all_services().values() if view in one.views],
        "outputs": [
            {"name": each.name, "unit": each.unit, "description": each.description, "nan": each.nan}
            for each in view.outputs
        ],
    }


def catalogue(service: AnyService) -> dict[str, Any]:
    """Service, views and columns as plain values, in the order of the service."""
    return {
        "service": service.name,
        "timeframe": service.timeframe,
        "content_hash": service.content_hash,
        "warm_up_bars": service.warm_up,
        "columns": [
            {
                "name": output.name,
                "view": view.name,
                "version": view.version,
                "owner": view.owner,
                "inputs": list(view.inputs),
                "warm_up_bars": view.warm_up,
                "unit": output.unit,
                "description": output.description,
                "nan": output.nan,
            }
            for view in service.views
            for output in view.outputs
        ],
    }


def markdown(service: AnyService) -> str:
    """The columns as a Markdown table; `list --markdown` prints it and a test holds docs/features.md to it."""
    rows = ["| column | view | reads | warm after | unit | meaning |", "| --- | --- | --- | ---: | --- | --- |"]
    for view in service.views:
        for output in view.outputs:
            rows.append(
                f"| `{output.name}` | {view.name} v{view.version} | {', '.join(view.inputs)} | {view.warm_up} "
                f"| {output.unit} | {output.description}{_policy(output)} |"
            )
    return "\n".join(rows)


def _policy(output: Output) -> str:
    """When it is null, where that is not only until warm."""
    return "" if output.nan == UNTIL_WARM else f" Null {output.nan}."
