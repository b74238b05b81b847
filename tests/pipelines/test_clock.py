"""A clock that jumps by a year, forwards and back, between runs: the later statement counts."""

import datetime as dt
import json
from pathlib import Path

import pytest

from curation.captioning.edits import CAPTIONER
from curation.catalog.store import Catalog
from curation.records import (
    CaptionRow,
    ClipRow,
    DatasetRow,
    RunRow,
    SourceRow,
    VideoRow,
    no_earlier_than,
)
from pipelines.caption import import_captions
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from pipelines.steps.caption import edited_captions
from pipelines.verifications import newest_verification, record_verification
from tests.curation.rows_for_catalog import plain
from tests.pipelines.clocks import REAL, set_clock
from tests.pipelines.tiny_library import render, request


def run(films: Path, home: Home) -> None:
    curate(request(films), home, SerialEngine(), Silence())


def test_what_was_found_out_last_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, home = render(tmp_path / "films"), Home(tmp_path / "home")
    third, whole = films / "third.mp4", (films / "third.mp4").read_bytes()
    third.write_bytes(whole[: len(whole) // 2])  # no index at its end: it cannot be opened
    set_clock(monkeypatch, +365)
    run(films, home)
    third.write_bytes(whole)
    (films / "first.mp4").write_bytes((films / "second.mp4").read_bytes())  # another film there
    set_clock(monkeypatch, -365)
    run(films, home)
    set_clock(monkeypatch, 0)
    with Catalog.open(home.catalog()) as catalog:
        years = sorted(row.started_at.year for row in catalog.rows(RunRow))
        assert years == [REAL().year - 1, REAL().year + 1]  # the clocks were as asked for
        sources = {Path(row.uri).name: row for row in catalog.rows(SourceRow)}
        assert sources["third.mp4"].size == len(whole)
        assert sources["first.mp4"].video_id == sources["second.mp4"].video_id
        stored = catalog.table("sources").scan().to_arrow().num_rows
    run(films, home)
    with Catalog.open(home.catalog()) as catalog:  # nothing new was to be said, and nothing was
        assert catalog.table("sources").scan().to_arrow().num_rows == stored


def test_a_film_that_was_healed_stays_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, home = render(tmp_path / "films"), Home(tmp_path / "home")
    run(films, home)
    with Catalog.open(home.catalog()) as catalog:
        row = next(row for row in catalog.rows(VideoRow) if row.uri.endswith("third.mp4"))
    traces = next(home.films.rglob(f"{row.video_id}-*/frames.parquet"))
    traces.write_bytes(b"damaged")
    set_clock(monkeypatch, +365)
    run(films, home)  # scanned anew, and dated by the clock that is ahead
    traces.write_bytes(b"damaged")
    set_clock(monkeypatch, -365)
    run(films, home)
    set_clock(monkeypatch, 0)
    with Catalog.open(home.catalog()) as catalog:
        (newest,) = catalog.rows(VideoRow, {"video_id": row.video_id})
        runs = sorted(catalog.rows(RunRow), key=lambda run: run.run_id)
    assert newest.run_id == runs[-1].run_id


def test_a_persons_last_words_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, home = render(tmp_path / "films"), Home(tmp_path / "home")
    run(films, home)
    with Catalog.open(home.catalog()) as catalog:
        clip = catalog.rows(ClipRow)[0].clip_id
    for days, words in ((+365, "first words"), (-365, "second words"), (0, "last words")):
        set_clock(monkeypatch, days)
        edits = tmp_path / "edits.csv"
        edits.write_text(f"clip_id,caption\n{clip},{words}\n")
        assert import_captions(home, edits).imported == 1
    with Catalog.open(home.catalog()) as catalog:
        assert edited_captions(catalog)[clip].caption == "last words"
        assert len(catalog.rows(CaptionRow, {"captioner": CAPTIONER})) == 3


def test_the_last_verification_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version: DatasetRow = plain(DatasetRow, publish_id="p", name="tiny", version=1)
    with Catalog.open(Home(tmp_path).catalog()) as catalog:
        for days, frames in ((+365, 1), (-365, 2), (0, 3)):
            set_clock(monkeypatch, days)
            record_verification(catalog, version, frames, [], REAL())
        newest = newest_verification(catalog, version)
        assert newest is not None
        assert newest.frames == 3
        other: DatasetRow = plain(DatasetRow, publish_id="q", name="tiny", version=2)
        record_verification(catalog, other, 4, [], REAL())
        rows = {json.loads(row.summary)["frames"]: row for row in catalog.rows(RunRow)}
    assert rows[4].finished_at < rows[1].finished_at  # no other version's clock concerns it


def test_a_moment_is_moved_only_where_it_would_come_too_early() -> None:
    moment = REAL()
    assert no_earlier_than(moment, None) is moment
    assert no_earlier_than(moment, moment - dt.timedelta(days=365)) is moment
    for earlier in (moment, moment + dt.timedelta(days=365)):
        after = no_earlier_than(moment, earlier)
        assert dt.timedelta(0) < after - earlier < dt.timedelta(microseconds=10)
