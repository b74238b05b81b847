"""The tiny published version, made once a session."""

from pathlib import Path

import pytest

from tests.training.tiny_dataset import TinyDataset, make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    """Never written to: tests that damage something copy it first."""
    folder: Path = tmp_path_factory.mktemp("tiny-dataset")
    return make(folder)
