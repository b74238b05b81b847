"""Kill -9 at every commit point, and at odd moments; run again: the same bytes and rows."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.pipelines.tiny_library import SETTINGS, catalog_rows, published_files, render, request

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    curate(request(films), home, SerialEngine(), Silence())
    return home


def test_killed_after_every_lasting_step(films: Path, undisturbed: Home, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    runs = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.killed_runs", str(home.root), str(films)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=540,
    )
    steps = runs.stdout.split("\n")
    for step in ("sources", "clips", "shots", "videos", "scores", "captions", "samples", "shards"):
        assert f"commit {step}" in steps, runs.stdout + runs.stderr
    # Tags and reports come after the version is real, so the run after `datasets` finds it done.
    for step in ("commit datasets", "rename manifest.json", "rename train-000000.tar", "rename 1"):
        assert step in steps, runs.stdout + runs.stderr
    assert runs.returncode == 0, runs.stdout + runs.stderr
    assert published_files(home) == published_files(undisturbed)
    assert catalog_rows(home) == catalog_rows(undisturbed)


@pytest.mark.parametrize("seconds", [1.6, 2.6, 3.6])
def test_killed_at_odd_moments_with_its_workers(
    films: Path, undisturbed: Home, tmp_path: Path, seconds: float
) -> None:
    home = Home(tmp_path / "home")
    command = [
        sys.executable, "-m", "pipelines", "curate", str(films), "--dataset", "tiny",
        "--home", str(home.root),
    ]  # fmt: skip
    for setting in SETTINGS:
        command += ["--set", setting]
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert published_files(home) == published_files(undisturbed)
    assert catalog_rows(home) == catalog_rows(undisturbed)
    assert [path.name for path in (home.datasets / "tiny").iterdir()] == ["1"]
