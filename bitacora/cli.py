"""`bitacora`: one entry point. Each command imports what it needs when it runs, so `--help` is quick."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lake.errors import BitacoraError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bitácora: from an exchange to a trade made by a promoted model, and the chain back. "
    "Exit codes: 64 usage, 65 bad data, 69 unavailable, 75 try again, 78 configuration.",
)
journal = typer.Typer(no_args_is_help=True, help="What live wrote down.")
app.add_typer(journal, name="journal")

Policy = Literal["person", "auto"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seed = Annotated[int, typer.Option(help="Seed of the embedded exchange's world.")]
Speed = Annotated[float, typer.Option(help="Market seconds per wall second.")]
_PASS_ON: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
}


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check Java, jars, storage, databases, clock, GPU and ports: what is wrong and how to fix it."""
    from bitacora.doctor import command

    raise typer.Exit(command(as_json))


@app.command()
def demo(
    seed: Seed = 1,
    live_minutes: Annotated[float, typer.Option(help="Wall minutes of live trading.")] = 4.0,
    speed: Speed = 60.0,
) -> None:
    """Run the main job, embedded and offline; exit 0 only if the whole chain held."""
    from bitacora.demo.run import command

    raise typer.Exit(command(seed, live_minutes, speed))


@app.command()
def up(
    seed: Seed = 1,
    speed: Speed = 60.0,
    policy: Annotated[Policy, typer.Option(help="Who approves a promotion.")] = "person",
) -> None:
    """Start the platform and print its addresses; `bitacora down` stops it."""
    from bitacora.up import start

    start(seed, speed, policy)


@app.command()
def down() -> None:
    """Stop what `up` started: live first, so that it cancels its orders; no process and no port is left."""
    from bitacora.up import stop

    stop()


@app.command(**_PASS_ON)
def lake(context: typer.Context) -> None:
    """What is stored: tables, read, sql, versions, hash; without a JVM."""
    from bitacora.lake_commands import app as lake_app

    lake_app(context.args or ["--help"], prog_name="bitacora lake")


@journal.command("export")
def journal_export(
    as_json: Json = False,
    path: Annotated[Path | None, typer.Option("--journal", help="A journal file; default: live's own.")] = None,
) -> None:
    """Intents, orders, fills and cancels, one JSON object per line."""
    from bitacora.journal_export import command

    command(path, as_json)


@app.command()
def lineage(
    order_id: Annotated[str, typer.Argument(help="The venue's order id or our client order id.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Every order.")] = False,
    verify: Annotated[bool, typer.Option(help="Recompute features and prediction from the raw rows.")] = False,
    as_json: Json = False,
) -> None:
    """Print the chain from an order to the raw messages; exit 65 where a link does not hold."""
    from bitacora.lineage import command

    raise typer.Exit(command(order_id, every, verify, as_json))


@app.command()
def reconcile(as_json: Json = False) -> None:
    """Compare venue, journal and gold, exactly; exit 65 where they differ."""
    from bitacora.reconcile import command

    raise typer.Exit(command(as_json))


@app.command()
def skew(as_json: Json = False) -> None:
    """Compare the features live decided on with gold rebuilt by Spark; exit 65 above 1e-9."""
    from bitacora.skew import command

    raise typer.Exit(command(as_json))


@app.command()
def parity(
    strategy: Annotated[str, typer.Argument(help="FILE.py or FILE.py:NAME.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: a parameter of the strategy.")
    ] = None,
    seed: Seed = 1,
    hours: Annotated[float, typer.Option(help="Market hours.")] = 4.0,
    speed: Annotated[str, typer.Option(help="lockstep, or market seconds per wall second.")] = "lockstep",
    capital: Annotated[float, typer.Option(help="Quote, of all instruments together.")] = 60_000.0,
    instruments: Annotated[str, typer.Option(help="Comma-separated ids; default: all.")] = "",
    days: Annotated[int, typer.Option(help="Days of history.")] = 30,
    as_json: Json = False,
) -> None:
    """Compare a strategy's backtest at the exchange with live; what differs at running speed is attributed."""
    from bitacora.parity import command

    raise typer.Exit(command(strategy, settings or [], seed, hours, speed, capital, instruments, days, as_json))


@app.command()
def report(as_json: Json = False) -> None:
    """Write the report, one self-contained HTML file, and print its path."""
    from bitacora.report.page import command

    command(as_json)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of ours become one line and their exit code, usage errors 64."""
    try:
        app(arguments, prog_name="bitacora")
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as done:
        sys.exit(os.EX_USAGE if done.code == 2 else done.code)
