"""Images by their formulas, written again with numpy; from past bars alone; to look at."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from feature_store.gallery import gallery
from feature_store.images import KINDS, LENGTH, SIZE, images
from feature_store.view import Floats
from jobs.build_images import image_rows
from lake.intervals import DAY, HOUR, MINUTE, Interval
from lake.tables import BARS_5M, IMAGES_5M

START = 1_704_067_200_000_000
EVERYTHING = Interval(START, START + 30 * DAY)


def walk(count: int, seed: int = 0) -> Floats:
    chance = np.random.default_rng(seed)
    path = 100 * np.exp(np.cumsum(chance.normal(0, 2e-3, count + 1)))
    opened, closed = path[:-1], path[1:]
    high, low = np.maximum(opened, closed) * 1.001, np.minimum(opened, closed) * 0.999
    return np.column_stack([opened, high, low, closed, chance.lognormal(1, 1, count)])


def silver(bars: Floats, instrument: str = "binance:BTC/USDT") -> pl.DataFrame:
    opens = START + 5 * MINUTE * np.arange(len(bars))
    times = {"event_time": opens + 5 * MINUTE, "available_time": opens + 5 * MINUTE + 1_000_000, "open_time": opens}
    frame = pl.DataFrame({name: pl.Series(at).cast(pl.Datetime("us", "UTC")) for name, at in times.items()})
    columns = {name: bars[:, i] for i, name in enumerate(("open", "high", "low", "close", "volume"))}
    return frame.with_columns(instrument=pl.lit(instrument), **{n: pl.Series(c) for n, c in columns.items()})


def fields(closes: Floats) -> tuple[Floats, Floats, Floats]:
    """Wang & Oates' fields and the distances, in [-1, 1]."""
    scaled = ((closes - closes.min()) - (closes.max() - closes)) / (closes.max() - closes.min())
    points = np.clip(scaled.reshape(SIZE, -1).mean(axis=1), -1, 1)
    angle = np.arccos(points)
    apart = 1 - np.abs(points[:, None] - points[None, :])
    return np.cos(angle[:, None] + angle), np.sin(angle[:, None] - angle), apart


def test_fields_and_recurrence_are_those_of_the_formulas() -> None:
    bars = walk(300)
    ends = np.array([LENGTH - 1, 200, 299])
    drawn = images(bars, ends)
    assert drawn.shape == (3, len(KINDS), SIZE, SIZE)
    for end, image in zip(ends, drawn, strict=True):
        for number, field in enumerate(fields(bars[end + 1 - LENGTH : end + 1, 3])):
            assert np.abs(image[number] - (field + 1) * 127.5).max() <= 0.5 + 1e-6, KINDS[number]
        assert (image[0] == image[0].T).all()
        assert (image[2].diagonal() == 255).all()
        assert np.abs(image[1].astype(int) + image[1].T - 255).max() <= 1


