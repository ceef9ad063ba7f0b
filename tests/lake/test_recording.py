"""What a recorder did meanwhile, as evidence: by hand."""

import polars as pl
import pytest

from lake.gaps import explained
from lake.intervals import MINUTE
from lake.recording import during
from tests.lake.test_gaps import START, grid

Life = tuple[int | None, int, int]


def lives(*of: Life, venue: str = "v") -> pl.DataFrame:
    """Connections in minutes since the start: up, tried, down."""
    at = [[None if time is None else START + time * MINUTE for time in life] for life in of]
    schema = {"up": pl.Int64, "tried": pl.Int64, "down": pl.Int64}
    return pl.DataFrame(at, schema=schema, orient="row").insert_column(0, pl.lit(venue).alias("who"))


def test_uptime_is_the_union_of_connections() -> None:
    holes = pl.DataFrame({"start": [START + 10 * MINUTE] * 2, "end": [START + 20 * MINUTE] * 2})
    told = during(holes, pl.Series(["v", "w"]), lives((0, 0, 12), (5, 5, 11), (18, 17, 40), (None, 13, 13)))
    assert told.rows() == [(pytest.approx(0.4), 1, True), (0.0, 0, False)]


WHOLE, OUT = (0, 600), ((0, 100), (300, 600))
BOTH = ((0, 0, 100), (300, 300, 600))


@pytest.mark.parametrize(
    ("of", "reason", "evidence"),
    [
        (((0, 0, 600),), "venue_outage", "connected, and nothing came"),
        (BOTH, "not_recorded", "did not run"),
        ((*BOTH, (None, 150, 150), (None, 200, 200)), "venue_outage", "got none"),
        (((0, 0, 200), (290, 290, 600)), "unknown", "to compare with"),
        (((400, 400, 600),), "unknown", "to compare with"),
    ],
)
def test_a_hole_of_the_only_instrument_is_explained_by_its_recorder(
    of: tuple[Life, ...], reason: str, evidence: str
) -> None:
    found = explained(grid("v:A", *OUT), MINUTE, lives=lives(*of)).row(0, named=True)
    assert found["reason"] == reason
    assert evidence in found["evidence"]


def test_a_venue_that_went_on_was_not_out_whatever_its_recorder_did() -> None:
    rows = pl.concat([grid("v:A", *OUT), grid("v:B", WHOLE)])
    assert explained(rows, MINUTE, lives=lives((0, 0, 600)))["reason"].to_list() == ["not_recorded"]
    assert explained(rows, MINUTE, lives=lives(*BOTH, (None, 150, 150)))["reason"].to_list() == ["not_recorded"]


def test_another_venues_recorder_says_nothing() -> None:
    found = explained(grid("v:A", *OUT), MINUTE, lives=lives((0, 0, 600), venue="w"))
    assert found["reason"].to_list() == ["unknown"]
