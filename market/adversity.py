"""The adversarial pack: what breaks models and traders, seeded, on stored bars and live in the embedded exchange.

    python -m market.adversity list                                     every event and its parameters
    python -m market.adversity show flash_crash --out plot.html         bars before and after, one file
    python -m market.adversity show depeg --set depth=0.2 --seed 3 --out plot.html

Live: `POST /adversity` on the admin port with `{"name": "flash_crash", "depth": 0.2}`; times count from then on.
`market/adversity_events.py` has the events, `market/adversity_bars.py` applies them to bars and
`market/adversity_live.py` to a running venue.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lake import command
from lake.errors import UsageError
from market.adversity_events import EVENTS, Adversity


def parse(document: Any) -> Adversity:
    """An event from JSON: its `name` and any of its parameters.

    Raises:
        UsageError: no such event or parameter, or a value that makes no sense.
    """
    if not isinstance(document, dict):
        raise UsageError(f"adversity: expected an object with a name, found {document!r}.")
    given = dict(document)
    event = EVENTS.get(str(given.pop("name", "")))
    if event is None:
        raise UsageError(f"adversity: expected name to be one of {', '.join(EVENTS)}, found {document.get('name')!r}.")
    types: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(event)}
    unknown = set(given) - set(types)
    if unknown:
        raise UsageError(f"adversity {event.name}: expected {', '.join(types)}, found {', '.join(sorted(unknown))}.")
    values: dict[str, Any] = {}
    for name, value in given.items():
        try:
            values[name] = tuple(value) if types[name] is tuple else types[name](value)
        except (TypeError, ValueError):
            raise UsageError(
                f"adversity {event.name}: expected {name} to be {types[name].__name__}, found {value!r}."
            ) from None
    return event(**values)


def described() -> list[dict[str, Any]]:
    """Every event with its sentence and the defaults of its parameters."""
    return [
        {
            "name": name,
            "what": (event.__doc__ or "").split("\n")[0],
            "parameters": {field.name: field.default for field in dataclasses.fields(event)},
        }
        for name, event in EVENTS.items()
    ]


def main() -> int:
    """The command line."""
    from market.adversity_report import write_plot

    parser = command.parser("market.adversity", __doc__)
    parser.add_argument("what", choices=("list", "show"))
    parser.add_argument("name", nargs="?", help="of the event to show")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated market")
    parser.add_argument("--scenario", default="regimes", help="preset of the simulated market")
    parser.add_argument("--out", type=Path, help="HTML file of `show`")
    options = parser.parse_args()
    if options.what == "list":
        print(json.dumps(described(), indent=1))
        return 0
    if options.name is None or options.out is None:
        raise UsageError("show: expected a NAME and --out FILE; `list` prints the names.")
    event = parse({"name": options.name, **dict(_setting(text) for text in options.set)})
    print(json.dumps(write_plot(options.out, event, options.seed, options.scenario)))
    return 0


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set: expected NAME=VALUE, found {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


if __name__ == "__main__":
    command.run(main)
