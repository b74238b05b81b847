"""What a library will cost: a real pilot, scaled, and nothing left of it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.engine import LocalEngine, SerialEngine
from pipelines.estimate import JOB, Estimate, Prices, _scratch, estimate
from pipelines.inputs import list_films
from pipelines.job import Silence
from tests.pipelines.tiny_library import SETTINGS, config, render

CLIPS = 30_000


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


def run(films: Path, scratch: Path, sample: int) -> Estimate:
    return estimate(
        list_films([str(films)]),
        config(),
        sample=sample,
        clips=[CLIPS],
        prices=Prices(cpu_hour=0.5, gpu_hour=2.0),
        workers=10,
        engine=LocalEngine(2),
        scratch=scratch,
        progress=Silence(),
    )


def test_a_pilot_is_measured_scaled_and_removed(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pilot stays out of the catalog and the store that real runs use.
    monkeypatch.setenv("TEMPO_CATALOG_URI", "postgresql+psycopg2://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TEMPO_DATASETS", "s3://nowhere/datasets")
    found = run(films, tmp_path, sample=2)
    assert list(tmp_path.iterdir()) == []
    pilot = found.pilot
    stages = {stage.name: stage for stage in pilot.stages}
    assert {"identify", "scan", "pack", JOB} <= stages.keys()
    assert {name.partition("-")[0] for name in stages} >= {"score", "caption"}
    assert (stages["scan"].items, pilot.films) == (2, 2)
    assert all(stage.cpu_seconds > 0 for stage in pilot.stages if "caption" not in stage.name)
    assert stages["scan"].cpu_seconds > stages["identify"].cpu_seconds
    whole, imagined = found.projections
    library = sum(path.stat().st_size for path in films.iterdir())
    assert whole.times == pytest.approx(library / pilot.bytes)
    assert whole.times > 1
    assert imagined.clips == pytest.approx(CLIPS)
    assert imagined.times == pytest.approx(CLIPS / pilot.clips_kept)
    for one in found.projections:
        cpu = sum(stage.cpu_seconds for stage in pilot.stages) * one.times / 3600
        assert sum(one.cpu_hours.values()) == pytest.approx(cpu)
        assert one.cost == pytest.approx(cpu * 0.5)
        own = stages[JOB].cpu_seconds * one.times / 3600
        assert one.hours == pytest.approx((cpu - own) / 10 + own)
        assert one.cpu_hours[one.slowest] == max(one.cpu_hours.values())
        assert one.shards_bytes == pytest.approx(pilot.shards_bytes * one.times)


def test_the_next_pilot_removes_what_a_killed_one_left(films: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "estimate", str(films), "--sample", "1"]
    command += ["--scratch", str(tmp_path), *(f"--set={setting}" for setting in SETTINGS)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (left := list(tmp_path.glob("*/catalog.db"))):
            assert killed.poll() is None
            time.sleep(0.05)
        with _scratch(tmp_path):
            assert left[0].exists()  # while it lives, its folder is let be
    finally:
        killed.kill()
        killed.wait()
    assert left[0].exists()
    with _scratch(tmp_path) as ours:
        assert list(tmp_path.glob("tempo-estimate-*")) == [ours]
    assert not list(tmp_path.glob("tempo-estimate-*"))


def test_what_is_named_like_a_pilots_folder_and_is_none_is_let_be(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".in-use").touch()
    (tmp_path / "tempo-estimate-link").symlink_to(elsewhere)
    (tmp_path / "tempo-estimate-notes.txt").write_text("of mine")
    there = set(tmp_path.rglob("*"))
    with _scratch(tmp_path) as ours:
        assert ours.is_dir()
    assert set(tmp_path.rglob("*")) == there


def test_what_cannot_be_sampled_is_said(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("uri\nnone.mp4\n")
    with pytest.raises(ValueError, match="not one of these films can be read"):
        estimate(
            list_films([str(tmp_path / "list.csv")]),
            config(),
            sample=1,
            clips=[],
            prices=Prices(1.0, 1.0),
            workers=1,
            engine=SerialEngine(),
            scratch=tmp_path,
            progress=Silence(),
        )
    with pytest.raises(ValueError, match="gpu_hour = -1"):
        Prices(1.0, -1.0)
