"""The pages of expectations and of what was found: whole, readable without any network, seen in a browser."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import data_docs, quality
from lake.spark import spark_schema
from lake.tables import BARS_1M, TABLES

FOUND = "high is below low, open or close"


@pytest.fixture(scope="module")
def site(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages after a check of three bars, one of them wrong."""
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    good = dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), 1.0) | {
        "instrument": "binance:BTC/USDT", "trade_count": 1, "month": "2024-01", "payload_hash": "<b>&",
        **dict.fromkeys(("event_time", "available_time"), noon),
    }  # fmt: skip
    rows = [good | {"open_time": noon.replace(minute=at), "high": high} for at, high in enumerate((1.0, 1.0, 0.5))]
    frame = spark.createDataFrame(
        [tuple(row[name] for name in BARS_1M.schema.names) for row in rows], spark_schema(BARS_1M.schema)
    )
    report = quality.validate(frame.persist(), BARS_1M)
    home = tmp_path_factory.mktemp("docs")
    data_docs.keep(
        home, BARS_1M, report, version=4, rows=3, anomalies={"spike": 1}, problems=[*report.failures, "<script>"]
    )
    return data_docs.write(home)


@pytest.mark.spark
def test_every_table_has_its_page_and_the_check_says_what_it_found(site: Path) -> None:
    assert {page.stem for page in (site.parent / "suites").iterdir()} == set(TABLES)
    check = (site.parent / "checks" / "bars_1m_v1.html").read_text()
    assert FOUND in check
    assert "1 unexpected values found" in re.sub(r"<[^>]+>", "", check)
    assert "33.33" in check
    index = site.read_text()
    assert f"{FOUND}: 1 unexpected" in index
    assert "&lt;script&gt;" in index and "<script" not in index


@pytest.mark.spark
def test_the_pages_need_nothing_from_elsewhere_and_every_link_leads_somewhere(site: Path) -> None:
    for page in site.parent.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r"https?://", text), page
        for link in re.findall(r'href="([^"#]+)"', text):
            assert (page.parent / link).resolve().exists(), f"{page}: {link}"


@pytest.mark.spark
@pytest.mark.browser
def test_the_pages_are_read_in_a_browser(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(site.as_uri())
        first = tab.locator("tbody tr").first
        assert "bars_1m_v1" in first.inner_text() and "spike 1" in first.inner_text()
        first.locator("td a").nth(1).click()
        assert tab.get_by_text(FOUND).first.is_visible()
        tab.get_by_role("link", name="expectations").click()
        assert tab.get_by_text("the key (instrument, open_time) is unique").is_visible()
        browser.close()
    assert asked and all(url.startswith("file:") for url in asked)
