"""Fixtures that several packages share."""

import gc
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before anything numeric is imported, here and in what tests start: the cores are shared already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each worker imports everything before its first test. Looking for garbage meanwhile finds next to
# none, and takes a fifth of the time.
gc.disable()

if TYPE_CHECKING:  # what it imports takes seconds, and few tests need it
    from tests.training.tiny_dataset import TinyDataset

REPOSITORY = Path(__file__).resolve().parent.parent
FILMS = REPOSITORY.parent / "shared" / "videos"
LONGEST = (
    "flows/test_orchestration", "pipelines/test_train", "pipelines/test_ray_engine",
    "pipelines/test_kills", "pipelines/test_real_films", "training/test_ranks",
    "pipelines/test_study_browser", "pipelines/test_evaluate", "pipelines/test_train_hosts",
    "training/test_resume", "pipelines/test_precompute", "pipelines/test_identify",
    "pipelines/test_object_store", "model/test_generation_ranks", "pipelines/test_curate",
    "pipelines/test_cli", "pipelines/test_generate", "pipelines/test_caption",
)  # fmt: skip
"""Files that take longest, the longest first: begun last, one of them would be all that runs."""


def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores, up to four: the longest file mostly waits for servers."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    return min(len(os.sched_getaffinity(0)) + 1, 4)


def pytest_collection_finish() -> None:
    """Modules stay: what was imported until now is never looked through again for garbage."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; `--no-loadscope-reorder` keeps that order."""
    places = {REPOSITORY / "tests" / f"{name}.py": place for place, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in places), "LONGEST names a file that is gone"
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def films_dir() -> Path:
    """The folder of real films with hand-verified cuts; tests skip where it is absent."""
    if not (FILMS / "manifest.json").is_file():
        pytest.skip(f"the real films are not here ({FILMS} holds no manifest.json)")
    return FILMS


@pytest.fixture(scope="session")
def ffprobe() -> str:
    """The ffprobe command; tests that compare with it skip where it is absent."""
    found = shutil.which("ffprobe")
    if found is None:
        pytest.skip("ffprobe is not installed (it is an independent reference, not a need)")
    return found


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "TinyDataset":
    """The tiny published version. Never written to: tests that damage something copy it first."""
    from tests.training.tiny_dataset import make

    folder: Path = tmp_path_factory.mktemp("tiny-dataset")
    return make(folder)
