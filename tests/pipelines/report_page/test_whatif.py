"""The what-if of the report: it predicts what a policy keeps, and says how to make it real."""

import dataclasses
import itertools
import shlex
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser

from benchmarks.report import synthetic_page, synthetic_version
from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.report import collect as collecting
from curation.selection import Range, select
from curation.video.geometry import packed_size
from pipelines.preview import preview
from pipelines.settings import Home
from tests.pipelines.report_page.visits import (
    Visit,
    clip_rows,
    predicted,
    set_bound,
    visit,
    wait_for_frame,
)


def assignments(command: str) -> list[str]:
    words = shlex.split(command)
    return [after for word, after in itertools.pairwise(words) if word == "--set"]


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
