"""Films, manifests, warehouse and published versions in a real S3-compatible store."""

import concurrent.futures
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from curation import remote
from curation.catalog.store import Catalog
from curation.errors import FilmError
from curation.records import SampleRow, SourceRow, VideoRow
from curation.remote import StoredObject, at_hand, listed, store_folder
from pipelines.curate import CurateRequest, curate
from pipelines.engine import LocalEngine, SerialEngine
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.settings import Home
from pipelines.steps.sides import earlier_sides
from tests.object_store import SECRET, USER, object_store
from tests.pipelines.tiny_library import config, render, request
from training.samples import Samples
from training.storage import ShardFolder
from training.versions import published_version

FILMS = "s3://films/library"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def store(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store with the films and a manifest of them in it."""
    with (
        object_store(tmp_path_factory.mktemp("store")) as (_, endpoint),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("S3_ENDPOINT", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", USER)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("TEMPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        maker = fs.S3FileSystem(
            endpoint_override=endpoint.removeprefix("http://"),
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        for bucket in ("films", "tempo"):
            maker.create_dir(bucket)
        with (films / "list.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["uri", "caption", "licence"])
            rows.writerow(["first.mp4", "a first film", "CC0"])
            rows.writerow([f"{FILMS}/second.mp4", "a second film", "CC0"])
            rows.writerow(["not there.mp4", "", ""])
        store_folder(films, FILMS, last="list.csv")
        yield


@pytest.mark.usefixtures("store")
def test_prefixes_patterns_and_manifests_are_listed() -> None:
    everything = [f"{FILMS}/{name}.mp4" for name in ("first", "second", "third")]
    assert [film.uri for film in list_films([FILMS])] == everything
    assert [film.uri for film in list_films([f"{FILMS}/*ir*.mp4"])] == [
        everything[0],
        everything[2],
    ]
    assert [film.uri for film in list_films(["s3://films/**/s*.mp4"])] == [everything[1]]
    by_manifest = list_films([f"{FILMS}/list.csv"])
    assert [(film.uri, film.licence) for film in by_manifest] == [
        (everything[0], "CC0"),
        (f"{FILMS}/not there.mp4", None),
        (everything[1], "CC0"),
    ]
    with pytest.raises(ValueError, match="names no object"):
        list_films(["s3://films/nothing"])
    with pytest.raises(ValueError, match="names no object"):
        list_films(["s3://no-such-bucket/films/"])


def test_a_pattern_for_buckets_is_refused_before_any_is_listed() -> None:
    for address in ("s3://fil*/library", "s3://*", "s3://film[s]/a.mp4"):
        with pytest.raises(ValueError, match="the bucket is named in full"):
            list_films([address])


def test_credentials_in_an_address_are_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID") as caught:
        list_films(["s3://key:hunter2@films/library"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("store")
def test_a_curation_from_and_to_the_store_packs_what_a_local_one_packs(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, stored = Home(tmp_path / "local"), Home(tmp_path / "stored")
    curate(request(films), local, SerialEngine(), Silence())
    with Catalog.open(local.catalog()) as catalog:
        expected = {row.sample_id: row.mp4_sha256 for row in catalog.rows(SampleRow)}
    monkeypatch.setenv("TEMPO_WAREHOUSE", "s3://tempo/warehouse")
    monkeypatch.setenv("TEMPO_DATASETS", "s3://tempo/datasets/")
    asked = CurateRequest(list_films([FILMS]), "tiny", config())
    curate(asked, stored, LocalEngine(2), Silence())
    with Catalog.open(stored.catalog()) as catalog:
        assert {row.sample_id: row.mp4_sha256 for row in catalog.rows(SampleRow)} == expected
        version = published_version(catalog, "tiny")
        # Another home that publishes into this catalog finds where each film stands.
        elsewhere = earlier_sides(catalog, Home(tmp_path / "elsewhere"), "tiny", config().split)
        assert elsewhere == earlier_sides(catalog, stored, "tiny", config().split)
        assert len(elsewhere) == len(asked.films)
        assert {row.uri for row in catalog.rows(SourceRow)} == {film.uri for film in asked.films}
    assert version.manifest.startswith("s3://tempo/datasets/tiny/")
    assert not (stored.root / "warehouse").exists()
    assert listed("s3://tempo/warehouse")
    folder = ShardFolder(version.manifest.rpartition("/")[0])
    manifest = json.loads(folder.read("manifest.json"))
    assert {f"{shard['shard']}.tar" for shard in manifest["shards"]} <= folder.sizes().keys()
    of_disk = stored.datasets / "tiny" / "1"
    for name in folder.sizes():
        assert folder.read(name) == (of_disk / name).read_bytes()
    folder.close()
    trained_on = Samples.open(version.manifest, "train", version.sha256)
    for index in range(len(trained_on)):  # each is held against the hash of what was packed
        assert trained_on.read(index).sample_id in expected
    trained_on.close()
    for fetched in remote.cache_folder().iterdir():
        fetched.unlink()
    again = curate(asked, stored, SerialEngine(), Silence())
    assert again.dataset is not None
    assert again.dataset.fresh is False
    assert list(remote.cache_folder().iterdir()) == []  # nothing was downloaded to find that out


@pytest.mark.usefixtures("store")
def test_an_object_that_is_gone_is_quarantined_until_it_is_back(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    asked = CurateRequest(list_films([f"{FILMS}/list.csv"]), "tiny", config())
    curate(asked, home, SerialEngine(), Silence())
    with Catalog.open(home.catalog()) as catalog:
        (gone,) = catalog.rows(VideoRow, {"status": "quarantined"})
    assert (gone.uri, gone.reason, gone.transient) == (
        f"{FILMS}/not there.mp4",
        "unreadable",
        True,
    )


@pytest.mark.usefixtures("store")
def test_the_cache_keeps_what_is_in_use_and_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPO_CACHE", str(tmp_path))
    monkeypatch.setenv("TEMPO_CACHE_BYTES", "1")
    first, second, third = listed(f"{FILMS}/*.mp4")
    with at_hand(first) as one:
        with at_hand(second) as two:
            assert one.exists()
            assert two.exists()
        with at_hand(third):
            assert one.exists()
            assert not two.exists()
    with at_hand(second) as two:
        assert list(remote.cache_folder().iterdir()) == [two]
    with pytest.raises(FilmError, match="vanished"), at_hand(StoredObject(f"{FILMS}/none.mp4")):
        raise AssertionError("there is no such object")


@pytest.mark.usefixtures("store")
def test_those_who_fetch_at_once_do_not_take_each_others_copies(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPO_CACHE", str(tmp_path))
    monkeypatch.setenv("TEMPO_CACHE_BYTES", "1")  # everybody has to make room
    content = {path.name: path.read_bytes() for path in films.glob("*.mp4")}
    objects = listed(f"{FILMS}/*.mp4")

    def fetch(number: int) -> bool:
        place = objects[number % len(objects)]
        with at_hand(place) as path:
            return path.read_bytes() == path.read_bytes() == content[place.name]

    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        assert all(threads.map(fetch, range(60)))


def test_an_endpoint_with_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(ValueError, match="without a password") as caught:
        listed("s3://films/")
    assert "hunter2" not in str(caught.value)
