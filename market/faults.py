"""The faults a venue can show: one frozen declaration, read from JSON, drawn from one seed.

`Knobs` is what can be set, by `--faults FILE`, by `POST /faults` (a JSON merge patch, RFC 7396: null puts a default
back) or by a timed script. `market.fault_state` keeps what is set now and acts on the exchange, `market.fault_http`
spoils requests and `market.fault_streams` spoils events. Seconds are wall time. docs/market-faults.md shows examples.

Checksums of a book are not among the knobs: Binance's depth streams carry none; its update ids are the check.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lake.errors import UsageError

_STRICT = ConfigDict(extra="forbid", strict=False)
Chance = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**9)]


@dataclass(frozen=True, config=_STRICT)
class HttpFault:
    """What happens to requests that match; of several rules the first that strikes acts."""

    action: Literal["late", "never", "status", "truncate", "garbage", "reset", "close"] = "never"
    """late: `seconds` later; never: no answer at all; status: `status` and `code` instead of the answer; truncate: half
    of the answer as if it were whole; garbage: 200 and a page, no JSON; reset, close: RST or FIN amid the answer."""
    stage: Literal["before", "after"] = "after"
    """before: the exchange never sees the request (late: sees it late); after: it acted, only the answer suffers."""
    verb: str = "*"
    """GET, POST, PUT, DELETE, or * for all."""
    path: str = "*"
    """Of the requests' path, with * and ? as in file names: /api/v3/order, /fapi/*."""
    chance: Chance = 1.0
    """Of striking a matching request."""
    skip: Count = 0
    """Matching requests that pass first."""
    times: Count = 0
    """Strike so often at most; 0 is no bound."""
    seconds: Seconds = 0.0
    """How much later a late answer, or a late request, is."""
    status: Annotated[int, Field(ge=400, le=599)] = 503
    """HTTP status of `status`."""
    code: Annotated[int, Field(ge=-9999, le=0)] = 0
    """Binance code in the body of `status`, such as -1006 or -1007; 0 sends a proxy's page without any."""


@dataclass(frozen=True, config=_STRICT)
class StreamFault:
    """What happens to events; every rule that matches a stream acts, in order."""

    stream: str = "*"
    """Of the streams' names, with * and ?: btcusdt@depth@100ms, *@trade, user (user data), or * for all."""
    drop: Chance = 0.0
    """Of losing an event."""
    duplicate: Chance = 0.0
    """Of sending an event twice."""
    reorder: Chance = 0.0
    """Of sending an event after its successor on the same stream."""
    delay: Chance = 0.0
    """Of sending an event `seconds` later; the ones behind it overtake it unless they are late as well."""
    seconds: Seconds = 0.0
    """How much later."""
    mute: bool = False
    """Nothing comes any more while the socket stays open and answers pings."""
    distort: Literal["", "crossed", "zero", "negative", "nan", "tenfold", "old"] = ""
    """crossed: bids and asks change places; zero, negative, nan, tenfold: the prices; old: times `age_seconds` back."""
    chance: Chance = 1.0
    """Of distorting an event."""
    age_seconds: Seconds = 60.0
    """How much `old` sets back `E` and `T`."""


@dataclass(frozen=True, config=_STRICT)
class Maintenance:
    """One entry of the maintenance calendar, counted from the moment the calendar was set."""

    from_seconds: Seconds
    """When it begins."""
    until_seconds: Seconds
    """When it ends."""
    symbols: tuple[str, ...] = ()
    """Symbols as the venue writes them (BTCUSDT); none is the whole venue."""
    status: Literal["BREAK", "HALT", "DOWN"] = "BREAK"
    """BREAK, HALT: shown in exchangeInfo, new orders refused, nothing matches, cancels work; DOWN (whole venue): every
    request gets 503 and every socket is cut."""


