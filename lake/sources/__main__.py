"""The sources: list them, or serve all of them on loopback in their own wire formats, for demo and tests.

python -m lake.sources list [--json]
python -m lake.sources [serve] [--port 0] [--now T] [--fail 0.05 --seed 1] [--per-second N]

`serve` prints one JSON line when it is ready: {"ready": true, "url": URL, "sources": [...]}; set SOURCES_URL to that
address and every client asks it instead of the real sources.
"""

import threading
import time

import orjson

from lake import command
from lake.intervals import DAY, format_time, parse_time
from lake.sources.registry import sources
from lake.sources.server import World, serve


def _list(as_json: bool) -> int:
    for name, source in sources().items():
        key = f"SOURCES_{name.upper()}_KEY" + ("" if source.key and source.key.needed else " (optional)")
        told = {
            "source": name,
            "kind": source.kind,
            "address": source.address,
            "key": key if source.key else "",
            "entities": list(source.entities),
            "metrics": {
                m.name: {"unit": m.unit, "delay_hours": m.delay / DAY * 24, "restated": m.restated}
                for m in source.metrics
            },
        }
        if as_json:
            print(orjson.dumps(told).decode())
            continue
        print(f"{name:14} {source.title}\n{'':14} {source.address}  key: {told['key'] or 'none'}")
        for metric in source.metrics:
            restated = ", restated: counts from the first answer" if metric.restated else ""
            print(f"{'':14}   {metric.name:28} {metric.unit:12} +{metric.delay / DAY * 24:g} h{restated}")
    return 0


def _serve(port: int, world: World) -> int:
    with serve(world, port) as url:
        ready = {"ready": True, "url": url, "sources": list(sources()), "now": format_time(world.start)}
        print(orjson.dumps(ready).decode(), flush=True)
        threading.Event().wait()
    return 0


def main() -> int:
    parser = command.parser("lake.sources", __doc__)
    parser.add_argument("what", nargs="?", choices=["serve", "list"], default="serve")
    parser.add_argument("--json", action="store_true", help="one JSON object per source")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--now", metavar="T", help="the sources' clock at the start (default: now)")
    parser.add_argument("--fail", type=float, default=0.0, help="share of requests that meet a fault")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--per-second", type=int, default=0, help="requests a source allows; 0: any number")
    asked = parser.parse_args()
    if asked.what == "list":
        return _list(asked.json)
    now = parse_time(asked.now) if asked.now else time.time_ns() // 1000
    return _serve(asked.port, World(now, asked.fail, asked.seed, asked.per_second))


if __name__ == "__main__":
    command.run(main)
