"""The gallery and the details of the report: how they are used, and what they must not run."""

from curation.captioning import tags
from curation.catalog.store import Catalog
from pipelines.settings import Home
from tests.pipelines.report_page.visits import HOSTILE, HOSTILE_FILM, Visit, clip_rows, show_gallery


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
