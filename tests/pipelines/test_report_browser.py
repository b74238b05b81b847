"""The report in a real browser: what it predicts, how it is used, and what it must not run."""

import dataclasses
import itertools
import json
import shlex
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.report import synthetic_page, synthetic_version
from curation.captioning import tags
from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.report import collect as collecting
from curation.selection import Range, select
from curation.video.geometry import packed_size
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.settings import Home
from tests.pipelines.tiny_library import render, request

HOSTILE = "</script><img src=x onerror=window.pwned=1><b>A red car</b> passes & turns."
HOSTILE_FILM = "<img src=x onerror=window.pwned=2>.mp4"
POLICY = (
    "multishot.share=1", "multishot.min_seconds=1", "split.val_share=0.3",
    "select.contrast.min=31",  # the second film's shot measures 30.6, the others more
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Visit:
    """A report that is open, and what went on meanwhile."""

    page: Page
    errors: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A curated library in which a caption and a film's name are hostile."""
    films = render(tmp_path_factory.mktemp("films"))
    (films / "second.mp4").rename(films / HOSTILE_FILM)
    (films / "first.txt").write_text(HOSTILE, encoding="utf-8")
    found = Home(tmp_path_factory.mktemp("home with space"))
    curate(request(films, *POLICY), found, SerialEngine(), Silence())
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: the page cannot be looked at")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


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


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@pytest.fixture
def opened(tab: BrowserContext, home: Home) -> Iterator[Visit]:
    yield from looked_at(tab, home.reports / "tiny@1" / "report.html")


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


def assignments(command: str) -> list[str]:
    words = shlex.split(command)
    return [after for word, after in itertools.pairwise(words) if word == "--set"]


def set_bound(page: Page, name: str, end: str, value: str) -> None:
    field = page.locator(f'[data-name="{name}"] .bound').nth(0 if end == "min" else 1)
    field.fill(value)
    field.press("Tab")
    wait_for_frame(page)


def clip_rows(home: Home) -> list[dict[str, Any]]:
    with Catalog.open(home.catalog()) as catalog:
        return catalog.read("clips").to_pylist()


def test_the_page_predicts_what_preview_counts(opened: Visit, home: Home) -> None:
    page = opened.page
    page.locator("#open-thresholds-part summary").click()
    motions = sorted(row["motion_magnitude"] for row in clip_rows(home))
    seconds = sorted({row["seconds"] for row in clip_rows(home)})
    # Beyond a clip's value by less than float32 can tell: the clip stays.
    beyond = {"min": 1 + 1e-9, "max": 1 - 1e-9}
    exactly = [
        [("motion", end, repr(motion * factor))]
        for motion in motions
        for end, factor in beyond.items()
    ]
    above = np.nextafter(np.float32(motions[2]), np.float32(9)).item()
    policies: list[list[tuple[str, str, str]]] = [
        [],
        *[[("motion", "min", ""), ("motion", "max", ""), *policy] for policy in exactly],
        [("motion", "max", ""), ("motion", "min", repr(above))],
        [("motion", "min", ""), ("seconds", "min", repr(seconds[-1]))],
        [("clarity", "max", "900"), ("luma", "min", "92"), ("highlights", "max", "0.0001")],
        [("coherence", "min", "0.9"), ("luma", "min", "")],
    ]
    for policy in policies:
        for name, end, value in policy:
            set_bound(page, name, end, value)
        clips, hours, _ = predicted(page)
        command = page.locator('[data-show="preview"]').text_content() or ""
        expected = preview(home, "tiny@1", assignments(command)).kept
        assert clips == expected.clips, policy
        assert hours == pytest.approx(expected.hours, rel=1e-12), policy


def test_sliders_move_thresholds_and_are_predicted_too(opened: Visit, home: Home) -> None:
    page = opened.page
    kept_before, _, _ = predicted(page)
    handle = page.locator('[data-name="clarity"] .handle-min')
    handle.focus()
    for _ in range(40):
        page.keyboard.press("PageUp")
        clips, _, _ = predicted(page)
        if clips < kept_before:
            break
    assert clips < kept_before
    assert handle.get_attribute("aria-valuetext") not in (None, "open")
    command = page.locator('[data-show="preview"]').text_content() or ""
    assert any(change.startswith("select.clarity.min=") for change in assignments(command))
    assert clips == preview(home, "tiny@1", assignments(command)).kept.clips
    page.get_by_role("button", name="Back to this version").click()
    assert predicted(page)[0] == kept_before
    handle.focus()
    page.keyboard.press("Home")
    wait_for_frame(page)
    assert handle.get_attribute("aria-valuetext") == "open"


def test_frames_and_buckets_are_counted_from_the_clips(opened: Visit, home: Home) -> None:
    """Frame by frame: every stride-th of each clip in a sample, in runs of 4n+1."""
    page = opened.page
    set_bound(page, "clarity", "min", "none")
    with Catalog.open(home.catalog()) as catalog:
        samples = catalog.read("samples").to_pylist()
    kept = {clip for row in samples for clip in row["clip_ids"]}
    rows = [row for row in clip_rows(home) if row["clip_id"] in kept]
    clips, _, usable = predicted(page)
    assert clips == len(rows)
    for rate, counted in zip((6, 12, 24), usable, strict=True):
        shown = [len(range(0, row["frame_count"], 24 // rate)) for row in rows]
        assert counted == sum(max(n for n in range(length + 1) if n % 4 == 1) for length in shown)
    page.locator(".bucket-part summary").click()
    cells = page.locator(".buckets tbody tr td:nth-child(2)").all_text_contents()
    assert sum(int(cell) for cell in cells) == len(rows)
    assert {packed_size(row["width"], row["height"], None) for row in rows} == {(192, 128)}


def test_the_command_makes_the_policy_real(opened: Visit, home: Home) -> None:
    page = opened.page
    set_bound(page, "clarity", "min", "33")
    set_bound(page, "motion", "max", "")
    words = shlex.split(page.locator('[data-show="curate"]').text_content() or "")
    assert words[:2] == ["tempo", "curate"]
    assert words[words.index("--home") + 1] == str(home.root)
    assert words[words.index("--dataset") + 1] == "tiny"
    changes = set(assignments(shlex.join(words)))
    assert {"select.clarity.min=33", "select.motion.max=none", "select.contrast.min=31"} <= changes
    # What the version's run changed besides thresholds goes with them.
    assert {"multishot.share=1.0", "split.val_share=0.3", "pack.shard_bytes=1000000"} <= changes
    from pipelines.recipes.curation import curate_offline
    from pipelines.settings import with_overrides

    config = with_overrides(curate_offline(), sorted(changes))
    assert config.select.clarity.min == 33
    assert config.split.val_share == 0.3


def test_the_command_is_copied(browser: Browser, home: Home) -> None:
    report = home.reports / "tiny@1" / "report.html"
    granted = {"permissions": ["clipboard-read", "clipboard-write"]}
    for opened in visit(browser, report, **granted):
        page = opened.page
        set_bound(page, "clarity", "min", "41")
        page.get_by_role("button", name="Copy as --set").click()
        page.get_by_text("Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator('[data-show="curate"]').text_content()
        assert "--set select.clarity.min=41" in copied


def test_hostile_words_are_shown_and_not_run(opened: Visit) -> None:
    page = opened.page
    show_gallery(page)
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".tile-name").filter(has_text=HOSTILE_FILM).count() == 1
    page.locator(".tile", has_text="red car").first.click()
    assert page.locator("#details blockquote").inner_text().startswith(HOSTILE)
    page.keyboard.press("Escape")
    page.locator(".tile", has_text=HOSTILE_FILM).first.click()
    assert page.locator("#details-title").inner_text() == HOSTILE_FILM
    assert page.evaluate("window.pwned") is None
    policy = page.locator("meta[http-equiv]").get_attribute("content") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_policy_of_the_page_stops_a_script_that_got_in(opened: Visit) -> None:
    """Escaping is the first wall; this is the second."""
    opened.page.evaluate(
        "() => { const script = document.createElement('script');"
        "script.textContent = 'window.pwned = 3'; document.body.append(script); }"
    )
    assert opened.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in error for error in opened.errors)
    opened.errors.clear()


def test_the_gallery_filters_sorts_and_scrubs(opened: Visit, home: Home) -> None:
    page = opened.page
    show_gallery(page)
    rows = clip_rows(home)
    assert page.locator(".tile").count() == len(rows)
    page.locator("select[name=sort]").select_option("clarity")
    by_clarity = [row["clip_id"] for row in sorted(rows, key=lambda row: row["clarity_mean"])]
    shown = page.locator(".tile").evaluate_all("tiles => tiles.map((t) => t.dataset.clip)")
    assert shown == by_clarity
    page.locator("input[name=order]").check()
    shown = page.locator(".tile").evaluate_all("tiles => tiles.map((t) => t.dataset.clip)")
    assert shown == by_clarity[::-1]
    page.locator("select[name=film]").select_option(HOSTILE_FILM)
    assert page.locator(".tile").count() == 1
    page.locator("select[name=film]").select_option("")
    page.locator("input[value=rejected]").check(force=True)
    rejected = page.locator(".tile").count()
    assert page.locator(".dot-rejected").count() == rejected == 1
    assert page.locator(".tile-why").inner_text() == "Too flat"
    page.locator("input[value=all]").check(force=True)
    page.locator("select[name=kind]").select_option("multi")
    with Catalog.open(home.catalog()) as catalog:
        multi = [row for row in catalog.read("samples").to_pylist() if row["kind"] == "multi"]
    assert multi
    assert page.locator(".tile").count() == len({clip for row in multi for clip in row["clip_ids"]})


def test_a_strip_follows_the_pointer_and_the_arrow_keys(opened: Visit) -> None:
    page = opened.page
    show_gallery(page)
    tile = page.locator(".tile").first
    strip = tile.locator(".strip")
    tile.focus()
    before = int(strip.get_attribute("data-frame") or -1)
    page.keyboard.press("ArrowRight")
    assert int(strip.get_attribute("data-frame") or -1) == before + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert int(strip.get_attribute("data-frame") or -1) == before - 1
    box = strip.bounding_box()
    assert box is not None
    places = []
    for share in (0.02, 0.5, 0.98):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        places.append(int(strip.get_attribute("data-frame") or -1))
    assert places[0] == 0
    assert places[0] < places[1] < places[2]


def test_details_hold_all_that_is_known(opened: Visit, home: Home) -> None:
    page = opened.page
    show_gallery(page)
    tile = page.locator(".tile").nth(1)
    clip_id = tile.get_attribute("data-clip")
    row = next(row for row in clip_rows(home) if row["clip_id"] == clip_id)
    tile.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#details")
    words = dialog.inner_text()
    with Catalog.open(home.catalog()) as catalog:
        samples = [
            sample
            for sample in catalog.read("samples").to_pylist()
            if clip_id in sample["clip_ids"]
        ]
    assert all(sample["sample_id"] in words and sample["shard"] in words for sample in samples)
    assert f"frames {row['start_frame']}–{row['end_frame'] - 1}" in words
    assert clip_id in words
    clarity = dialog.locator("tr", has_text="Clarity").first.inner_text()
    assert f"{row['clarity_mean']:.4g}" in clarity
    page.keyboard.press("PageDown")
    assert clip_id not in dialog.inner_text()
    page.keyboard.press("PageUp")
    assert clip_id in dialog.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_multi_shot_samples_are_drawn_with_their_cuts(opened: Visit, home: Home) -> None:
    page = opened.page
    show_gallery(page)
    with Catalog.open(home.catalog()) as catalog:
        multi = [row for row in catalog.read("samples").to_pylist() if row["kind"] == "multi"]
    for sample in multi:
        drawn = page.locator(f'[data-sample="{sample["sample_id"]}"]')
        assert drawn.locator("li p").all_inner_texts() == tags.split(sample["caption"])
        cuts = drawn.locator(".cut-time").all_inner_texts()
        assert cuts == [f"{72 * k / 24:.1f} s" for k in range(len(sample["clip_ids"]))]


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


def test_everything_that_acts_has_a_name(opened: Visit) -> None:
    page = opened.page
    show_gallery(page)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a, svg[role=img]')]
            .filter((e) => !(e.innerText ?? '').trim() && !e.ariaLabel && !e.labels?.length)
            .map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_drawn_sample_says_so_and_how_sure_it_is(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MAX_EMBEDDED", 500)
    version = synthetic_version(4000)
    _, html = synthetic_page(version, pictures=False)
    report = tmp_path / "report.html"
    report.write_text(html, encoding="utf-8")
    for opened in visit(browser, report):
        page = opened.page
        words = page.locator("#whatif .intro").inner_text()
        assert "random draw of 500 of 4\u202f000 clips" in words
        clips, hours, _ = predicted(page)
        half = page.locator('[data-show="clips-error"]').inner_text()
        assert half.startswith("± ")
        error = float(half.removeprefix("± ").replace("\u202f", ""))
        kept = version.selection.kept
        # The interval that is printed, against the textbook one for a share.
        share = clips / 4000
        deviation = 4000 * np.sqrt(share * (1 - share) / 499 * (1 - 500 / 4000))
        assert error == pytest.approx(1.96 * deviation, abs=1)
        assert abs(clips - kept.sum()) < 2 * error
        assert hours == pytest.approx(version.seconds[kept].sum() / 3600, rel=0.2)


def test_what_is_missing_fails_a_threshold_that_is_not_open(
    browser: Browser, tmp_path: Path
) -> None:
    version = synthetic_version(300)
    place = version.clips.column_names.index("motion_coherence")
    gaps = [
        None if row % 3 == 0 else value
        for row, value in enumerate(version.clips["motion_coherence"].to_pylist())
    ]
    clips = version.clips.set_column(place, "motion_coherence", pa.array(gaps, pa.float64()))
    version = dataclasses.replace(version, clips=clips, selection=select(clips, version.policy))
    report = tmp_path / "report.html"
    report.write_text(synthetic_page(version, pictures=False)[1], encoding="utf-8")
    for opened in visit(browser, report):
        page = opened.page
        assert predicted(page)[0] == version.selection.kept.sum()
        page.locator("#open-thresholds-part summary").click()
        set_bound(page, "coherence", "min", "0")
        closed = dataclasses.replace(version.policy, coherence=Range(min=0.0))
        expected = select(clips, closed).kept.sum()
        assert predicted(page)[0] == expected < version.selection.kept.sum()


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


def test_float32_columns_travel_exactly(opened: Visit, home: Home) -> None:
    values = opened.page.evaluate(
        "() => Array.from(typed(JSON.parse(document.getElementById('whatif-data').textContent)"
        ".columns.motion, Float32Array))"
    )
    with Catalog.open(home.catalog()) as catalog:
        derived = resolve(catalog, "tiny").version
        rows = catalog.read("clips").sort_by("clip_id")["motion_magnitude"].to_pylist()
    assert derived == 1
    assert [struct.pack("<f", value) for value in values] == [struct.pack("<f", v) for v in rows]
