"""A disk that is full or read-only: a clear error, nothing half-made, nothing to mend."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.catalog.datasets import datasets
from curation.catalog.store import Catalog
from curation.errors import CatalogError, CurationError
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.conftest import REPOSITORY
from tests.pipelines.tiny_library import SETTINGS, catalog_rows, published_files, render, request

FULL = ("No space left on device", "disk is full")  # the system's words, and SQLite's
STEPS = 10  # runs in which the disk grows from nothing to what a run needs


class Disk:
    """A file system of its own, in memory, of a size that can be changed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, kilobytes: int) -> None:
        """Make it; skips the test where that is not allowed."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("only root can mount a small disk")
        self.place.mkdir()
        done = self._run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", self.place)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def remount(self, option: str) -> None:
        """Change its size (``size=64m``), or whether it can be written to (``ro``)."""
        done = self._run("mount", "-o", f"remount,{option}", self.place)
        assert done.returncode == 0, done.stderr

    def unmount(self) -> None:
        """Take it away again, if it is there."""
        if self.place.is_mount():
            # Lazily: a connection that could not be opened may not be collected yet.
            done = self._run("umount", "--lazy", self.place)
            assert done.returncode == 0, done.stderr

    @staticmethod
    def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    curate(request(films), home, SerialEngine(), Silence())
    return home


class Witness(Silence):
    """Remembers which stage a run was in last."""

    def __init__(self) -> None:
        self.last = "start"

    def stage(self, name: str, total: int) -> None:
        del total
        self.last = name


def tempo_curate(films: Path, home: Home) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", "curate", str(films), "--dataset", "tiny"]
    for setting in SETTINGS:
        command += ["--set", setting]
    return subprocess.run(
        [*command, "--home", str(home.root)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def assert_nothing_half_made(home: Home) -> None:
    """No version's folder without its row, and no file or folder that was begun only."""
    with Catalog.open(home.catalog()) as catalog:
        published = {str(row.version) for row in datasets(catalog)}
    assert {path.name for path in home.datasets.glob("tiny/[!.]*")} == published
    assert not list(home.root.rglob("*.partial"))


def test_a_disk_that_is_too_small_again_and_again(
    films: Path, undisturbed: Home, disk: Disk
) -> None:
    needed = sum(file.stat().st_size for file in undisturbed.root.rglob("*")) // 1024
    failures: set[tuple[str, type]] = set()
    disk.mount(8)
    home = Home(disk.place / "home")
    for step in range(1, 2 * STEPS):
        witness = Witness()
        try:
            curate(request(films), home, SerialEngine(), witness)
            break
        except CurationError as error:
            assert any(words in str(error) for words in FULL), error
            assert "free" in str(error)
            failures.add((witness.last, type(error)))
        disk.remount(f"size={needed * step // STEPS}k")
        assert_nothing_half_made(home)
    assert {stage for stage, _ in failures} >= {"start", "scan", "pack"}
    assert {kind for _, kind in failures} == {CurationError, CatalogError}
    assert published_files(home) == published_files(undisturbed)
    assert catalog_rows(home) == catalog_rows(undisturbed)


def test_the_command_ends_in_one_line_whatever_its_workers_were_doing(
    films: Path, undisturbed: Home, disk: Disk
) -> None:
    needed = sum(file.stat().st_size for file in undisturbed.root.rglob("*"))
    disk.mount(needed * 3 // 10 // 1024)
    home = Home(disk.place / "home")
    done = tempo_curate(films, home)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert any(words in done.stderr for words in FULL)
    disk.remount("size=64m")
    assert_nothing_half_made(home)
    curate(request(films), home, SerialEngine(), Silence())
    assert published_files(home) == published_files(undisturbed)
    assert catalog_rows(home) == catalog_rows(undisturbed)


def test_a_read_only_home_can_be_read_and_says_so_to_who_would_write(
    films: Path, undisturbed: Home, disk: Disk
) -> None:
    disk.mount(65536)
    home = Home(disk.place / "home")
    curate(request(films), home, SerialEngine(), Silence())
    disk.remount("ro")
    with Catalog.open(home.catalog()) as catalog:
        assert [row.version for row in datasets(catalog)] == [1]
    for place in (home, Home(disk.place / "other")):
        with pytest.raises(CurationError, match=r"home .* cannot be written to .*--home"):
            curate(request(films), place, SerialEngine(), Silence())
    assert published_files(home) == published_files(undisturbed)
