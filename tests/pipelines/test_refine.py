"""Near-duplicates in a whole run: transcodes that ffmpeg makes, and what becomes of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from curation.catalog.store import Catalog
from curation.records import RefinementRow, VideoRow
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.settings import Home
from pipelines.summary import Summary
from tests.curation.scoring.tiny_clip import write_tiny_clip
from tests.pipelines.tiny_library import SHOT_FRAMES, catalog_rows, render, request

FFMPEG = shutil.which("ffmpeg")
TRANSCODES = {
    # A re-upload: smaller, and much coarser.
    "first-again.mp4": ["-vf", "scale=144:96", "-crf", "32"],
    # A cut-out: the second half of the only shot, at another frame rate.
    "second-half.mp4": ["-ss", f"{SHOT_FRAMES / 48}", "-r", "30", "-crf", "35"],
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if FFMPEG is None:
        pytest.skip("ffmpeg is not installed; it makes the transcodes")
    folder = render(tmp_path_factory.mktemp("films"))
    for name, options in TRANSCODES.items():
        source = folder / f"{name.partition('-')[0]}.mp4"
        command = [FFMPEG, "-v", "error", "-i", source, *options, folder / name]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def summary(films: Path, home: Home) -> Summary:
    return run(films, home)


def run(films: Path, home: Home, *assignments: str) -> Summary:
    return curate(request(films, *assignments), home, SerialEngine(), Silence())


@pytest.fixture(scope="module")
def film_of(summary: Summary, home: Home) -> dict[str, str]:
    """video_id -> the film's name."""
    assert summary.films == 5
    with Catalog.open(home.catalog()) as catalog:
        return {row.video_id: Path(row.uri).name for row in catalog.rows(VideoRow)}


def test_copies_are_one_group_and_other_films_are_not(
    summary: Summary, film_of: dict[str, str]
) -> None:
    groups = [{film_of[film] for film in group} for group in summary.refined.film_groups]
    assert sorted(groups, key=sorted) == [
        {"first.mp4", "first-again.mp4"},
        {"second.mp4", "second-half.mp4"},
    ]


def test_the_smaller_copy_is_dropped_for_the_larger_and_the_cut_out_stays(
    summary: Summary, home: Home, film_of: dict[str, str]
) -> None:
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(RefinementRow)
        clips = {
            row["clip_id"]: (film_of[row["video_id"]], row["start_frame"])
            for row in catalog.read("clips").to_pylist()
        }
    replaced = {clips[row.clip_id]: clips[row.representative or ""] for row in rows}
    assert replaced == {
        ("first-again.mp4", start): ("first.mp4", start) for start in (0, SHOT_FRAMES)
    }
    assert {row.step for row in rows} == {"duplicate"}
    assert summary.refined.duplicates.clips == 2
    assert summary.refined.kept.clips == summary.kept.clips - 2


def test_copies_are_on_one_side_of_the_split(
    summary: Summary, home: Home, film_of: dict[str, str]
) -> None:
    assert summary.dataset is not None
    with Catalog.open(home.catalog()) as catalog:
        samples = catalog.read("samples", columns=["video_id", "split"]).to_pylist()
    sides = {film_of[sample["video_id"]]: sample["split"] for sample in samples}
    assert sides["second.mp4"] == sides["second-half.mp4"]
    assert set(sides.values()) == {"train", "val"}


def test_preview_shows_both_yields_and_moves_what_counts_as_a_copy(
    summary: Summary, home: Home
) -> None:
    seen = preview(home, "tiny@1", ["duplicates.look=none"])
    assert (seen.kept_now, seen.refined_now) == (summary.kept, summary.refined)
    assert (seen.kept, seen.refined.kept) == (summary.kept, summary.kept)
    strict = preview(home, "tiny@1", ["duplicates.hash_distance=0"])
    assert strict.refined.duplicates.clips < 2


def test_running_again_changes_no_row(films: Path, summary: Summary, home: Home) -> None:
    before = catalog_rows(home)
    assert run(films, home).refined == summary.refined
    assert catalog_rows(home) == before


def test_embeddings_find_the_same_film_in_other_bytes(
    films: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library, home = (tmp_path_factory.mktemp(name) for name in ("library", "home"))
    for name in ("second.mp4", "third.mp4"):
        shutil.copy(films / name, library / name)
    copy = library / "copy.mp4"
    # An empty box at the end: another hash, the same pictures.
    copy.write_bytes((films / "second.mp4").read_bytes() + b"\0\0\0\x08free")
    config, backbone, head = write_tiny_clip(tmp_path_factory.mktemp("weights"))
    done = run(
        library, Home(home), "score.scorers=laion", f"score.model={config}",
        f"score.backbone={backbone}", f"score.head={head}", "select.technical.min=none",
        "duplicates.look=embedding", "duplicates.cosine=0.9999999",
    )  # fmt: skip
    assert done.refined.duplicates.clips == 1
    assert [len(group) for group in done.refined.film_groups] == [2]
