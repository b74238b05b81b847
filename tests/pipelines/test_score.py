"""The score step: evidence only, once per fingerprint, for selection and preview alike."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from curation.catalog.store import Catalog
from curation.errors import CurationError
from curation.records import ScoreRow
from curation.scoring.film import ScorerPlan
from curation.scoring.frames import U8, Judged
from curation.scoring.technical import TechnicalScorer
from curation.video.film import Film
from pipelines.curate import CurateRequest, curate
from pipelines.dry_run import planned
from pipelines.engine import SerialEngine
from pipelines.inputs import list_films
from pipelines.job import Silence
from pipelines.preview import preview
from pipelines.recipes.curation import curate_production
from pipelines.settings import Home, with_overrides
from pipelines.summary import Summary
from tests.curation.scoring.tiny_clip import write_tiny_clip
from tests.pipelines.tiny_library import SETTINGS, SHOTS, catalog_rows, render, request

CLIPS = sum(len(seeds) for seeds in SHOTS.values())


class Heard(Silence):
    """Keeps what a job says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that stand a tiny random CLIP in for the real one."""
    config, backbone, head = write_tiny_clip(tmp_path_factory.mktemp("weights"))
    return [f"score.model={config}", f"score.backbone={backbone}", f"score.head={head}"]


def production(films: Path, *assignments: str) -> CurateRequest:
    """The production recipe, with room for these tiny films, and captions without sidecars."""
    config = with_overrides(
        curate_production(), [*SETTINGS, "captioners=describe", "balance.clusters=2", *assignments]
    )
    return CurateRequest(list_films([str(films)]), "tiny", config)


@pytest.fixture(scope="module")
def home(films: Path, weights: list[str], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home where the production recipe ran with a tiny model."""
    home = Home(tmp_path_factory.mktemp("home"))
    run(production(films, *weights, *OPEN), home)
    return home


# To a model of random weights all pictures look alike.
OPEN = ("select.aesthetic.min=none", "duplicates.look=none")


def run(asked: CurateRequest, home: Home, progress: Silence | None = None) -> Summary:
    return curate(asked, home, SerialEngine(), progress or Silence())


def scores(home: Home, scorer: str) -> list[ScoreRow]:
    with Catalog.open(home.catalog()) as catalog:
        return catalog.rows(ScoreRow, {"scorer": scorer})


@contextlib.contextmanager
def opened() -> Iterator[list[Path]]:
    """Collects every film that is opened meanwhile."""
    paths: list[Path] = []
    real = Film.__init__

    def counting(self: Film, path: Path) -> None:
        paths.append(path)
        real(self, path)

    with mock.patch.object(Film, "__init__", counting):
        yield paths


def test_the_production_recipe_runs_on_a_tiny_model(home: Home) -> None:
    rows = scores(home, "laion")
    assert len(rows) == CLIPS
    for row in rows:
        assert row.score == pytest.approx(np.mean(row.frame_scores), abs=1e-6)
        assert len(row.frames) == len(row.frame_scores) == 6  # three seconds, two a second
        assert row.frame_hashes is None
        assert np.linalg.norm(row.embedding or [0.0]) == pytest.approx(1.0, abs=1e-6)
    manifest = json.loads((home.datasets / "tiny" / "1" / "manifest.json").read_text())
    assert manifest["fingerprints"]["score:laion"] == rows[0].fingerprint
    assert "tmp" not in json.dumps(manifest["config"]["score"])  # weights by hash, not by place


def test_clusters_are_counted(home: Home) -> None:
    (report,) = home.reports.glob("tiny@1.json")
    refined = json.loads(report.read_text())["refined"]
    assert sum(refined["clusters"]) == CLIPS
    seen = preview(home, "tiny", ["balance.per_cluster=1"])
    assert seen.refined.over_cap.clips == CLIPS - len(refined["clusters"])
    assert seen.refined.kept.clips == len(refined["clusters"])


