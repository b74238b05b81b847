"""One curated library and one browser for all tests of the page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines.report_page.visits import HOSTILE, HOSTILE_FILM, Visit, looked_at
from tests.pipelines.tiny_library import render, request

POLICY = (
    "multishot.share=1", "multishot.min_seconds=1", "split.val_share=0.3",
    "select.contrast.min=31",  # the second film's shot measures 30.6, the others more
)  # fmt: skip


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A curated library in which a caption and a film's name are hostile."""
    films = render(tmp_path_factory.mktemp("films"))
    (films / "second.mp4").rename(films / HOSTILE_FILM)
    (films / "first.txt").write_text(HOSTILE, encoding="utf-8")
    found = Home(tmp_path_factory.mktemp("home with space"))
    curate(request(films, *POLICY), found, SerialEngine(), Silence())
    return found


@pytest.fixture(scope="session")
def tab(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def opened(tab: BrowserContext, home: Home) -> Iterator[Visit]:
    yield from looked_at(tab, home.reports / "tiny@1" / "report.html")
