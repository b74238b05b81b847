"""The main job, end to end, on films that are rendered here and on the real ones."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
import webdataset

from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.errors import CurationError, DatasetError
from curation.identities import video_id_of
from curation.records import VideoRow
from curation.splits import SplitConfig, split_of_groups
from curation.video.packed import PackedVideo
from pipelines.curate import curate
from pipelines.engine import LocalEngine, SerialEngine
from pipelines.forget import forget
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.settings import Home
from pipelines.summary import Summary
from tests.pipelines.tiny_library import (
    SHOT_FRAMES,
    SHOTS,
    catalog_rows,
    published_files,
    render,
    request,
)

SINGLE_SHOT_ONLY = "multishot.share=0"  # sequences: test_multishot_samples.py


def run(films: Path, home: Home, *assignments: str) -> Summary:
    asked = request(films, SINGLE_SHOT_ONLY, *assignments)
    return curate(asked, home, SerialEngine(), Silence())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one finished curation; tests that add to it make versions of their own."""
    home = Home(tmp_path_factory.mktemp("home"))
    run(films, home)
    return home


def tars(home: Home, version: int = 1) -> list[Path]:
    return sorted((home.datasets / "tiny" / str(version)).glob("*.tar"))


# webdataset leaves its tar files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_shot_becomes_a_sample_that_stock_webdataset_reads(home: Home) -> None:
    samples = [
        sample
        for tar in tars(home)
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    ]
    assert len(samples) == sum(len(seeds) for seeds in SHOTS.values())
    for sample in samples:
        document = json.loads(sample["json"])
        assert sample["__key__"] == document["sample_id"]
        assert sample["txt"].decode() == document["caption"]
        video = PackedVideo(sample["mp4"])
        assert len(video) == document["frame_count"] == SHOT_FRAMES
        (shot,) = document["shots"]
        # The source is 24 fps, so each output frame shows the next source frame of its own shot.
        first = shot["source"]["start_frame"]
        assert first % SHOT_FRAMES == 0
        assert shot["source"]["frames"] == list(range(first, first + SHOT_FRAMES))


def test_ffprobe_agrees_with_the_json(home: Home, tmp_path: Path, ffprobe: str) -> None:
    with tarfile.open(tars(home)[0]) as archive:
        member = next(name for name in archive.getnames() if name.endswith(".mp4"))
        archive.extract(member, tmp_path, filter="data")
        stream = archive.extractfile(member.replace(".mp4", ".json"))
        assert stream is not None
        document = json.loads(stream.read())
    entries = "stream=codec_name,pix_fmt,width,height,r_frame_rate,avg_frame_rate,nb_read_frames"
    probed = json.loads(
        subprocess.run(
            [ffprobe, "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json",
             str(tmp_path / member)],
            capture_output=True, check=True,
        ).stdout
    )  # fmt: skip
    (stream_,) = probed["streams"]
    assert stream_ == {
        "codec_name": "h264",
        "pix_fmt": "yuv420p",
        "width": document["width"],
        "height": document["height"],
        "r_frame_rate": "24/1",
        "avg_frame_rate": "24/1",
        "nb_read_frames": str(document["frame_count"]),
    }


def test_file_and_member_names_are_ids_only(home: Home) -> None:
    for tar in tars(home):
        assert tar.stem.split("-")[0] in ("train", "val")
        with tarfile.open(tar) as archive:
            for member in archive:
                key, _, kind = member.name.partition(".")
                assert kind in ("json", "mp4", "txt")
                assert len(key) == 32
                assert set(key) <= set("0123456789abcdef")


