"""Fixtures that several packages share."""

import shutil
from pathlib import Path

import pytest

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
