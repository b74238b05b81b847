"""What goes wrong once is mended by the next run, and costs only what it went wrong with."""

import functools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from curation.catalog.store import Catalog
from curation.records import VideoRow
from curation.scan import scan_film
from curation.traces import EVIDENCE, FILM, FRAMES, SAMPLES, Traces, trace_folder
from pipelines.curate import curate
from pipelines.engine import (
    Engine,
    ItemT,
    LocalEngine,
    Outcome,
    SerialEngine,
    Stage,
    StateT,
    ValueT,
)
from pipelines.inputs import list_films
from pipelines.job import Silence, started
from pipelines.settings import Home
from pipelines.steps import ingest, shards
from pipelines.steps.choose import choose
from pipelines.steps.identify import identify
from tests.pipelines.stages_for_healing import (
    AS_LOST,
    BAD,
    dies_when_scanned,
    try_sample_or_fall,
    write_shard_or_fall,
    write_shard_or_lose,
)
from tests.pipelines.tiny_library import (
    SHOTS,
    catalog_rows,
    config,
    published_files,
    render,
    request,
)

ALL_OK = {"ok": len(SHOTS)}
OTHER_DERIVATION = "derive.clips.max_seconds=2"
ONE_SHARD = ("multishot.share=0", "split.val_share=0", "pack.shard_bytes=100000000")
"""Settings under which all samples are neighbours in one worker."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


class PackingInAWorker:
    """Packs in a process that may fall, and does the rest here: that is quicker."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        engine: Engine = LocalEngine(1) if stage.name in ("pack", "try") else SerialEngine()
        return engine.map(stage, items)


def ingest_films(
    films: Path, home: Home, *settings: str, engine: Engine | None = None, retry: bool = False
) -> ingest.Ingested:
    """The first steps of a run: identify, scan, derive."""
    of = config(*settings)
    with started(home, engine or SerialEngine(), Silence()) as job:
        library = identify(job, list_films([str(films)]))
        work = ingest.pending(job, library, of.scan, of.derive, retry=retry)
        return ingest.ingest(job, work, of.scan, of.derive, of.ingest)


def statuses(home: Home) -> dict[str, int]:
    with Catalog.open(home.catalog()) as catalog:
        return dict(Counter(row.status for row in catalog.rows(VideoRow)))


def row_of(home: Home, name: str) -> VideoRow:
    with Catalog.open(home.catalog()) as catalog:
        (row,) = (row for row in catalog.rows(VideoRow) if Path(row.uri).name == name)
    return row


def traces_of(home: Home, name: str) -> Path:
    row = row_of(home, name)
    return trace_folder(home.films, row.video_id, row.scan_fingerprint)


def films_chosen(home: Home) -> set[str]:
    """video_ids of the films whose clips a policy without scores is held against."""
    of = config("select.technical.min=none")
    with Catalog.open(home.catalog()) as catalog:
        licences = dict.fromkeys(row.video_id for row in catalog.rows(VideoRow))
        chosen = choose(catalog, licences, of.scan, of.derive, of.select)
    return set(chosen.clips["video_id"].to_pylist())


def test_worker_killed_between_traces_and_answer(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_work_on", dies_when_scanned)
        ingest_films(films, home, engine=LocalEngine(1))
    assert statuses(home) == {"ok": len(SHOTS) - 1, "quarantined": 1}
    hurt = row_of(home, BAD)
    assert (hurt.reason, hurt.transient) == ("derive_crash", True)
    assert ingest_films(films, home, retry=True).decodes == 0
    assert statuses(home) == ALL_OK
    assert len(films_chosen(home)) == len(SHOTS)
    rows = catalog_rows(home)
    assert ingest_films(films, home, retry=True) == ingest.Ingested(0, 0, 0)
    assert catalog_rows(home) == rows


def test_another_derivation_that_fails_spoils_nothing(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    ingest_films(films, home)
    before = films_chosen(home)
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_work_on", dies_when_scanned)
        ingest_films(films, home, OTHER_DERIVATION, engine=LocalEngine(1))
    # Its clips of the first derivation are stored still, and there is no row to pack them by.
    assert films_chosen(home) == before - {row_of(home, BAD).video_id}
    for settings in ((), (OTHER_DERIVATION,)):
        assert ingest_films(films, home, *settings).decodes == 0
        assert statuses(home) == ALL_OK
        assert films_chosen(home) == before


def test_damaged_traces_are_made_again(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ingest_films(films, home)
    folder = traces_of(home, BAD)
    sound = (folder / FRAMES).read_bytes()
    damages: list[Callable[[], object]] = [
        lambda: shutil.rmtree(folder),
        *(functools.partial(os.truncate, folder / name, 0) for name in (SAMPLES, EVIDENCE, FILM)),
        lambda: os.truncate(folder / FRAMES, len(sound) // 2),
        # What a file system may leave of a file that was never synced.
        lambda: (folder / FRAMES).write_bytes(bytes(len(sound))),
    ]
    for damage in damages:
        damage()
        assert ingest_films(films, home) == ingest.Ingested(scanned=1, derived=0, decodes=1)
        assert Traces(folder).whole()
        assert (folder / FRAMES).read_bytes() == sound
        assert statuses(home) == ALL_OK
    assert ingest_films(films, home) == ingest.Ingested(0, 0, 0)


def test_samples_that_fell_their_worker_cost_themselves(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ordinary = Home(tmp_path / "home"), Home(tmp_path / "ordinary")
    monkeypatch.setattr(shards, "write_shard", write_shard_or_fall)
    monkeypatch.setattr(shards, "try_sample", try_sample_or_fall)
    summary = curate(request(films, *ONE_SHARD), home, PackingInAWorker(), Silence())
    assert summary.dataset is not None
    assert summary.dataset.lost == {
        error.reason: len(SHOTS[name]) for name, error in AS_LOST.items()
    }
    assert summary.dataset.samples == len(SHOTS["third.mp4"])
    monkeypatch.setattr(shards, "write_shard", write_shard_or_lose)
    curate(request(films, *ONE_SHARD), ordinary, SerialEngine(), Silence())
    assert published_files(home) == published_files(ordinary)


def test_traces_that_are_gone_when_packing_cost_their_film_only(
    films: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")

    class Vandal(Silence):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the protocol's
            if name == "pack":
                os.truncate(traces_of(home, BAD) / FRAMES, 0)

    summary = curate(request(films, *ONE_SHARD), home, SerialEngine(), Vandal())
    assert summary.dataset is not None
    assert summary.dataset.lost == {"traces_unreadable": len(SHOTS[BAD])}
    assert summary.dataset.samples == sum(map(len, SHOTS.values())) - len(SHOTS[BAD])
    manifest = json.loads((Path(summary.dataset.folder) / "manifest.json").read_text())
    assert all(lost["transient"] for lost in manifest["lost"])
    assert str(tmp_path) not in str(manifest["lost"])


def test_traces_are_on_the_disk_before_they_are_visible(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    unsynced: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def noted_rename(source: Path, target: Path) -> Path:
        files = (source, *source.iterdir())
        unsynced.extend(file.name for file in files if file.stat().st_ino not in synced)
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    folder = tmp_path / "films" / "traces"
    scan_film(films / BAD, folder, video_id="0" * 32, uri=BAD, run_id="", config=config().scan)
    assert Traces(folder).whole()
    assert not unsynced
    assert folder.parent.stat().st_ino in synced
