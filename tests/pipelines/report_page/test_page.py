"""The report as a whole: its numbers, small and dark screens, paper."""

import json
from pathlib import Path

from playwright.sync_api import Browser

from pipelines.settings import Home
from tests.pipelines.report_page.visits import Visit, predicted, show_gallery, visit


def test_it_fits_a_phone_and_follows_the_dark(browser: Browser, home: Home) -> None:
    report = home.reports / "tiny@1" / "report.html"
    colours = {}
    for scheme in ("light", "dark"):
        size = {"width": 390, "height": 844}
        for opened in visit(browser, report, viewport=size, color_scheme=scheme):
            show_gallery(opened.page)
            assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
            colours[scheme] = opened.page.evaluate(
                "getComputedStyle(document.body).backgroundColor"
            )
    assert colours["light"] != colours["dark"]


def test_the_page_is_the_report_json(opened: Visit, home: Home) -> None:
    report = json.loads((home.reports / "tiny@1" / "report.json").read_bytes())
    page = opened.page
    assert page.locator("h2").first.inner_text() == report["verdict"]["headline"]
    figures = page.locator(".figures dd:not(.of)").all_inner_texts()
    assert figures[0] == str(report["totals"]["packed"]["clips"])
    assert figures[2] == str(report["totals"]["train_samples"])
    assert page.locator(".shards tbody tr").count() == len(report["shards"])
    assert predicted(page)[0] == report["whatif"]["kept"]["clips"]
    usable = report["whatif"]["usable"]
    assert predicted(page)[2] == [usable[rate] for rate in ("6", "12", "24")]
    titles = page.locator(".alert").all_inner_texts()
    for alert in report["alerts"]:
        assert any(alert["title"] in title for title in titles)


def test_it_prints(opened: Visit, tmp_path: Path) -> None:
    page = opened.page
    show_gallery(page)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("#gallery-controls").is_visible()
    assert page.locator(".tile").first.is_visible()
    page.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
