"""Several clips in one video: exact counts, true cuts that can be entered, and the right frames.

What is packed is read back with OpenCV and with PySceneDetect's own reader: other decoders, driven
another way than ours.
"""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scenedetect import ContentDetector, detect

from curation.scan import ScanConfig, scan_film
from curation.shards.encoding import ClipSource, EncodedSample, encode_sample
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.geometry import content_size
from tests.pipelines.tiny_library import HEIGHT, WIDTH, shot

U8 = npt.NDArray[np.uint8]
FPS, SHOT = 30, 72
SPANS = [(5, 65), (72, 121), (130, 144)]
"""Of a film with a cut at frame 72: two shots, and a later piece of the second one."""
COUNTS = [48, 40, 12]  # ceil(frames * 24 / 30)


def luma(path: Path) -> list[U8]:
    """All frames of a film, by OpenCV."""
    capture = cv2.VideoCapture(str(path))
    frames: list[U8] = []
    while True:
        there_is, frame = capture.read()
        if not there_is:
            return frames
        frames.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8))


def shown_at(k: int) -> int:
    """Source offset of output frame k: the last source frame that has begun by k / 24 s."""
    return max(n for n in range(SHOT) if n * 24 <= k * FPS)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two shots at 30 fps, soft enough that only its cut looks like one."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with FilmWriter(path, WIDTH, HEIGHT, fps=Fraction(FPS)) as writer:
        for seed in (1, 2):
            for picture in shot(seed, SHOT):
                writer.write_rgb(np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), np.uint8))
    return path


@pytest.fixture(scope="module")
def clips(film: Path) -> list[ClipSource]:
    """The spans as clips, after a scan."""
    traces = film.parent / "traces"
    row = scan_film(
        film, traces, video_id="0" * 32, uri=str(film), run_id="test", config=ScanConfig()
    )
    return [ClipSource(str(start), row, film, traces, start, end) for start, end in SPANS]


@pytest.fixture(scope="module")
def sample(clips: list[ClipSource]) -> EncodedSample:
    return encode_sample(clips, content_size(clips[0].video), EncodeSettings())


@pytest.fixture(scope="module")
def packed(sample: EncodedSample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "sample.mp4"
    path.write_bytes(sample.mp4)
    return path


def test_counts_are_exact_and_every_shot_begins_with_a_keyframe(
    sample: EncodedSample, packed: Path
) -> None:
    assert [len(frames) for frames in sample.source_frames] == COUNTS
    with av.open(str(packed)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        tick = 1 / (24 * stream.time_base)
        shown = [
            (packet.pts / tick, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
    assert sorted(k for k, _ in shown) == list(range(sum(COUNTS)))
    # Each shot's first frame, and every 24th frame after it.
    assert sorted(k for k, key in shown if key) == [0, 24, 48, 72, 88]


def test_frames_at_each_boundary_are_those_of_the_declared_clips(
    sample: EncodedSample, film: Path, packed: Path
) -> None:
    source, shown = luma(film), luma(packed)
    assert len(shown) == sum(COUNTS) == sample.frame_count
    at = 0
    for (start, _), frames, count in zip(SPANS, sample.source_frames, COUNTS, strict=True):
        assert frames == [start + shown_at(k) for k in range(count)]
        for k in (0, 1, count - 2, count - 1):
            away = [float(np.mean(cv2.absdiff(shown[at + k], frame))) for frame in source]
            assert int(np.argmin(away)) == frames[k]
            assert min(away) < 2.0
        at += count


def test_stock_detector_finds_the_boundaries_where_they_are_declared(packed: Path) -> None:
    scenes = detect(str(packed), ContentDetector(min_scene_len=0))
    assert [start.frame_num for start, _ in scenes] == [0, COUNTS[0], sum(COUNTS[:2])]


def test_a_shot_decodes_alone_from_its_keyframe(packed: Path) -> None:
    whole = [frame.to_ndarray() for frame in av.open(str(packed)).decode(video=0)]
    with av.open(str(packed)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        container.seek(round(COUNTS[0] / 24 / stream.time_base), stream=stream)
        entered = [frame.to_ndarray() for frame in container.decode(stream)]
    assert len(entered) == sum(COUNTS[1:])
    for alone, together in zip(entered, whole[COUNTS[0] :], strict=True):
        np.testing.assert_array_equal(alone, together)


def test_same_clips_same_bytes(clips: list[ClipSource], sample: EncodedSample) -> None:
    size = content_size(clips[0].video)
    assert encode_sample(clips, size, EncodeSettings()) == sample
    assert encode_sample(clips[::-1], size, EncodeSettings()).mp4 != sample.mp4
