"""A report that is open in a browser, and how it is used."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from curation.catalog.store import Catalog
from pipelines.settings import Home

HOSTILE = "</script><img src=x onerror=window.pwned=1><b>A red car</b> passes & turns."
HOSTILE_FILM = "<img src=x onerror=window.pwned=2>.mp4"


@dataclasses.dataclass(frozen=True)
class Visit:
    """A report that is open, and what went on meanwhile."""

    page: Page
    errors: list[str]
    requests: list[str]


def visit(browser: Browser, report: Path, **settings: Any) -> Iterator[Visit]:
    """Open a report in a context of its own."""
    with browser.new_context(**settings) as context:
        yield from looked_at(context, report)


def looked_at(context: BrowserContext, report: Path) -> Iterator[Visit]:
    """Open a report; whatever a test does, nothing may fail or be asked for."""
    page = context.new_page()
    opened = Visit(page, [], [])
    page.on("console", lambda message: opened.errors.append(message.text))
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("request", lambda asked: opened.requests.append(asked.url))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield opened
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def show_gallery(page: Page) -> None:
    page.locator("#clips").scroll_into_view_if_needed()
    page.wait_for_selector("html[data-gallery]", state="attached")


def wait_for_frame(page: Page) -> None:
    """What was moved is shown with the next frame."""
    page.evaluate("new Promise(requestAnimationFrame)")


def predicted(page: Page) -> tuple[float, float, list[float]]:
    """Clips, hours and usable frames as the page shows them now."""
    wait_for_frame(page)
    panel = page.locator("#yield")
    usable = panel.get_attribute("data-usable") or ""
    return (
        float(panel.get_attribute("data-clips") or "nan"),
        float(panel.get_attribute("data-hours") or "nan"),
        [float(number) for number in usable.split()],
    )


def set_bound(page: Page, name: str, end: str, value: str) -> None:
    field = page.locator(f'[data-name="{name}"] .bound').nth(0 if end == "min" else 1)
    field.fill(value)
    field.press("Tab")
    wait_for_frame(page)


def clip_rows(home: Home) -> list[dict[str, Any]]:
    with Catalog.open(home.catalog()) as catalog:
        return catalog.read("clips").to_pylist()
