"""The catalogue of a service: what every column means, as data and as the table of docs/features.md."""

from typing import Any

from feature_store.service import FeatureService
from feature_store.view import UNTIL_WARM, Output


def catalogue(service: FeatureService) -> dict[str, Any]:
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


def markdown(service: FeatureService) -> str:
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