def test_no_film_is_on_both_sides(home: Home) -> None:
    with Catalog.open(home.catalog()) as catalog:
        samples = catalog.read("samples", columns=["video_id", "split"]).to_pylist()
    sides: dict[str, set[str]] = {}
    for sample in samples:
        sides.setdefault(sample["video_id"], set()).add(sample["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {side for (side,) in sides.values()} == {"train", "val"}


def test_running_again_decodes_nothing_and_publishes_nothing(films: Path, home: Home) -> None:
    before = catalog_rows(home)
    summary = run(films, home)
    assert summary.decodes == summary.scanned == 0
    assert summary.dataset is not None
    assert not summary.dataset.fresh
    assert catalog_rows(home) == before


def test_moved_threshold_decodes_nothing_and_copies_videos(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    run(films, home)
    with Catalog.open(home.catalog()) as catalog:
        clarity = sorted(
            catalog.read("clips", columns=["clarity_mean"])["clarity_mean"].to_pylist()
        )
    setting = f"select.clarity.min={(clarity[0] + clarity[1]) / 2}"
    foreseen = preview(home, "tiny", [setting])
    summary = run(films, home, setting)
    assert summary.decodes == 0
    assert summary.dataset is not None
    assert summary.dataset.reference == "tiny@2"
    assert (summary.dataset.encoded, summary.dataset.copied) == (0, len(clarity) - 1)
    assert foreseen.kept == summary.kept
    assert foreseen.kept_now.clips == len(clarity)
    # Back again: a third version, whose shards are those of the first.
    run(films, home)
    files = published_files(home)
    assert {k[2:]: v for k, v in files.items() if k.startswith("1/") and k.endswith(".tar")} == {
        k[2:]: v for k, v in files.items() if k.startswith("3/") and k.endswith(".tar")
    }


def test_changed_derivation_decodes_nothing(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    run(films, home)
    summary = run(films, home, "derive.clips.max_seconds=2")
    assert (summary.decodes, summary.derived) == (0, len(SHOTS))
    assert summary.clips.clips > sum(len(seeds) for seeds in SHOTS.values())


def test_renamed_and_doubled_films_are_the_same_films(films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for name in SHOTS:
        (library / name).write_bytes((films / name).read_bytes())
    home = Home(tmp_path / "home")
    run(library, home)
    (library / "first.mp4").rename(library / 'it\'s "renamed".mp4')
    (library / "copy.mp4").write_bytes((library / "second.mp4").read_bytes())
    summary = run(library, home)
    assert (summary.files, summary.films, summary.duplicates) == (4, 3, 1)
    assert summary.decodes == 0


def test_workers_give_the_same_bytes_as_one_process(
    films: Path, home: Home, tmp_path: Path
) -> None:
    other = Home(tmp_path / "home")
    curate(request(films, SINGLE_SHOT_ONLY), other, LocalEngine(2), Silence())
    first = {k: v for k, v in published_files(home).items() if k.startswith("1/")}
    assert published_files(other) == first


def hostile_library(folder: Path, films: Path) -> Path:
    folder.mkdir()
    (folder / "good.mp4").write_bytes((films / "first.mp4").read_bytes())
    (folder / "fine.mp4").write_bytes((films / "second.mp4").read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    (folder / "text.mp4").write_text("not a film, and long enough to be probed\n" * 50)
    secret = folder / "secret.txt"
    secret.write_text("secret")
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    (folder / "concat.mkv").write_text(f"ffconcat version 1.0\nfile '{films / 'third.mp4'}'\n")
    (folder / "cut.mp4").write_bytes((films / "third.mp4").read_bytes()[:2000])
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    return folder


def test_hostile_files_are_quarantined_and_the_run_goes_on(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    library = hostile_library(tmp_path / "library", films)
    summary = curate(request(library), home, LocalEngine(2), Silence())
    with Catalog.open(home.catalog()) as catalog:
        rows = {Path(row.uri).name: row for row in catalog.rows(VideoRow)}
    assert {name: row.reason for name, row in rows.items() if row.status == "quarantined"} == {
        "empty.mp4": "empty_file",
        "folder.mp4": "not_a_file",
        "text.mp4": "not_a_video",
        "list.mp4": "not_a_video",
        "concat.mkv": "not_a_video",
        "cut.mp4": "not_a_video",
        "gone.mp4": "unreadable",
    }
    assert summary.status == {"ok": 2, "quarantined": 7}
    # Only what may work another time is tried again.
    again = curate(request(library), home, SerialEngine(), Silence())
    assert again.scanned == 0


def test_nothing_readable_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(CurationError, match="no film could be read"):
        run(tmp_path, Home(tmp_path / "home"))


def test_nothing_kept_is_an_error_with_the_reasons(films: Path, tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="clarity_low 5"):
        run(films, Home(tmp_path / "home"), "select.clarity.min=3999")


def test_one_film_cannot_be_split(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(DatasetError, match=r"split\.val_share=0"):
        run(films / "first.mp4", home)
    summary = run(films / "first.mp4", home, "split.val_share=0")
    assert summary.dataset is not None
    assert (summary.dataset.train_samples, summary.dataset.val_samples) == (2, 0)


def test_forgotten_film_is_purged_and_barred(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    run(films, home)
    with Catalog.open(home.catalog()) as catalog:
        videos = {Path(row.uri).name: row.video_id for row in catalog.rows(VideoRow)}
    video_id = videos["third.mp4"]
    outcome = forget(home, video_id, "rights withdrawn", Silence())
    assert outcome.versions == ["tiny@1"]
    assert (outcome.captions > 0, outcome.files) == (True, 4)
    assert not list(home.films.glob(f"*/{video_id}-*"))
    with Catalog.open(home.catalog()) as catalog:
        assert not catalog.read("scores", {"video_id": video_id}, ["clip_id"]).num_rows
        assert catalog.read("scores", columns=["clip_id"]).num_rows
    assert preview(home, "tiny@1", []).clips.clips == 3
    summary = run(films, home)
    assert (summary.films, summary.taken_down, summary.decodes) == (2, 1, 0)
    with Catalog.open(home.catalog()) as catalog:
        newest = resolve(catalog, "tiny@latest")
        held = catalog.read("samples", {"publish_id": newest.publish_id}, ["video_id"])
        assert video_id not in held["video_id"].to_pylist()
        assert resolve(catalog, "tiny@1").samples == 5
    with pytest.raises(CurationError, match="no film"):
        forget(home, "0" * 32, "typo", Silence())


def test_a_copy_with_a_lower_id_moves_no_film_to_the_other_side(
    films: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    library = tmp_path / "library"
    library.mkdir()
    for name in SHOTS:
        (library / name).write_bytes((films / name).read_bytes())
    run(library, home)
    before = sides(home)
    held_out = next(film for film, side in before.items() if side == "val")
    original = next(
        library / name for name in SHOTS if before[video_id_of(library / name)] == "train"
    )
    copy = library / "copy.mp4"
    for k in range(10_000):
        # A box at the end that says nothing: another hash, the same pictures. The hash is to be
        # such that the group's new name alone would send it to validation.
        copy.write_bytes(original.read_bytes() + b"\0\0\0\x0cfree" + k.to_bytes(4))
        alone = split_of_groups({video_id_of(copy), held_out}, SplitConfig(0.1))
        if video_id_of(copy) < video_id_of(original) and alone[video_id_of(copy)] == "val":
            break
    run(library, home, "duplicates.remove=false")
    after = sides(home)
    assert after == before | {video_id_of(copy): "train"}


def sides(home: Home) -> dict[str, str]:
    """Film -> its side in the newest version."""
    with Catalog.open(home.catalog()) as catalog:
        newest = resolve(catalog, "tiny").publish_id
        held = catalog.read("samples", {"publish_id": newest}, ["video_id", "split"])
    return dict(zip(held["video_id"].to_pylist(), held["split"].to_pylist(), strict=True))


def test_an_unchanged_version_still_says_what_it_lost(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    run(films, home)
    path = home.datasets / "tiny" / "1" / "manifest.json"
    lost = {"sample_id": "x", "reason": "encode_failed", "message": "", "transient": False}
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"lost": [lost]}))
    again = run(films, home)
    assert again.dataset is not None
    assert (again.dataset.fresh, again.dataset.lost) == (False, {"encode_failed": 1})


def test_read_only_home_is_a_clear_error(films: Path) -> None:
    with pytest.raises(CurationError, match="cannot be written"):
        run(films, Home(Path("/proc/tempo-home")))


def test_film_that_vanishes_before_packing_costs_its_samples_only(
    films: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for name in SHOTS:
        (library / name).write_bytes((films / name).read_bytes())
    home = Home(tmp_path / "home")
    asked = request(library, SINGLE_SHOT_ONLY)

    class Thief(Silence):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the protocol's
            if name == "pack":
                (library / "second.mp4").rename(tmp_path / "stolen.mp4")

    summary = curate(asked, home, SerialEngine(), Thief())
    assert summary.dataset is not None
    assert summary.dataset.lost == {"vanished": 1}
    (tmp_path / "stolen.mp4").rename(library / "second.mp4")
    restored = run(library, home)
    assert restored.dataset is not None
    assert (restored.dataset.fresh, restored.dataset.samples, restored.dataset.lost) == (
        True,
        5,
        {},
    )