def test_another_scorer_opens_no_film(films: Path, weights: list[str], tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with opened() as at_first:
        run(request(films), home)
    assert len(at_first) >= len(SHOTS)
    with opened() as later:
        summary = run(request(films, *weights, "score.scorers=technical,laion"), home)
    assert later == []
    assert (summary.scored, summary.decodes) == (len(SHOTS), 0)
    assert summary.dataset is not None
    assert (summary.dataset.encoded, summary.dataset.copied) == (0, summary.dataset.samples)
    assert len(scores(home, "laion")) == len(scores(home, "technical")) == CLIPS


def test_what_is_scored_is_not_scored_again_and_no_model_is_loaded(
    films: Path, weights: list[str], home: Home
) -> None:
    before = catalog_rows(home)
    with mock.patch.object(ScorerPlan, "make", side_effect=AssertionError("a model was loaded")):
        summary = run(production(films, *weights, *OPEN), home)
    assert summary.scored == 0
    assert catalog_rows(home) == before


def test_thresholds_hold_scores_and_preview_agrees(
    films: Path, weights: list[str], home: Home
) -> None:
    values = sorted(row.score or 0.0 for row in scores(home, "laion"))
    setting = f"select.aesthetic.min={np.float32(values[2])!s}"
    foreseen = preview(home, "tiny@1", [setting])
    assert (foreseen.kept_now.clips, foreseen.kept.clips) == (CLIPS, CLIPS - 2)
    assert foreseen.dropped["aesthetic_low"].clips == 2
    summary = run(
        dataclasses.replace(production(films, *weights, *OPEN, setting), dataset="fewer"), home
    )
    assert summary.kept == foreseen.kept
    assert summary.scored == 0


def test_preview_cannot_ask_for_a_score_that_was_not_made(home: Home) -> None:
    with pytest.raises(ValueError, match="needs the scorer 'technical'"):
        preview(home, "tiny@1", ["select.technical.min=3"])


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("select.aesthetic.min=4", r"select\.aesthetic needs the scorer 'laion'"),
        ("duplicates.look=embedding", r"duplicates\.look needs the scorer 'laion'"),
        ("balance.clusters=3", r"balance\.clusters needs the scorer 'laion'"),
        ("balance.per_cluster=3", r"give balance\.clusters too"),
    ],
)
def test_settings_that_need_a_scorer_name_it(films: Path, setting: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        request(films, setting)


def test_absent_weights_are_an_error_before_any_film_is_opened(films: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with opened() as paths, pytest.raises(CurationError, match="LAION-AI/aesthetic-predictor"):
        run(production(films), home)
    assert paths == []


def test_a_plan_lists_the_files_of_models(films: Path, weights: list[str], tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    absent = planned(production(films), home)
    assert [(file.used_by, file.path) for file in absent.models] == [
        ("score.backbone", None),
        ("score.head", None),
    ]
    assert all(file.remedy for file in absent.models)
    present = planned(production(films, *weights), home)
    for file in present.models:
        assert file.path is not None
        assert file.bytes == file.path.stat().st_size
    assert json.loads(json.dumps(present.document()))["models"][1]["path"].endswith("head.pth")
    assert not home.root.exists()


def test_a_film_that_cannot_be_scored_is_reported_and_tried_again(
    films: Path, tmp_path: Path
) -> None:
    home, heard = Home(tmp_path / "home"), Heard()
    judge, calls = TechnicalScorer.judge, iter([CurationError("evidence is damaged")])

    def failing_once(self: TechnicalScorer, pictures: list[U8]) -> Judged:
        for error in calls:
            raise error
        return judge(self, pictures)

    with mock.patch.object(TechnicalScorer, "judge", failing_once):
        summary = run(request(films), home, heard)
    (said,) = [words for words in heard.said if words.startswith("technical: 1 films")]
    assert "evidence is damaged" in said
    assert summary.scored == len(SHOTS) - 1
    assert "technical_missing" in summary.dropped
    summary = run(request(films), home)
    assert (summary.scored, "technical_missing" in summary.dropped) == (1, False)
