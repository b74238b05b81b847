"""Fixtures that several packages share."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # what it imports takes seconds, and few tests need it
    from tests.training.tiny_dataset import TinyDataset

REPOSITORY = Path(__file__).resolve().parent.parent
FILMS = REPOSITORY.parent / "shared" / "videos"


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
