"""Several runs on one home at once: one works, the others say for whom they wait."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.conftest import REPOSITORY
from tests.pipelines.tiny_library import SETTINGS, catalog_rows, published_files, render, request

PATIENCE = 120.0  # seconds until a step that should take a few is given up


class Run:
    """A `tempo curate` under way."""

    def __init__(self, films: Path, home: Home, log: Path) -> None:
        command = [sys.executable, "-m", "pipelines", "curate", str(films), "--dataset", "tiny"]
        command += ["--home", str(home.root), "--workers", "1"]
        for setting in SETTINGS:
            command += ["--set", setting]
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_for(self, words: str) -> None:
        """Wait until it has printed these words."""
        self.wait_until(lambda: words in self.said)

    @property
    def said(self) -> str:
        """What it has printed until now."""
        return self._log.read_text()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while it runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path, Home], Run]]:
    """Starts runs, and ends them with the test."""
    runs: list[Run] = []

    def started(films: Path, home: Home) -> Run:
        runs.append(Run(films, home, tmp_path / f"{len(runs)}.log"))
        return runs[-1]

    yield started
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_runs_on_one_home_wait_for_each_other_and_for_no_dead_one(
    tmp_path: Path, start: Callable[[Path, Home], Run]
) -> None:
    films, home, undisturbed = (
        render(tmp_path / "films"),
        Home(tmp_path / "a"),
        Home(tmp_path / "b"),
    )
    curate(request(films), undisturbed, SerialEngine(), Silence())
    holder = start(films, home)
    holder.wait_until((home.root / "catalog.db").exists)  # opened by the one that holds the lock
    os.kill(holder.process.pid, signal.SIGSTOP)
    waiting = [start(films, home), start(films, home)]
    for run in waiting:
        run.wait_for("waiting")
        named = f"process {holder.process.pid} on {socket.gethostname()}"
        assert f"waiting for another run on this home ({named}, since 2" in run.said
    assert not (home.root / "datasets").exists()
    holder.process.kill()
    codes = [run.process.wait(PATIENCE) for run in waiting]
    first, second = sorted(waiting, key=lambda run: "unchanged: " in run.said)
    assert codes == [0, 0], first.said + second.said
    assert "tiny@1 published: " in first.said
    assert "tiny@1 unchanged: " in second.said
    assert published_files(home) == published_files(undisturbed)
    assert catalog_rows(home) == catalog_rows(undisturbed)
