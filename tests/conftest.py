"""Fixtures that several packages share."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FILMS = REPOSITORY.parent / "shared" / "videos"


@pytest.fixture(scope="session")
def films_dir() -> Path:
    """The folder of real films with hand-verified cuts; tests that need it skip where it is absent."""
    if not (FILMS / "manifest.json").is_file():
        pytest.skip(f"the real films are not here ({FILMS} holds no manifest.json)")
    return FILMS
