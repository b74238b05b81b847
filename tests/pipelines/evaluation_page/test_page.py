"""The evaluation report in a real browser: videos that play as one, and what must not be run."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from curation.video.encode import FilmWriter
from evaluation.results import Evaluation
from pipelines import report_eval
from pipelines.report_eval import write_page
from pipelines.settings import Home
from tests.evaluation.judged import drawn, evaluation, shown, video
from tests.pipelines.report_page.visits import HOSTILE, Visit, looked_at

PROMPTS = [shown("plain", "A red car passes."), shown("hostile", HOSTILE), *map(shown, "cdefgh")]
METRICS = ("proxy_motion_smoothness", "proxy_imaging_quality")
SHORT, LONG = 49, 97


def film(path: Path, frames: int, shade: int) -> None:
    path.parent.mkdir(parents=True)
    with FilmWriter(path, 64, 48) as writer:
        for number in range(frames):
            picture = np.full((48, 64, 3), shade, np.uint8)
            picture[:, : 64 * (number + 1) // frames] = 255 - shade
            writer.write_rgb(picture)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Evaluation, dict[str, Path]]:
    """Eight prompts, two schedules of different length, two seeds of the first prompt."""
    home = Home(tmp_path_factory.mktemp("home with space"))
    videos = []
    for place, prompt in enumerate(PROMPTS):
        for variant, frames in enumerate((SHORT, LONG)):
            for seed in (0, 1) if place == 0 else (0,):
                values = {name: drawn(place + 10 * n + seed) for n, name in enumerate(METRICS)}
                values["proxy_motion_smoothness"] -= 0.1 * variant
                if prompt.text == HOSTILE:
                    values = dict.fromkeys(METRICS, 0.1 - 0.05 * variant)
                one = video(prompt.id, variant, values, seed=seed, frames=frames)
                film(home.generated / one.key / "video.mp4", frames, 40 * variant)
                videos.append(one)
    found = evaluation(PROMPTS, videos)
    picture = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (80, 60), (200, 40, 20)).save(picture)
    return home, found, {"plain": picture}


@pytest.fixture(scope="module")
def report(made: tuple[Home, Evaluation, dict[str, Path]]) -> Path:
    home, found, pictures = made
    written = write_page(home, found, None, pictures)
    assert written.embedded
    return Path(written.page)


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def opened(tab: BrowserContext, report: Path) -> Iterator[Visit]:
    yield from ready(tab, report)


def ready(tab: BrowserContext, report: Path) -> Iterator[Visit]:
    for opened in looked_at(tab, report):
        wait_for_videos(opened.page)
        yield opened


def wait_for_videos(page: Page) -> None:
    page.wait_for_function(
        "() => { const found = [...document.querySelectorAll('.take video')];"
        "return found.length && found.every((v) => v.readyState >= 2 && !v.seeking); }"
    )


def times(page: Page) -> list[float]:
    found: list[float] = page.locator(".take video").evaluate_all(
        "videos => videos.map((video) => video.currentTime)"
    )
    return found


def frame(page: Page) -> int:
    return int(page.locator("#stage").get_attribute("data-frame") or -1)


def middle(number: int) -> float:
    return (number + 0.5) / 24


def test_videos_play_as_one_and_stop_on_one_frame(opened: Visit) -> None:
    page = opened.page
    page.locator("#stage").focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => Number(document.getElementById('stage').dataset.frame) >= 12")
    apart = page.evaluate(
        "() => { const [a, b] = document.querySelectorAll('.take video');"
        "return Math.abs(a.currentTime - b.currentTime); }"
    )
    assert apart < 0.25
    page.keyboard.press("Space")
    assert page.locator("#stage").get_attribute("data-playing") == "false"
    stopped = frame(page)
    wait_for_videos(page)
    assert times(page) == pytest.approx([middle(min(stopped, SHORT - 1)), middle(stopped)])
    assert page.get_by_role("button", name="Play").is_visible()


def test_playing_ends_with_the_longest(opened: Visit) -> None:
    page = opened.page
    page.get_by_label("Speed").select_option("2")
    page.locator("#stage").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert frame(page) == LONG - 3
    page.keyboard.press("Space")
    page.wait_for_function("() => document.getElementById('stage').dataset.playing === 'false'")
    assert frame(page) == LONG - 1


def test_scrubbing_and_keys_move_all_videos(opened: Visit) -> None:
    page = opened.page
    page.get_by_label("Time", exact=True).fill("30")
    wait_for_videos(page)
    assert times(page) == pytest.approx([middle(30), middle(30)])
    page.get_by_label("Time", exact=True).fill(
        "80"
    )  # the first has 49 frames, and stays at its last
    wait_for_videos(page)
    assert times(page) == pytest.approx([middle(SHORT - 1), middle(80)])
    assert (
        page.get_by_label("Time", exact=True).get_attribute("aria-valuetext") == "3.33 s · frame 80"
    )
    page.locator("#stage").focus()
    for key, expected in (("ArrowRight", 81), ("ArrowLeft", 80), ("Home", 0), ("End", LONG - 1)):
        page.keyboard.press(key)
        assert frame(page) == expected
    # What is shown is that frame: the bar has come to where it was drawn.
    page.get_by_label("Time", exact=True).fill("24")
    wait_for_videos(page)
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    bright = page.evaluate(
        "() => { const video = document.querySelectorAll('.take video')[1];"
        "const canvas = document.createElement('canvas'); canvas.width = 64; canvas.height = 48;"
        "const pen = canvas.getContext('2d'); pen.drawImage(video, 0, 0);"
        "const row = pen.getImageData(0, 24, 64, 1).data;"
        "return Array.from({length: 64}, (_, x) => row[4 * x]).filter((v) => v > 127).length; }"
    )
    assert bright == pytest.approx(64 * 25 // LONG, abs=2)


def test_prompts_seeds_and_what_is_known_of_a_video(
    opened: Visit, made: tuple[Home, Evaluation, dict[str, Path]]
) -> None:
    page = opened.page
    _, found, _ = made
    assert page.locator("#stage blockquote").inner_text() == "A red car passes."
    assert page.locator("#stage .stage-words img").count() == 1
    assert page.locator(".take").count() == 2
    page.get_by_label("Seed").select_option("1")
    wait_for_videos(page)
    second = next(v for v in found.videos if (v.prompt, v.variant, v.seed) == ("plain", 0, 1))
    words = page.locator(".take").first.inner_text()
    for result in second.metrics.values():
        assert f"{100 * result.value:.2f}" in words
    page.locator("#stage").focus()
    page.keyboard.press("n")
    assert page.locator("#stage blockquote").inner_text() == HOSTILE
    assert not page.get_by_label("Seed").is_visible()
    page.keyboard.press("p")
    page.keyboard.press("p")  # round to the last
    assert page.locator("#stage blockquote").inner_text() == PROMPTS[-1].text
    page.get_by_label("Prompt", exact=True).select_option("3")
    assert page.locator("#stage .note").inner_text().startswith(PROMPTS[3].id)


def test_hostile_words_are_shown_and_not_run(opened: Visit) -> None:
    page = opened.page
    page.locator("#stage").focus()
    page.keyboard.press("n")
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0
    # It is the worst by every metric, so it is named there too.
    named = page.locator(".extreme li:first-child").all_inner_texts()
    assert sum(HOSTILE[:50] in words for words in named) == len(METRICS)
    policy = page.locator("meta[http-equiv]").get_attribute("content") or ""
    assert "default-src 'none'" in policy
    assert "media-src data:;" in policy
    assert "unsafe" not in policy


def test_best_and_worst_lead_to_their_videos(
    opened: Visit, made: tuple[Home, Evaluation, dict[str, Path]]
) -> None:
    page = opened.page
    _, found, _ = made
    worst = min(found.videos, key=lambda one: one.metrics["proxy_motion_smoothness"].value)
    column = page.locator(".extreme", has_text="Proxy motion smoothness")
    button = column.locator(".jump").first
    value = 100 * worst.metrics["proxy_motion_smoothness"].value
    assert button.inner_text() == f"{value:.2f}"
    button.click()
    assert page.locator("#stage .note").inner_text().startswith(worst.prompt)
    chosen = page.locator(".take.chosen")
    assert chosen.count() == 1
    assert chosen.get_attribute("data-entry") == str(worst.variant)


def test_tables_say_what_was_found(
    opened: Visit, made: tuple[Home, Evaluation, dict[str, Path]]
) -> None:
    page = opened.page
    _, found, _ = made
    rows = page.locator("#numbers table").first.locator("tbody tr").all_inner_texts()
    for row, words in zip(found.variants, rows, strict=True):
        assert row.label in words
        for estimate in row.metrics.values():
            assert f"{estimate.mean:.2f}" in words
            assert f"{estimate.low:.1f}–{estimate.high:.1f}" in words
    cells = page.locator("#differences tbody td")
    kinds = cells.evaluate_all("cells => cells.map((cell) => cell.className)")
    assert kinds == ["resolved" if one.resolved else "open" for one in found.differences]
    assert kinds[0] == "resolved"
    assert page.locator(".banner").inner_text().startswith("Surrogate metrics.")
    assert page.locator("#cost figure").count() == len(METRICS)
    assert page.locator("#drift figure").count() == 2 * len(METRICS)


def test_large_videos_are_linked_and_play_from_their_home(
    browser: Browser,
    made: tuple[Home, Evaluation, dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_eval, "EMBEDDED_BYTES", 1000)
    home, found, _ = made
    wide = [
        dataclasses.replace(
            one,
            metrics=one.metrics | {f"proxy_more_{n}": one.metrics[METRICS[0]] for n in range(4)},
        )
        for one in found.videos
    ]
    other = evaluation(PROMPTS, wide, name="made-up-1")
    written = write_page(home, other, found, {})
    assert not written.embedded
    assert written.bytes < 200_000
    with browser.new_context(color_scheme="dark", viewport={"width": 390, "height": 800}) as phone:
        for opened in ready(phone, Path(written.page)):
            page = opened.page
            assert page.locator(".take").count() == 4
            page.get_by_label("Time", exact=True).fill("20")
            wait_for_videos(page)
            assert times(page) == pytest.approx([middle(20)] * 4)
            played = [url for url in opened.requests if url.endswith(".mp4")]
            assert all(url.startswith("file:") for url in played)
            assert "A minus B" in page.locator("#differences").inner_text()
            # Nothing is wider than the screen, but for tables that scroll by themselves.
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert max(json.loads(f"[{dark.removeprefix('rgb(').removesuffix(')')}]")) < 60


def test_a_missing_video_is_said_and_nothing_else_suffers(
    browser: Browser,
    made: tuple[Home, Evaluation, dict[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_eval, "EMBEDDED_BYTES", 1000)
    home, found, _ = made
    gone = evaluation(PROMPTS, found.videos, name="made-up-2")
    page_path = Path(write_page(home, gone, None, {}).page)
    lost = home.generated / "plain-0-0"
    lost.rename(home.generated / "elsewhere")
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(page_path.as_uri())
            page.locator(".take .broken").wait_for()
            page.locator("#stage").focus()
            page.keyboard.press("Space")
            page.wait_for_function(
                "() => Number(document.getElementById('stage').dataset.frame) >= 3"
            )
    finally:
        (home.generated / "elsewhere").rename(lost)