def test_candles_are_drawn_where_the_prices_are() -> None:
    bars = np.tile([10.0, 10.0, 10.0, 10.0, 1.0], (LENGTH, 1))
    bars[:2] = [[10, 14, 10, 12, 4], [12, 12, 6, 8, 4]]  # one column: opens 10, highest 14, lowest 6, closes 8
    image = images(bars, np.array([LENGTH - 1]))[0, 3]
    floor = SIZE * 3 // 4
    column = image[:floor, 0]
    assert (column > 0).all()  # its wick spans the whole range
    rows = np.flatnonzero(column == 176)  # it fell: from the middle to a quarter of the range
    assert (rows[0], rows[-1]) == (floor // 2, floor * 3 // 4)
    assert (image[floor:, 0] == 128).all()  # the most volume
    assert (image[floor:, 1] == 128).sum() == 2  # a quarter of it
    assert np.flatnonzero(image[:floor, 1] == 255).tolist() == [floor // 2]


def test_a_window_in_which_nothing_moved_is_drawn_without_a_number_that_is_none() -> None:
    flat = np.tile([10.0, 10.0, 10.0, 10.0, 0.0], (LENGTH, 1))
    image = images(flat, np.array([LENGTH - 1]))[0]
    assert (image[0] == 0).all()  # cos(π/2 + π/2)
    assert (image[2] == 255).all()
    with pytest.raises(ValueError, match="do not fit"):
        images(flat, np.array([LENGTH - 2]))


def test_images_of_a_truncated_past_are_the_same_and_later_bars_change_none() -> None:
    bars = silver(walk(400))
    rows = image_rows(bars, EVERYTHING)
    assert rows.height == (400 - LENGTH + 1) // 12 * len(KINDS)
    assert rows.columns == IMAGES_5M.schema.names
    for cut in np.random.default_rng(3).integers(100, 399, 10):
        past = image_rows(bars.head(int(cut)), EVERYTHING)
        last = bars["event_time"][int(cut) - 1]
        assert past.equals(rows.filter(pl.col("event_time") <= last))
        wild = bars.with_columns(close=pl.when(pl.col("event_time") > last).then(1e6).otherwise("close"))
        assert image_rows(wild, EVERYTHING).filter(pl.col("event_time") <= last).equals(past)


def test_a_late_correction_dates_every_image_that_shows_it_and_a_gap_leaves_none() -> None:
    bars, sent = silver(walk(400)), pl.lit(START + 20 * DAY).cast(pl.Datetime("us", "UTC"))
    late = bars.with_columns(
        available_time=pl.when(pl.int_range(pl.len()) == 100).then(sent).otherwise("available_time")
    )
    rows = image_rows(late, EVERYTHING).filter(pl.col("kind") == "gasf")
    place = (rows["event_time"].dt.epoch("us") - START) // (5 * MINUTE) - 1
    shows = (place >= 100) & (place < 100 + LENGTH)
    assert (rows["available_time"].dt.epoch("us") == START + 20 * DAY).equals(shows)
    delay = rows.filter(~shows).select(pl.col("available_time") - pl.col("event_time")).to_series().unique()
    assert delay.dt.total_seconds().to_list() == [1]

    gap = image_rows(bars.filter(pl.int_range(pl.len()) != 100), EVERYTHING).filter(pl.col("kind") == "gasf")
    assert set(gap["event_time"]) == set(rows.filter(~shows)["event_time"])


def test_units_cut_anywhere_give_the_same_images() -> None:
    bars = pl.concat([silver(walk(300)), silver(walk(300, 1), "binance:ETH/USDT")]).sample(
        fraction=1, shuffle=True, seed=1
    )
    whole = image_rows(bars, EVERYTHING)
    cut = START + 17 * HOUR
    parts = [image_rows(bars, unit) for unit in (Interval(START, cut), Interval(cut, EVERYTHING.end))]
    assert pl.concat(parts).sort(IMAGES_5M.key).equals(whole)
    assert set(BARS_5M.schema.names) >= {"instrument", "event_time", "available_time"}


def page_of_a_walk() -> tuple[pl.DataFrame, str]:
    rows = image_rows(silver(walk(LENGTH + 36)), EVERYTHING)
    return rows, gallery(rows)


def test_the_gallery_holds_every_pixel_and_needs_nothing_from_elsewhere() -> None:
    rows, page = page_of_a_walk()
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(found) == rows.height
    first = rows.filter(pl.col("event_time") == rows["event_time"].min(), pl.col("kind") == "candles")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0]))))
    assert pixels.tobytes() == first["image"][0]
    assert "http" not in page


@pytest.mark.browser
def test_the_gallery_is_seen_in_a_browser(tmp_path: Path) -> None:
    import shutil

    from playwright.sync_api import sync_playwright

    rows, page = page_of_a_walk()
    (tmp_path / "gallery.html").write_text(page)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto((tmp_path / "gallery.html").as_uri())
        widths = tab.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
        tab.screenshot(path=str(tmp_path / "gallery.png"), full_page=True)
        browser.close()
    assert widths == [SIZE] * rows.height
