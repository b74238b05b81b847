"""Films that cannot be entered: read once for all their shards, with the shards they always had."""

from pathlib import Path

import pytest

from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from pipelines.steps import ahead, pack
from tests.curation.video.media import ffmpeg
from tests.pipelines.tiny_library import catalog_rows, published_files, render, request


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 in AVI, which says when to decode a frame and not when to show it."""
    folder, source = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("source")
    for film in render(source).iterdir():
        ffmpeg("-i", film, "-c", "copy", folder / f"{film.stem}.avi")
    return folder


def test_the_same_shards_as_sample_by_sample(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small shards, so that a film's samples are in several of them.
    asked = request(films, "pack.shard_bytes=1000000", "multishot.share=0.5")
    together, apart = Home(tmp_path / "together"), Home(tmp_path / "apart")
    passes = []

    def counted(task: ahead.FilmTask) -> ahead.FilmResult:
        passes.append(task.samples[0].clips[0].source.path.name)
        return encode_film(task)

    encode_film = ahead.encode_film
    with monkeypatch.context() as patched:
        patched.setattr(ahead, "encode_film", counted)
        first = curate(asked, together, SerialEngine(), Silence())
    assert sorted(passes) == ["first.avi", "third.avi"]  # the second has one sample
    monkeypatch.setattr(pack, "encode_ahead", lambda *_: [])
    second = curate(asked, apart, SerialEngine(), Silence())
    assert first.dataset is not None
    assert second.dataset is not None
    assert first.dataset.encoded == second.dataset.encoded == first.dataset.samples > 5
    assert published_files(together) == published_files(apart)
    assert catalog_rows(together) == catalog_rows(apart)
    assert not list(together.datasets.rglob(ahead.AHEAD))


def test_a_film_that_fails_ahead_is_packed_all_the_same(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: ahead.FilmTask) -> ahead.FilmResult:
        raise RuntimeError(task.video_id)

    monkeypatch.setattr(ahead, "encode_film", fails)
    summary = curate(request(films), Home(tmp_path), SerialEngine(), Silence())
    assert summary.dataset is not None
    assert summary.dataset.encoded == summary.dataset.samples
    assert not summary.dataset.lost
