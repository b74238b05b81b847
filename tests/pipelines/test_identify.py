"""Which films these are: whatever the order in which they are hashed, and however often killed."""

import http
import http.server
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from curation.catalog.store import Catalog
from curation.identities import video_id_of
from curation.records import SourceRow, TakedownRow, now
from pipelines.engine import Engine, Outcome, SerialEngine, Stage
from pipelines.inputs import list_films
from pipelines.job import Job, Silence
from pipelines.preview import licences_of
from pipelines.settings import Home
from pipelines.steps import identify as step
from pipelines.steps.identify import Library, identify

StateT = TypeVar("StateT")
ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")


class BackwardsEngine(SerialEngine):
    """Completes the last item first."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        yield from super().map(stage, reversed(list(items)))


class DyingEngine(SerialEngine):
    """Is killed before the last item."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        yield from super().map(stage, list(items)[:-1])
        raise KeyboardInterrupt


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two copies of one film, which say different things, and another film."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name, data in (("a.mp4", b"one"), ("b.mp4", b"one"), ("c.mp4", b"two")):
        (folder / name).write_bytes(data)
    (folder / "films.csv").write_text(
        "uri,caption,licence\na.mp4,,CC0-1.0\nb.mp4,words,CC-BY-4.0\nc.mp4,other,\n"
    )
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def run(home: Home, manifest: Path, engine: Engine | None = None) -> Library:
    with Catalog.open(home.catalog()) as catalog:
        job = Job(home, catalog, engine or SerialEngine(), Silence(), "run")
        return identify(job, list_films([str(manifest)]))


def sources(home: Home) -> list[SourceRow]:
    with Catalog.open(home.catalog()) as catalog:
        return sorted(catalog.rows(SourceRow), key=lambda row: row.uri)


def test_the_first_copy_by_uri_speaks_for_a_film_whichever_is_hashed_first(
    films: Path, home: Home
) -> None:
    library = run(home, films / "films.csv", BackwardsEngine())
    film = library.films[video_id_of(films / "a.mp4")]
    assert (film.path, film.uri) == (films / "a.mp4", str(films / "a.mp4"))
    assert (film.caption, film.licence) == ("words", "CC0-1.0")
    assert (library.files, len(library.films), library.duplicates) == (3, 2, 1)


def test_the_copy_that_was_known_before_does_not_come_first(films: Path, home: Home) -> None:
    hidden = films.parent / "a.mp4"
    (films / "a.mp4").rename(hidden)
    run(home, films / "b.mp4")
    hidden.rename(films / "a.mp4")
    library = run(home, films / "films.csv")
    assert library.films[video_id_of(films / "a.mp4")].path == films / "a.mp4"


def test_preview_has_the_licences_of_the_run(films: Path, home: Home) -> None:
    library = run(home, films / "films.csv", BackwardsEngine())
    with Catalog.open(home.catalog()) as catalog:
        licences = licences_of(catalog, [*library.films, "replaced"])
    of_run = {film.video_id: film.licence for film in library.films.values()}
    assert licences == of_run | {"replaced": None}


def test_what_was_hashed_before_a_kill_is_kept(
    films: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_COMMIT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(home, films / "films.csv", DyingEngine())
    assert [Path(row.uri).name for row in sources(home)] == ["a.mp4", "b.mp4"]
    run(home, films / "films.csv")
    assert [row.video_id for row in sources(home)] == [
        video_id_of(films / name) for name in ("a.mp4", "b.mp4", "c.mp4")
    ]


@pytest.fixture
def empty_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An object store that has nothing. One that cannot be reached is asked again for long."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(http.HTTPStatus.NOT_FOUND)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as served:
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{served.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        threading.Thread(target=served.serve_forever, args=(0.02,)).start()
        yield
        served.shutdown()


@pytest.mark.usefixtures("empty_store")
def test_running_again_adds_no_row_not_even_of_what_cannot_be_read(films: Path, home: Home) -> None:
    (films / "films.csv").write_text("uri\na.mp4\nabsent.mp4\ns3://bucket/d.mp4\n")
    first = run(home, films / "films.csv")
    before = sources(home)
    assert run(home, films / "films.csv") == first
    assert sources(home) == before


def test_the_words_of_a_film_that_was_taken_down_are_not_taken_in(films: Path, home: Home) -> None:
    video_id = video_id_of(films / "c.mp4")
    with Catalog.open(home.catalog()) as catalog:
        catalog.append("takedowns", [TakedownRow(video_id, "rights", now())])
    shutil.copy(films / "c.mp4", films / "d.mp4")
    for _ in range(2):
        library = run(home, films / "films.csv")
        assert (library.taken_down, video_id in library.films) == (1, False)
        assert [row.caption for row in sources(home)] == [None, "words", None]
