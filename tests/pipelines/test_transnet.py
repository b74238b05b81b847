"""Curation with a network that judges every frame, whole runs of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.catalog.store import Catalog
from curation.errors import CurationError, NetworkError
from curation.traces import FRAMES, TRANSITIONS, Traces
from curation.video.encode import FilmWriter
from pipelines.caption import caption_clips, export_captions, recorded_config
from pipelines.curate import curate
from pipelines.dry_run import planned
from pipelines.engine import Engine, LocalEngine, SerialEngine
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.settings import Home
from pipelines.steps.identify import identify
from pipelines.summary import Summary
from tests.curation.measure import step_network
from tests.pipelines.tiny_library import HEIGHT, SHOT_FRAMES, WIDTH, request, shot

NETWORK = "scan.transnet.weights=steps.onnx"
ONE_FILM = ("split.val_share=0", "multishot.share=0")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene that becomes lighter at once: to the rules no cut, as no texture changes."""
    folder = tmp_path_factory.mktemp("films")
    with FilmWriter(folder / "jump.mp4", WIDTH, HEIGHT) as writer:
        for index, picture in enumerate(shot(1, 2 * SHOT_FRAMES)):
            lighter = 25 if index >= SHOT_FRAMES else 0
            writer.write_rgb(np.clip(picture.astype(np.int16) + lighter, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.weights.mkdir(parents=True)
    step_network.write(home.weights / "steps.onnx")
    return home


def run(films: Path, home: Home, *assignments: str, engine: Engine | None = None) -> Summary:
    return curate(
        request(films, *ONE_FILM, *assignments), home, engine or SerialEngine(), Silence()
    )


def spans(home: Home) -> set[tuple[int, int, str]]:
    """Of all shots that are on record, by whatever derivation."""
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.table("shots").scan().to_arrow().to_pylist()
    return {(row["start_frame"], row["end_frame"], row["transition_in"]) for row in rows}


def test_what_the_network_sees_is_a_boundary_and_costs_one_more_decode(
    films: Path, home: Home
) -> None:
    assert run(films, home).decodes == 1
    whole = {(0, 2 * SHOT_FRAMES, "start")}
    assert spans(home) == whole
    assert run(films, home, NETWORK, engine=LocalEngine(2)).decodes == 1  # loads it in a worker
    halves = {(0, SHOT_FRAMES - 1, "start"), (SHOT_FRAMES, 2 * SHOT_FRAMES, "cut")}
    assert spans(home) == whole | halves
    assert run(films, home, NETWORK).decodes == 0
    # The same bytes under another name are the same network; another threshold decodes nothing.
    elsewhere = home.root / "another-name.onnx"
    shutil.move(home.weights / "steps.onnx", elsewhere)
    named = f"scan.transnet.weights={elsewhere}"
    deaf = run(films, home, named, "derive.shots.transnet.min_probability=1")
    assert deaf.decodes == 0
    assert deaf.derived == 1
    assert run(films, home, named).derived == 0


def test_a_version_is_read_without_the_network_s_file(films: Path, home: Home) -> None:
    run(films, home, NETWORK)
    (home.weights / "steps.onnx").unlink()
    folder = home.datasets / "tiny" / "1"
    recorded = json.loads((folder / "manifest.json").read_text())["config"]["scan"]["transnet"]
    table = home.root / "edits.csv"
    assert recorded.keys() == {"channels", "sha256"}
    assert len(recorded["sha256"]) == 64
    assert preview(home, "tiny", ["select.seconds.min=1"]).kept.clips == 2
    config, _ = recorded_config(home, "tiny")
    assert caption_clips(home, config, SerialEngine(), Silence()).clips == 2
    assert export_captions(home, config, table) == 2


def test_lost_opinions_are_scanned_for_again(films: Path, home: Home) -> None:
    run(films, home, NETWORK)
    (judged,) = home.films.glob(f"*/*/{TRANSITIONS}")
    traces = Traces(judged.parent)
    said = traces.transitions()
    assert said is not None
    assert np.flatnonzero(said > 0.5).tolist() == [SHOT_FRAMES - 1]
    judged.unlink()
    assert not traces.whole()
    with pytest.raises(CurationError, match="cannot be read"):
        traces.transitions()
    again = run(films, home, NETWORK, "derive.shots.transnet.min_probability=0.4")
    assert again.decodes == 1
    assert traces.transitions() is not None


def test_captions_are_exported_by_a_recipe_that_names_the_file(films: Path, home: Home) -> None:
    run(films, home, NETWORK)
    asked = request(films, *ONE_FILM, NETWORK).config
    assert export_captions(home, asked, home.root / "edits.csv") == 2


def test_without_a_network_a_version_records_what_it_always_did(films: Path, home: Home) -> None:
    """What is recorded is part of a version's identity: it would be made again."""
    run(films, home)
    manifest = (home.datasets / "tiny" / "1" / "manifest.json").read_text()
    assert "transnet" not in manifest


@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(2)], ids=["alone", "workers"])
def test_a_network_at_fault_ends_the_run_and_no_film_is_blamed(
    films: Path, home: Home, engine: Engine
) -> None:
    """It passes the trial on blank frames, and gives no probabilities of the film's."""
    step_network.write(home.weights / "wild.onnx", scale=1.5)
    with pytest.raises(NetworkError, match="100 probabilities are needed"):
        run(films, home, "scan.transnet.weights=wild.onnx", engine=engine)
    with Catalog.open(home.catalog()) as catalog:
        assert catalog.table("videos").scan().to_arrow().num_rows == 0
        (failed,) = catalog.table("runs").scan().to_arrow().to_pylist()
    assert failed["status"] == "failed"
    assert not list(home.datasets.glob("*/*"))


