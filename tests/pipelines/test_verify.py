"""A published version is damaged in every way that we could think of, and each is named."""

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curation.catalog.store import Catalog
from curation.errors import DatasetError
from curation.records import SampleRow, ShardRow
from curation.shards.checking import ShardToCheck, check_shard
from pipelines.cli import app
from pipelines.curate import curate
from pipelines.engine import LocalEngine, SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from pipelines.verify import verify
from tests.pipelines.tiny_library import render, request

SHARD = "train-000000.tar"
Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    films = render(tmp_path_factory.mktemp("films"))
    curate(request(films), home, SerialEngine(), Silence())
    return home


@pytest.fixture
def version(home: Home, tmp_path: Path) -> Iterator[Path]:
    """The version's folder, which a test may damage, as the catalog: both are put back."""
    folder, catalog = home.datasets / "tiny" / "1", home.root / "catalog.db"
    shutil.copytree(folder, tmp_path / "undamaged")
    shutil.copy(catalog, tmp_path)
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "undamaged", folder)
    shutil.copy(tmp_path / catalog.name, catalog)  # which says where each table's state is


def faults(home: Home) -> set[tuple[str, str]]:
    """Where and what, of everything that disagrees."""
    found = verify(home, "tiny", SerialEngine(), Silence())
    return {(wrong.where, wrong.what) for wrong in found.disagreements}


def read(tar: Path) -> Contents:
    with tarfile.open(tar) as archive:
        streams = {member.name: archive.extractfile(member) for member in archive}
        return {name: stream.read() for name, stream in streams.items() if stream is not None}


def write(tar: Path, contents: Contents) -> None:
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def videos(contents: Contents) -> list[str]:
    return [name for name in contents if name.endswith(".mp4")]


def test_what_was_published_is_sound(home: Home) -> None:
    outcome = verify(home, "tiny@1", LocalEngine(2), Silence())
    assert outcome.disagreements == []
    assert outcome.sound
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(SampleRow)
    assert {row.kind for row in rows} == {"single", "multi"}
    assert (outcome.samples, outcome.frames) == (len(rows), sum(row.frame_count for row in rows))
    with pytest.raises(DatasetError, match="tiny@1"):
        verify(home, "tiny@2", SerialEngine(), Silence())


