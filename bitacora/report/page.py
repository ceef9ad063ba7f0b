"""Write the report, and `bitacora report`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitacora import show
from bitacora.home import Home
from bitacora.report import data


def write(home: Home) -> Path:
    """Render what there is into report/index.html and return its path."""
    from jinja2 import Environment, PackageLoader, select_autoescape
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("bitacora", "report"), autoescape=select_autoescape(["j2"]), trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(script=get_plotlyjs(), **contents(home))
    home.report.parent.mkdir(parents=True, exist_ok=True)
    home.report.write_text(page, encoding="utf-8")
    return home.report


def contents(home: Home) -> dict[str, Any]:
    """Everything the template shows; figures as HTML."""
    from bitacora.report import charts

    model, trading, record = data.model(home), data.trading(home), data.run_record(home)
    figures: dict[str, str] = {}
    if model is not None:
        figures["equity"] = charts.equity(model.equity)
        figures["folds"] = charts.folds(model.metrics["folds"])
        figures["importance"] = charts.importance(model.metrics["importance"])
    if trading is not None:
        figures["fills"] = charts.fills(trading)
        if trading.equity:
            figures["live_equity"] = charts.live_equity(trading)
    if record["stages"]:
        figures["stages"] = charts.stages(record["stages"])
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "model": model,
        "trading": trading,
        "figures": figures,
        "chain": data.one_chain(),
        "skew": data.skew_result(),
        "checks": record["checks"],
        "total_seconds": sum(stage["seconds"] for stage in record["stages"]),
    }


def command(as_json: bool) -> None:
    """Write the report and print where it is."""
    path = write(Home.read())
    if as_json:
        show.print_json({"report": str(path)})
    else:
        print(path)
