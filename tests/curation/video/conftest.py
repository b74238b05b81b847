"""Fixtures of the video tests."""

import pytest

from tests.curation.video.media import Library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Small synthetic films, made once for all tests that ask for them."""
    return Library(tmp_path_factory.mktemp("films"))
