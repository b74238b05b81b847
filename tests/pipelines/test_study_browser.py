"""A whole study in a real browser: made, served, killed, rated by three people, and worked out."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from scipy import stats

from curation.video.encode import FilmWriter
from curation.video.film import Film
from evaluation.study.design import schedule
from evaluation.study.document import Exclusion, Mode, load
from evaluation.study.scales import APPENDIX_C
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.study import invite, report
from pipelines.study_new import StudyRequest, new_study
from pipelines.study_videos import material_in
from tests.conftest import REPOSITORY
from tests.pipelines.tiny_library import HEIGHT, WIDTH, shot
from tests.servers import dying_with_us

SYSTEMS = ("ours", "base", "other")
ITEMS, FRAMES = 4, 12
TASKS = len(SYSTEMS) * ITEMS + 3
"""Of a rater: every video, two repeats, one gold."""
HOSTILE = "<img src=x onerror=window.pwned=1> A red wall & more."
NAMES = tuple(dimension.name for dimension in APPENDIX_C)


@dataclasses.dataclass
class Server:
    """`tempo study serve` as a process, which a test may kill."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = ["study", "serve", str(self.folder), "--url", self.base, "--port", str(self.port)]
        self.process = subprocess.Popen(
            dying_with_us([sys.executable, "-m", "pipelines", *command]),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(600):
            assert self.process.poll() is None, "the server ended"
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos of half a second in one study; sources differ in size, rate and name."""
    root = tmp_path_factory.mktemp("study with space")
    for number, system in enumerate(SYSTEMS):
        (root / system).mkdir()
        for item in range(ITEMS):
            film = root / system / f"wall {item}.mp4"
            with FilmWriter(film, WIDTH, HEIGHT) as writer:
                for picture in shot(10 * number + item, FRAMES):
                    writer.write_rgb(picture)
            film.with_suffix(".txt").write_text(HOSTILE if item == 0 else f"Wall number {item}.")
    request = StudyRequest(
        folder=root / "study",
        material=material_in({system: root / system for system in SYSTEMS}, None),
        title="Walls that drift",
        repeats=2,
        frozen_gold=1,
        exclusion=Exclusion(max_repeat_gap=4.0),
    )
    return new_study(request, SerialEngine(), Silence()).folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as running:
        yield running


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Server(folder, port)
    running.start()
    try:
        yield running
    finally:
        running.kill()


def opinion(rater: int, prompt: str, task: int, dimension: str) -> int:
    """What a simulated person says. The last of the three calls motion good whatever they see."""
    seen = rater + 3 * len(prompt) + 7 * task + len(dimension)
    if dimension == "motion_quality":
        return 3 + seen % 3 if rater == 2 else 1 + seen % 2
    return 1 + seen % 5


@contextlib.contextmanager
def person(browser: Browser, server: Server, link: str, **settings: Any) -> Iterator[Page]:
    """Somebody who opened their link; nothing may fail in their browser, or come from elsewhere."""
    errors: list[str] = []
    requests: list[str] = []
    with browser.new_context(**settings) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text))
        page.on("request", lambda asked: requests.append(asked.url))
        page.goto(link)
        page.get_by_role("button", name="Begin").click()
        yield page
    assert [error for error in errors if "resource: net::ERR" not in error] == []
    assert [url for url in requests if not url.startswith(f"{server.base}/")] == []


def wait_for_task(page: Page, task: int | str) -> None:
    page.wait_for_selector(f'html[data-task="{task}"]', state="attached", timeout=60_000)


def watch(page: Page) -> None:
    page.keyboard.press("Space")
    expect(page.locator("#answers input").first).to_be_enabled(timeout=60_000)


def rate_by_keys(page: Page, rater: int, task: int) -> dict[str, int]:
    """Play, one digit for each question, save: no mouse."""
    prompt = page.locator("#prompt").inner_text()
    watch(page)
    said = {name: opinion(rater, prompt, task, name) for name in NAMES}
    for score in said.values():
        page.keyboard.press(str(score))
    page.keyboard.press("Enter")
    return said


def rate_by_touch(page: Page, rater: int, task: int) -> dict[str, int]:
    prompt = page.locator("#prompt").inner_text()
    page.locator(".play").tap()
    expect(page.locator("#answers input").first).to_be_enabled(timeout=60_000)
    said = {name: opinion(rater, prompt, task, name) for name in NAMES}
    for name, score in said.items():
        page.locator(f'[data-name="{name}"] label', has_text=str(score)).tap()
    page.get_by_role("button", name="Save and go on").tap()
    return said


def lose_the_server(page: Page, server: Server) -> dict[str, int]:
    """The server is killed while somebody answers; what they send arrives when it is back."""
    watch(page)
    page.keyboard.press("2")
    server.kill()
    for digit in "244":
        page.keyboard.press(digit)
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Nothing is lost")
    server.start()
    return dict(zip(NAMES, (2, 2, 4, 4), strict=True))


def reload_in_the_middle(page: Page) -> dict[str, int]:
    """What was played and what was entered is still there."""
    watch(page)
    page.keyboard.press("5")
    page.keyboard.press("1")
    page.reload()
    expect(page.locator("#answers input").first).to_be_enabled(timeout=60_000)
    expect(page.locator("input:checked")).to_have_count(2)
    page.locator(f'[data-name="{NAMES[2]}"] label').nth(0).click()
    page.locator(f'[data-name="{NAMES[3]}"] label').nth(2).click()
    page.keyboard.press("Enter")
    return dict(zip(NAMES, (5, 1, 1, 3), strict=True))


def test_three_people_complete_it_and_the_numbers_are_theirs(
    browser: Browser, server: Server, folder: Path
) -> None:
    links = [one.link for one in invite(folder, server.base, count=3)]
    said: dict[tuple[str, int], dict[str, int]] = {}
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    for rater, link in enumerate(links):
        with person(browser, server, link, **(phone if rater == 2 else {})) as page:
            for task in range(TASKS):
                wait_for_task(page, task)
                if (rater, task) == (0, 3):
                    answer = lose_the_server(page, server)
                elif (rater, task) == (1, 5):
                    answer = reload_in_the_middle(page)
                else:
                    rate = rate_by_touch if rater == 2 else rate_by_keys
                    answer = rate(page, rater, task)
                said[f"R{rater + 1:03d}", task] = answer
            wait_for_task(page, "finished")
            assert page.locator("#thanks").is_visible()
            assert page.evaluate("window.pwned") is None
    numbers_are_theirs(folder, said)
    the_owner_sees_them(browser, server, folder)


def numbers_are_theirs(folder: Path, said: dict[tuple[str, int], dict[str, int]]) -> None:
    """Figures of the report, computed anew from what was entered and what was shown."""
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        shown = database.execute("select rater, task, kind, clips, scores from answers").fetchall()
    assert {(rater, task): json.loads(scores) for rater, task, _, _, scores in shown} == said
    made_by = {
        clip: (item.id, system)
        for item in load(folder).items
        for system, clip in item.videos.items()
    }
    rated = [
        (rater, *made_by[json.loads(clips)[0]], said[rater, task])
        for rater, task, kind, clips, _ in shown
        if kind == "main"
    ]
    results, _ = report(folder)
    assert [rater.rater for rater in results.raters if rater.excluded] == ["R003"]
    counted = [one for one in rated if one[0] != "R003"]
    assert (len(rated), len(counted)) == (3 * 12, 2 * 12)
    for system in SYSTEMS:
        for name in NAMES:
            score = results.score(system, name)
            assert score.score.value == pytest.approx(mean_of(counted, system, name))
            assert score.before_exclusion == pytest.approx(mean_of(rated, system, name))
        total = np.mean([mean_of(counted, system, name) for name in NAMES])
        assert results.score(system, "total").score.value == pytest.approx(total)
    for agreed in results.agreement:
        matrix = [
            [
                next(s[agreed.dimension] for r, i, y, s in counted if (r, i, y) == (rater, *unit))
                for unit in made_by.values()
            ]
            for rater in ("R001", "R002")
        ]
        expected = krippendorff.alpha(matrix, level_of_measurement="ordinal")
        assert agreed.alpha.value == pytest.approx(expected)
    for one in results.comparisons:
        if one.outcome != "total":
            gaps = [
                np.mean([s[one.outcome] for _, i, y, s in counted if (i, y) == (item, one.first)])
                - np.mean(
                    [s[one.outcome] for _, i, y, s in counted if (i, y) == (item, one.second)]
                )
                for item in sorted({item for item, _ in made_by.values()})
            ]
            assert one.difference.value == pytest.approx(np.mean(gaps))
            p = stats.wilcoxon(gaps).pvalue if np.any(gaps) else 1.0
            assert one.p == pytest.approx(p)


def mean_of(rated: list[tuple[str, str, str, dict[str, int]]], system: str, name: str) -> float:
    return float(np.mean([scores[name] for _, _, made, scores in rated if made == system]))


def the_owner_sees_them(browser: Browser, server: Server, folder: Path) -> None:
    token = json.loads((folder / "secrets.json").read_text())["owner_token"]
    results, (written, _, _) = report(folder)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{server.base}/owner")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("tbody tr")).to_have_count(3)
        assert page.locator("tbody").inner_text().count(f"{TASKS} of {TASKS}") == 3
        for address in (f"{server.base}/owner/report", written.as_uri()):
            page.goto(address)
            for score in results.scores:
                cell = page.locator(
                    f'td[data-system="{score.system}"][data-outcome="{score.outcome}"]'
                )
                assert cell.inner_text().startswith(f"{score.score.value:.2f}")
            colour = page.locator(".printed td").first.evaluate("e => getComputedStyle(e).color")
            assert colour != page.locator("tbody td").first.evaluate(
                "e => getComputedStyle(e).color"
            )


def test_pairs_are_seen_through_their_sides(browser: Browser, folder: Path) -> None:
    """Somebody prefers the left side in motion, always; and ours in looks, which they cannot see.

    What they answer follows from the sides as the server's database has them.
    """
    root = folder.parent
    material = material_in({system: root / system for system in ("ours", "base")}, None)
    made = new_study(
        StudyRequest(root / "pairs", material, "Pairs", mode=Mode.PAIRWISE),
        SerialEngine(),
        Silence(),
    )
    tasks = schedule(made.study, 0)
    with served(made.folder) as pairs:
        (link,) = (one.link for one in invite(made.folder, pairs.base))
        with person(browser, pairs, link) as page:
            for number, task in enumerate(tasks):
                wait_for_task(page, number)
                watch(page)  # the space bar plays both
                for name in NAMES:
                    ours = "1" if task.systems[0] == "ours" else "3"
                    page.keyboard.press("1" if name == "motion_quality" else ours)
                page.keyboard.press("Enter")
            wait_for_task(page, "finished")
    results, _ = report(made.folder)
    assert len(tasks) == ITEMS
    shares = {one.outcome: one.difference.value for one in results.comparisons}
    left = sum(task.systems[0] == "ours" for task in tasks)
    assert shares["aesthetic_quality"] == 1
    assert shares["motion_quality"] == left / ITEMS
    assert results.left is not None
    assert results.left.value == (ITEMS + 3 * left) / (4 * ITEMS)


def test_a_video_cannot_be_skipped(browser: Browser, server: Server, folder: Path) -> None:
    (invited,) = invite(folder, server.base)
    with person(browser, server, invited.link) as page:
        wait_for_task(page, 0)
        page.keyboard.press("Space")
        page.evaluate("document.querySelector('video').playbackRate = 8")
        page.evaluate("document.querySelector('video').currentTime = 99")
        expect(page.locator("#answers input").first).to_be_enabled(timeout=60_000)
        page.reload()
        wait_for_task(page, 0)
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        question = "select seconds from plays where rater = ?"
        ((seconds,),) = database.execute(question, (invited.rater,)).fetchall()
    assert seconds >= FRAMES / 24 - 0.25


def test_every_video_is_in_one_container(folder: Path) -> None:
    study = load(folder)
    assert len(study.clips) == 13
    heads = set()
    for clip, known in study.clips.items():
        path = folder / "videos" / f"{clip}.mp4"
        film = Film(path)
        assert (film.info.display_size(film.info.whole), known.frames) == ((WIDTH, HEIGHT), FRAMES)
        assert path.stat().st_mtime == 0
        heads.add(path.read_bytes()[:40])
        assert str(folder.parent).encode() not in path.read_bytes()
    names = {path.stem for path in (folder / "videos").iterdir()}
    assert names == set(study.clips)
    assert len(heads) == 1


def test_pages_fit_a_phone_and_follow_the_dark(
    browser: Browser, server: Server, folder: Path
) -> None:
    (link,) = (one.link for one in invite(folder, server.base))
    colours = set()
    for scheme in ("light", "dark"):
        with browser.new_context(
            viewport={"width": 360, "height": 740}, color_scheme=scheme
        ) as context:
            page = context.new_page()
            for address in (link, f"{server.base}/owner"):
                page.goto(address)
                assert page.evaluate("document.documentElement.scrollWidth") == 360
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
    with person(browser, server, link, viewport={"width": 360, "height": 740}) as page:
        wait_for_task(page, 0)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, input, video')]
                .filter((e) => !(e.innerText ?? '').trim() && !e.ariaLabel && !e.labels?.length)
                .map((e) => e.outerHTML)"""
        )
        assert unnamed == []