@dataclass(frozen=True, config=_STRICT)
class Knobs:
    """Everything that can be wrong with a venue. The defaults are a venue without faults."""

    seed: Count = 0
    """Fixes all draws: the n-th match of a rule, or the n-th event of a stream on the k-th connection, always fares
    alike. Setting it starts them anew."""
    http: tuple[HttpFault, ...] = ()
    """Requests that are late, lost, refused or answered badly."""
    streams: tuple[StreamFault, ...] = ()
    """Events that are lost, doubled, late, out of order, muted or wrong."""
    client_ids: Literal["open-only", "forever", "none"] = "open-only"
    """Which client order ids are refused as duplicates: those of open orders (Binance), all ever used, or none."""
    query_lag_seconds: Seconds = 0.0
    """An accepted order shows in queries, and its fills in myTrades, only so much later."""
    stale_snapshot_seconds: Seconds = 0.0
    """Depth snapshots are up to this old: their `lastUpdateId` lies before the first event of a new stream."""
    clock_offset_ms: Annotated[int, Field(ge=-(10**10), le=10**10)] = 0
    """The venue's wall clock is this much ahead (behind, if negative): `time` and the receive window follow it."""
    clock_drift_ppm: Annotated[float, Field(ge=-(10**6), le=10**6, allow_inf_nan=False)] = 0.0
    """And runs this many millionths too fast since it was set."""
    filters: dict[str, dict[Literal["price_tick", "quantity_step", "min_quantity", "min_notional"], str]] = Field(
        default_factory=dict
    )
    """Filters that replace those of the start, by spot symbol; ticks and steps can only become multiples."""
    maintenance: tuple[Maintenance, ...] = ()
    """When symbols, or the venue, are closed."""
    fee_coin: bool = False
    """Every account pays its spot fees in the venue's coin (BNB) where it holds enough of it, at a discount."""
    stream_life_seconds: Seconds = 86_400.0
    """Age at which a WebSocket is closed by the venue; 0 is never."""
    dead_man_seconds: Seconds = 0.0
    """Cancel an account's orders once it has sent no signed request for so long; 0 is never."""


@dataclass(frozen=True, config=_STRICT)
class Step:
    """One line of a script."""

    at_seconds: Seconds = 0.0
    """After the script was posted."""
    set: dict[str, Any] = Field(default_factory=dict)
    """A merge patch for the knobs."""
    do: Literal["", "disconnect", "server_shutdown", "terminate_user_streams", "pause", "resume", "clear"] = ""
    """disconnect: cut every socket; server_shutdown: announce it and close every socket `seconds` later; terminate:
    end user streams with eventStreamTerminated; clear: no faults any more."""
    seconds: Seconds = 1.0
    """Notice that server_shutdown gives; ten minutes at Binance."""


_KNOBS, _SCRIPT = TypeAdapter(Knobs), TypeAdapter(tuple[Step, ...])


def parse_knobs(values: Mapping[str, Any]) -> Knobs:
    """Check the JSON form of the knobs; what is not named has its default.

    Raises:
        UsageError: a name or value that does not exist, each with its place.
    """
    try:
        return _KNOBS.validate_python(dict(values))
    except ValidationError as error:
        raise UsageError(f"faults: {_told(error)}. See docs/market-faults.md.") from None


def parse_script(text: bytes) -> tuple[Step, ...]:
    """Read a timed list; its patches are checked as well, each on top of the ones before it.

    Raises:
        UsageError: not such a list, or a patch that would not be accepted.
    """
    try:
        steps = _SCRIPT.validate_json(text)
    except ValidationError as error:
        raise UsageError(f"faults script: {_told(error)}. See docs/market-faults.md.") from None
    ordered = tuple(sorted(steps, key=lambda step: step.at_seconds))
    knobs = Knobs()
    for step in ordered:
        knobs = merged(knobs, step.set)
    return ordered


def merged(knobs: Knobs, patch: object) -> Knobs:
    """Apply a JSON merge patch (RFC 7396).

    Raises:
        UsageError: the result is not a set of knobs.
    """
    if not isinstance(patch, dict):
        raise UsageError(f"faults: expected a JSON object, found {patch!r:.50}. See docs/market-faults.md.")
    result = _patched(to_json(knobs), patch)
    if not isinstance(result, dict):
        raise UsageError("faults: expected a JSON object.")
    return parse_knobs(result)


def read_knobs(file: Path) -> Knobs:
    """The knobs of a file.

    Raises:
        UsageError: it cannot be read, is not JSON, or not knobs.
    """
    try:
        return merged(Knobs(), orjson.loads(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"faults: {file}: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise UsageError(f"faults: expected JSON: {error}. See docs/market-faults.md.") from None


def to_json(knobs: Knobs) -> dict[str, Any]:
    return asdict(knobs)


def _patched(target: object, patch: object) -> object:
    if not isinstance(patch, dict):
        return patch
    values = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            values.pop(name, None)
        else:
            values[name] = _patched(values.get(name), value)
    return values


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}, found {problem['input']!r:.60}"
        for problem in error.errors()[:5]
    )
