"""Takedown of a film that is hard to find, and of what lies about of it."""

import json
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.catalog.datasets import publish_dataset
from curation.catalog.store import Catalog
from curation.errors import CurationError
from curation.records import ClipRow, SampleRow, SourceRow, VideoRow
from pipelines.forget import Forgotten, forget
from pipelines.job import Silence
from pipelines.locks import held
from pipelines.settings import Home
from tests.curation.rows_for_catalog import later, plain, publication, source
from tests.pipelines.listening import Listener

OLD, NEW = "0" * 32, "1" * 32
WORDS = "what a manifest said of the film"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def fill(home: Home, **tables: list[object]) -> None:
    with Catalog.open(home.catalog()) as catalog:
        for name, rows in tables.items():
            catalog.append(name, rows)


def barred(home: Home) -> list[str]:
    with Catalog.open(home.catalog()) as catalog:
        found: list[str] = catalog.read("takedowns")["video_id"].to_pylist()
    return found


def test_a_film_at_whose_path_another_lies_now(home: Home) -> None:
    replaced = source("a.mp4", video_id=OLD, caption=WORDS)
    fill(home, sources=[replaced, source("a.mp4", video_id=NEW, recorded_at=later(1))])
    forget(home, OLD, "rights", Silence())
    assert barred(home) == [OLD]
    with Catalog.open(home.catalog()) as catalog:
        assert [row.video_id for row in catalog.rows(SourceRow)] == [NEW]
    assert WORDS not in stored_captions(home)


@pytest.mark.parametrize(
    ("table", "row_type"), [("videos", VideoRow), ("clips", ClipRow), ("samples", SampleRow)]
)
def test_a_film_that_one_table_alone_knows(home: Home, table: str, row_type: type) -> None:
    fill(home, **{table: [plain(row_type, video_id=OLD)]})
    forget(home, OLD, "rights", Silence())
    assert barred(home) == [OLD]
    with pytest.raises(CurationError, match="no film"):
        forget(home, NEW, "typo", Silence())


def test_the_words_of_a_manifest_go_and_the_file_stays_known(home: Home) -> None:
    ours = source("a.mp4", video_id=OLD, caption=WORDS)
    other = source("b.mp4", video_id=NEW, caption="other words")
    fill(home, sources=[ours, other])
    for _ in range(2):
        forget(home, OLD, "rights", Silence())
        with Catalog.open(home.catalog()) as catalog:
            captions = {row.video_id: row.caption for row in catalog.rows(SourceRow)}
        assert captions == {OLD: None, NEW: "other words"}
        assert stored_captions(home) == {None, "other words"}


def stored_captions(home: Home) -> set[str | None]:
    """In all data files of `sources`, whether or not a snapshot still names them."""
    files = list((home.root / "warehouse").glob("**/sources/data/*.parquet"))
    assert files
    return {caption for file in files for caption in pq.read_table(file)["caption"].to_pylist()}


def version_folder(home: Home, name: str, publish_id: str) -> Path:
    folder = home.datasets / "films" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"publish_id": publish_id}))
    (folder / "train-000000.tar").write_bytes(b"pictures of the film")
    return folder


def test_what_killed_runs_had_built_goes_and_versions_stay(home: Home) -> None:
    with Catalog.open(home.catalog()) as catalog:
        publish_dataset(catalog, *publication("films", "p1"))
        _, samples, _ = publication("films", "p2")  # its append to `datasets` did not land
        catalog.append("samples", samples)
    published = version_folder(home, "1", "p1")
    placed = version_folder(home, "2", "p2")
    building = version_folder(home, ".building-p3", "p3")
    assert forget(home, "film", "rights", Silence()).versions == ["films@1"]
    assert (published.exists(), placed.exists(), building.exists()) == (True, False, False)


def test_a_version_in_the_making_is_waited_for_and_listed(home: Home) -> None:
    listener, found = Listener(), list[Forgotten]()
    with Catalog.open(home.catalog()) as catalog:
        publish_dataset(catalog, *publication("films", "p1"))

    def take_down() -> None:
        found.append(forget(home, "film", "rights", listener))

    thread = threading.Thread(target=take_down)
    with held(home.lock, "another run on this home", Silence().say):
        building = version_folder(home, ".building-p2", "p2")
        thread.start()
        assert listener.waits.wait(60)
        assert "waiting for another run on this home (process" in listener.heard
        assert building.exists() and not barred(home), "nothing is done to what is being made"
        made = building.rename(building.with_name("2"))
        with Catalog.open(home.catalog()) as catalog:
            publish_dataset(catalog, *publication("films", "p2"))
    thread.join(60)
    assert found[0].versions == ["films@1", "films@2"]
    assert made.exists() and barred(home) == ["film"]