@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(2)], ids=["alone", "workers"])
def test_a_file_that_is_changed_while_the_run_goes_on_ends_it(
    films: Path, home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(*given: Any) -> Any:
        step_network.write(home.weights / "steps.onnx", channels=(1,))
        return identify(*given)

    monkeypatch.setattr("pipelines.curate.identify", changed)
    with pytest.raises(CurationError, match=r"no film can be scanned.*changed during the run"):
        run(films, home, NETWORK, engine=engine)
    with Catalog.open(home.catalog()) as catalog:
        assert catalog.table("videos").scan().to_arrow().num_rows == 0


def test_thresholds_of_a_network_that_is_not_there_are_refused(films: Path, home: Home) -> None:
    with pytest.raises(ValueError, match=r"counts only with a network"):
        run(films, home, "derive.shots.transnet.min_probability=0.2")


def test_an_absent_file_ends_the_run_before_a_film_is_opened(films: Path, home: Home) -> None:
    (home.weights / "steps.onnx").unlink()
    asked = request(films, NETWORK)
    with pytest.raises(CurationError, match=r"steps\.onnx.*do without"):
        curate(asked, home, SerialEngine(), Silence())
    assert not list(home.films.glob(f"*/*/{FRAMES}"))
    with Catalog.open(home.catalog()) as catalog:
        (failed,) = catalog.table("runs").scan().to_arrow().to_pylist()
    assert failed["status"] == "failed"
    plan = planned(asked, home)
    (file,) = plan.models
    assert file.path is None
    assert "github.com/soCzech/TransNetV2" in (file.remedy or "")


def test_a_dry_run_names_the_file_and_what_it_scanned(films: Path, home: Home) -> None:
    run(films, home, NETWORK)
    plan = planned(request(films, NETWORK), home)
    assert plan.counts["films_scanned_before"] == 1
    assert plan.counts["films_to_derive_again"] == 0
    moved = planned(request(films, NETWORK, "derive.shots.transnet.near_frames=3"), home)
    assert (moved.counts["films_to_scan"], moved.counts["films_to_derive_again"]) == (0, 1)
    assert [file.path for file in plan.models] == [home.weights / "steps.onnx"]
    assert planned(request(films), home).counts["films_scanned_before"] == 0
    (home.weights / "steps.onnx").write_text("weights, believe me")
    spoilt = planned(request(films, NETWORK), home)
    assert spoilt.counts["films_scanned_before"] == 0
    assert "no network" in (spoilt.models[0].remedy or "")
    assert spoilt.models[0].path is not None
