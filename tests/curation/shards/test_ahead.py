"""A film in one pass: the bytes of encoding each sample alone, and a word for each that fails."""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation.derive import DeriveConfig, derive_film
from curation.errors import FilmError
from curation.records import VideoRow
from curation.scan import ScanConfig, scan_film
from curation.shards import ahead
from curation.shards.ahead import FilmTask, encode_film
from curation.shards.document import SampleClip, SamplePlan
from curation.shards.encoding import ClipSource, encode_sample
from curation.traces import Traces
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.film import Film, Frame
from curation.video.spans import FrameTable
from tests.pipelines.tiny_library import HEIGHT, WIDTH, shot

FRAMES = 100
SPANS = [[(60, 75)], [(4, 30)], [(4, 30), (41, 59), (60, 75)], [(50, 55)], [(20, 45)]]
"""Of samples in no order: alone, in a sequence, overlapping, one inside the gap of another."""


def rendered(path: Path, frames: int) -> Path:
    """A film of one scene at 30 fps, so that 24 fps drops some of its frames."""
    with FilmWriter(path, WIDTH, HEIGHT, fps=Fraction(30)) as writer:
        for picture in shot(1, frames):
            writer.write_rgb(np.asarray(picture))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rendered(tmp_path_factory.mktemp("film") / "film.mp4", FRAMES)


@pytest.fixture(scope="module")
def video(film: Path) -> VideoRow:
    traces = film.parent / "traces"
    given = {"video_id": "0" * 32, "uri": str(film), "run_id": "test", "config": ScanConfig()}
    return scan_film(film, traces, **given)


def task_of(film: Path, video: VideoRow, folder: Path) -> FilmTask:
    """Samples of the film at `film`, with the traces of the one that was scanned."""
    traces = Path(video.uri).parent / "traces"
    (row,) = derive_film(video, Traces(traces), DeriveConfig()).clips
    plans = []
    for number, spans in enumerate(SPANS):
        clips = tuple(
            SampleClip(
                ClipSource(f"{start:032x}", video, film, traces, start, end), row, "words", "test"
            )
            for start, end in spans
        )
        kind = "multi" if len(spans) > 1 else "single"
        plans.append(
            SamplePlan(f"{number:032x}", kind, "train", clips, "words", (96, 64), None, {})
        )
    return FilmTask(video.video_id, folder, tuple(plans), EncodeSettings())


def alone(plan: SamplePlan) -> bytes:
    return encode_sample([clip.source for clip in plan.clips], plan.size, EncodeSettings()).mp4


def test_one_pass_gives_the_bytes_of_encoding_each_sample_alone(
    film: Path, video: VideoRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(film, video, tmp_path / "ahead")
    decoded = []

    def counted(film: Film, table: FrameTable) -> Iterator[Frame]:
        for frame in read_through(film, table):
            decoded.append(frame.index)
            yield frame

    read_through = ahead.read_through
    monkeypatch.setattr(ahead, "read_through", counted)
    result = encode_film(task)
    assert decoded == list(range(75))  # once, and no further than the last sample
    assert not result.given_up
    for plan in task.samples:
        stored = result.stored[plan.sample_id]
        data = stored.tar.read_bytes()
        assert data[stored.mp4_offset :][: stored.mp4_size] == alone(plan)
        document = json.loads(data[stored.json_offset :][: stored.json_size])
        assert [len(shot["source"]["frames"]) for shot in document["shots"]] == [
            -(-(end - start) * 24 // 30) for start, end in SPANS[int(plan.sample_id, 16)]
        ]
    assert encode_film(task) == result
    assert decoded == list(range(75))  # found, not made again


def test_a_pass_that_was_cut_off_is_made_again(film: Path, video: VideoRow, tmp_path: Path) -> None:
    task = task_of(film, video, tmp_path)
    first = encode_film(task)
    whole = first.stored["0" * 32].tar.read_bytes()
    (tmp_path / f"{video.video_id}.json").unlink()  # as after a kill between tar and index
    (tmp_path / f"{video.video_id}.tar").write_bytes(whole[:5000])
    assert encode_film(task) == first
    assert first.stored["0" * 32].tar.read_bytes() == whole


def test_what_a_film_no_longer_gives_is_said_as_it_is_said_of_a_sample_alone(
    video: VideoRow, tmp_path: Path
) -> None:
    shorter = rendered(tmp_path / "shorter.mp4", 52)
    task = task_of(shorter, video, tmp_path / "ahead")
    result = encode_film(task)
    begun = {plan.sample_id for plan in task.samples if plan.clips[-1].source.end_frame <= 52}
    assert result.stored.keys() == begun == {"1".zfill(32), "4".zfill(32)}
    for plan in task.samples:
        if plan.sample_id not in begun:
            with pytest.raises(FilmError) as caught:
                alone(plan)
            assert str(result.given_up[plan.sample_id]) == str(caught.value)


def test_a_film_that_is_gone_leaves_nothing(video: VideoRow, tmp_path: Path) -> None:
    task = task_of(tmp_path / "gone.mp4", video, tmp_path / "ahead")
    with pytest.raises(FilmError, match="vanished"):
        encode_film(task)
    assert not list((tmp_path / "ahead").iterdir())
