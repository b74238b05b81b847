"""Multi-shot samples, end to end: on films that are rendered here and on painted demo films."""

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import webdataset
from scenedetect import ContentDetector, detect
from typer.testing import CliRunner

from curation.captioning import tags
from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.errors import CurationError
from curation.identities import sample_id_of
from curation.records import SampleRow
from pipelines.cli import app
from pipelines.curate import CurateRequest, curate
from pipelines.demo.canvas import Size
from pipelines.demo.library import render_library
from pipelines.demo.scenes import farm, fish, town
from pipelines.demo.timeline import Film, Take
from pipelines.engine import SerialEngine
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.recipes.curation import curate_offline
from pipelines.settings import Home, with_overrides
from pipelines.summary import DatasetSummary
from tests.pipelines.tiny_library import SHOT_FRAMES, SHOTS, published_files, render, request

SINGLES = sum(len(seeds) for seeds in SHOTS.values())
MULTIS = sum(len(seeds) == 2 for seeds in SHOTS.values())
"""Films of two shots of 3 seconds give a sequence of 6; a film of one shot gives none."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def home(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one finished curation, read by several tests and changed by none."""
    home = Home(tmp_path_factory.mktemp("home"))
    run(films, home)
    return home


def run(films: Path, home: Home, *assignments: str) -> DatasetSummary:
    summary = curate(request(films, *assignments), home, SerialEngine(), Silence())
    assert summary.dataset is not None
    return summary.dataset


def sample_rows(home: Home, reference: str = "tiny@latest") -> list[SampleRow]:
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, reference)
        return catalog.rows(SampleRow, {"publish_id": version.publish_id})


# webdataset leaves its tar files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_reads_both_kinds(home: Home) -> None:
    samples = [
        sample
        for tar in sorted((home.datasets / "tiny" / "1").glob("*.tar"))
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    ]
    documents = [json.loads(sample["json"]) for sample in samples]
    kinds = Counter(document["kind"] for document in documents)
    assert kinds == {"single": SINGLES, "multi": MULTIS}
    for sample, document in zip(samples, documents, strict=True):
        shots = document["shots"]
        assert sample["__key__"] == document["sample_id"]
        clip_ids = [shot["clip_id"] for shot in shots]
        assert document["sample_id"] == sample_id_of(clip_ids, document["kind"])
        assert tags.split(sample["txt"].decode()) == [shot["caption"] for shot in shots]
        edges = [0] + [shot["end_frame"] for shot in shots]
        assert [shot["start_frame"] for shot in shots] == edges[:-1]
        assert edges == [SHOT_FRAMES * k for k in range(len(shots) + 1)]
        assert document["frame_count"] == edges[-1]
        assert {shot["captioner"] for shot in shots} == {"describe"}
        if document["kind"] == "multi":
            assert document["caption"].startswith("<MultiShot> ")
            # Two shots of one film, in order, each from its own place in it.
            assert [shot["source"]["frames"][0] for shot in shots] == [0, SHOT_FRAMES]
            assert len({shot["source"]["video_id"] for shot in shots}) == 1


def test_counts_are_in_the_catalog_the_summary_and_the_list(home: Home) -> None:
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, "tiny@1")
    assert (version.samples, version.multi_samples) == (SINGLES + MULTIS, MULTIS)
    summary = json.loads((home.reports / "tiny@1.json").read_text())
    assert summary["dataset"]["multi_samples"] == MULTIS
    shown = CliRunner().invoke(app, ["datasets", "--home", str(home.root)])
    heading, row = (line.split() for line in shown.output.splitlines()[:2])
    cells = dict(zip(heading, row, strict=False))
    assert (cells["single"], cells["multi"]) == (str(SINGLES), str(MULTIS))
    rows = sample_rows(home)
    assert sum(len(row.clip_ids) == 2 for row in rows if row.kind == "multi") == MULTIS