def test_flipped_byte_names_its_sample(home: Home, version: Path) -> None:
    with Catalog.open(home.catalog()) as catalog:
        row = next(row for row in catalog.rows(SampleRow) if f"{row.shard}.tar" == SHARD)
    data = bytearray((version / SHARD).read_bytes())
    data[row.mp4_offset + row.mp4_size // 2] ^= 0x10
    (version / SHARD).write_bytes(data)
    found = verify(home, "tiny", SerialEngine(), Silence()).disagreements
    assert {(wrong.what, wrong.sample_id) for wrong in found if wrong.what != "video"} == {
        ("sha256", None),
        ("video_sha256", row.sample_id),
    }


def test_truncated_tar(home: Home, version: Path) -> None:
    data = (version / SHARD).read_bytes()
    (version / SHARD).write_bytes(data[: len(data) // 2])
    assert {(SHARD, what) for what in ("size", "sha256", "tar_damaged", "member_missing")} <= (
        faults(home)
    )


def swapped_videos(contents: Contents) -> Contents:
    one, other = videos(contents)[:2]
    return contents | {one: contents[other], other: contents[one]}


def reordered(contents: Contents) -> Contents:
    return dict(sorted(contents.items(), reverse=True))


def without_a_video(contents: Contents) -> Contents:
    return {name: data for name, data in contents.items() if name != videos(contents)[0]}


def with_a_stranger(contents: Contents) -> Contents:
    return contents | {f"{'0' * 32}.mp4": b"what?"}


def other_caption(contents: Contents) -> Contents:
    name = next(name for name in contents if name.endswith(".txt"))
    return contents | {name: contents[name][::-1]}


def other_frame_count(contents: Contents) -> Contents:
    name = next(name for name in contents if name.endswith(".json"))
    count = json.loads(contents[name])["frame_count"]
    old, new = (f'"frame_count":{number}'.encode() for number in (count, count - 1))
    return contents | {name: contents[name].replace(old, new)}


def edited_sequence(contents: Contents, key: bytes, number: int) -> Contents:
    """One number fewer, in the JSON of a multi-shot sample."""
    name = next(n for n, d in contents.items() if n.endswith(".json") and b'"kind":"multi"' in d)
    old, new = (b'"%s":%d' % (key, value) for value in (number, number - 1))
    return contents | {name: contents[name].replace(old, new, 1)}


def moved_boundary(contents: Contents) -> Contents:
    return edited_sequence(contents, b"end_frame", 72)


def moved_source(contents: Contents) -> Contents:
    return edited_sequence(contents, b"start_frame", 72)


def no_json_at_all(contents: Contents) -> Contents:
    name = next(name for name in contents if name.endswith(".json"))
    return contents | {name: b"{" * len(contents[name])}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (swapped_videos, "video_sha256"),
        (reordered, "offset"),
        (without_a_video, "member_missing"),
        (with_a_stranger, "member_unknown"),
        (other_caption, "caption"),
        (other_frame_count, "json"),
        (moved_boundary, "json"),
        (moved_source, "json"),
        (no_json_at_all, "json_damaged"),
    ],
)
def test_rewritten_shard(
    home: Home, version: Path, damage: Callable[[Contents], Contents], named: str
) -> None:
    contents = read(version / SHARD)
    assert damage(contents) != contents or damage is reordered
    write(version / SHARD, damage(contents))
    assert {(SHARD, "sha256"), (SHARD, named)} <= faults(home)


def test_member_that_stands_in_a_tar_twice(home: Home, version: Path) -> None:
    contents = read(version / SHARD)
    with tarfile.open(version / SHARD, "a") as archive:
        member = tarfile.TarInfo(videos(contents)[0])
        archive.addfile(member, io.BytesIO(b""))
    assert (SHARD, "tar_damaged") in faults(home)


@pytest.mark.parametrize("name", [SHARD, "manifest.json", "samples.parquet"])
def test_missing_file(home: Home, version: Path, name: str) -> None:
    (version / name).unlink()
    assert faults(home) == {(name, "file_missing")}


def test_tar_that_nobody_declared(home: Home, version: Path) -> None:
    shutil.copy(version / SHARD, version / "train-000099.tar")
    assert faults(home) == {("train-000099.tar", "file_unknown")}


def test_edited_manifest(home: Home, version: Path) -> None:
    manifest = version / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["shards"][0]["samples"] += 1
    document["publish_id"] = "0" * 32
    manifest.write_text(json.dumps(document))
    assert faults(home) == {("manifest.json", "sha256"), ("manifest.json", "manifest")}
    manifest.write_text("{}")
    assert ("manifest.json", "manifest_damaged") in faults(home)


def test_edited_sample_index(home: Home, version: Path) -> None:
    index = version / "samples.parquet"
    table = pq.read_table(index)
    captions = ["another caption", *table["caption"].to_pylist()[1:]]
    column = table.schema.get_field_index("caption")
    pq.write_table(table.set_column(column, "caption", pa.array(captions)), index)
    found = verify(home, "tiny", SerialEngine(), Silence()).disagreements
    assert {(wrong.what, wrong.sample_id) for wrong in found} == {
        ("sha256", None),
        ("index", table["sample_id"][0].as_py()),
    }
    pq.write_table(table.slice(1), index)
    assert ("samples.parquet", "index") in faults(home)
    index.write_bytes(b"not parquet")
    assert ("samples.parquet", "index_damaged") in faults(home)


@pytest.mark.usefixtures("version")
def test_lost_catalog_row(home: Home) -> None:
    with Catalog.open(home.catalog()) as catalog:
        row = next(row for row in catalog.rows(SampleRow) if f"{row.shard}.tar" == SHARD)
        catalog.delete_rows("samples", {"sample_id": row.sample_id})
    assert {
        ("catalog", "row_sum"),
        (SHARD, "row_sum"),
        (SHARD, "member_unknown"),
        ("samples.parquet", "index"),
    } <= faults(home)


def test_rows_that_promise_another_video(home: Home) -> None:
    """Where every hash is right and the rows are wrong, only decoding tells."""
    with Catalog.open(home.catalog()) as catalog:
        shard = next(row for row in catalog.rows(ShardRow) if f"{row.shard}.tar" == SHARD)
        rows = [row for row in catalog.rows(SampleRow) if row.shard == shard.shard]
    tar = home.datasets / "tiny" / "1" / SHARD
    longer = dataclasses.replace(rows[0], frame_count=rows[0].frame_count + 1)
    wider = dataclasses.replace(rows[0], width=rows[0].width + 2)
    for wrong in (longer, wider):
        checked = check_shard(ShardToCheck(tar, shard, (wrong, *rows[1:])))
        assert {"video", "json"} <= {found.what for found in checked.disagreements}


def test_command_ends_with_1_and_lists_what_is_wrong(home: Home, version: Path) -> None:
    command = ["verify", "tiny", "--home", str(home.root), "--workers", "1"]
    assert CliRunner().invoke(app, command).exit_code == 0
    (version / SHARD).unlink()
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 1
    assert "file_missing" in shown.output
    told = CliRunner().invoke(app, [*command, "--json"])
    assert told.exit_code == 1
    document = json.loads(told.output.splitlines()[-1])
    assert [wrong["what"] for wrong in document["disagreements"]] == ["file_missing"]
    assert document["folder"] == str(version)