def test_what_an_earlier_version_holds_is_copied(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    before = run(films, home, "multishot.share=0")
    assert (before.samples, before.multi_samples, before.encoded) == (SINGLES, 0, SINGLES)
    more = run(films, home)
    assert (more.encoded, more.copied) == (MULTIS, SINGLES)
    only = run(films, home, "multishot.stand_alone=false", "multishot.share=1")
    assert (only.encoded, only.copied) == (0, MULTIS + SINGLES - 2 * MULTIS)
    run(films, home, "captioners=sidecar,describe")  # as the second: its shards once more
    files = published_files(home)
    tars = {
        path[2:]: sha for path, sha in files.items() if path.startswith("2/") and ".tar" in path
    }
    assert tars == {
        path[2:]: sha for path, sha in files.items() if path.startswith("4/") and ".tar" in path
    }


def test_a_lost_film_costs_its_samples_only(films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for name in SHOTS:
        (library / name).write_bytes((films / name).read_bytes())

    class Thief(Silence):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the protocol's
            if name == "pack":
                (library / "third.mp4").unlink()

    home = Home(tmp_path / "home")
    summary = curate(request(library), home, SerialEngine(), Thief())
    assert summary.dataset is not None
    assert summary.dataset.lost == {"vanished": 3}
    assert (summary.dataset.samples, summary.dataset.multi_samples) == (
        SINGLES + MULTIS - 3,
        MULTIS - 1,
    )
    manifest = json.loads((Path(summary.dataset.folder) / "manifest.json").read_text())
    assert {lost["reason"] for lost in manifest["lost"]} == {"vanished"}


def test_a_caption_with_a_tag_joins_no_sequence(films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for name in SHOTS:
        (library / name).write_bytes((films / name).read_bytes())
        (library / name).with_suffix(".txt").write_text(f"{name} <scene cut> of its own")
    home = Home(tmp_path / "home")
    run(library, home)
    for row in sample_rows(home):
        assert row.caption.count("<Scene Cut>") == len(row.clip_ids) - 1
        assert "of its own" not in row.caption
    with pytest.raises(CurationError, match="none of 5 kept clips has a caption"):
        run(library, Home(tmp_path / "other"), "captioners=sidecar")


def test_painted_films_cut_where_they_are_declared(tmp_path: Path) -> None:
    """Boundaries of demo films' sequences, found by PySceneDetect's own reader and detector."""
    film = Film(
        "voyage",
        size=Size(320, 180),
        takes=(
            Take(town.train, 3.0, "track", "A train."),
            Take(fish.koi, 3.0, "drift", "Koi."),
            Take(farm.windmills, 3.0, "pan", "Windmills."),
        ),
    )
    library = tmp_path / "films"
    render_library(library, 1, films=[film])
    settings = ["split.val_share=0", "multishot.share=1", "multishot.min_shots=3"]
    settings += ["select.short_side.min=none", "select.seconds.min=1"]
    config = with_overrides(curate_offline(), settings)
    asked = CurateRequest(list_films([str(library)]), "tiny", config)
    summary = curate(asked, Home(tmp_path / "home"), SerialEngine(), Silence())
    assert summary.dataset is not None
    assert summary.dataset.multi_samples == 1
    (made,) = multi_shot(Path(summary.dataset.folder))
    (tmp_path / "sample.mp4").write_bytes(made["mp4"])
    scenes = detect(str(tmp_path / "sample.mp4"), ContentDetector(min_scene_len=0))
    declared = [shot["start_frame"] for shot in made["json"]["shots"]]
    assert [start.frame_num for start, _ in scenes] == declared
    assert len(declared) == 3


def multi_shot(version: Path) -> list[dict[str, Any]]:
    """The JSON and the video of each multi-shot sample, read by tarfile."""
    found: dict[str, dict[str, Any]] = {}
    for tar in sorted(version.glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                key, kind = member.name.split(".")
                stream = archive.extractfile(member)
                assert stream is not None
                data = stream.read()
                found.setdefault(key, {})[kind] = json.loads(data) if kind == "json" else data
    return [sample for sample in found.values() if sample["json"]["kind"] == "multi"]
