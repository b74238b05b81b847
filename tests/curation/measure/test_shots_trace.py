"""Frame traces against PySceneDetect's own numbers, and their way through Arrow and Parquet."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, StatsManager

from curation.measure.shots.cuts import adaptive_ratio, content_score
from curation.measure.shots.trace import FRAME_TRACE_SCHEMA, FrameTracer, ShotTrace

U8 = npt.NDArray[np.uint8]


def restless_film(seed: int, count: int = 120) -> list[U8]:
    """Colourful pictures that drift, jump and pause, so that all kinds of scores occur."""
    rng = np.random.default_rng(seed)
    canvas = cv2.resize(rng.integers(0, 256, (40, 60, 3), np.uint8), (480, 320))
    frames = []
    x, y = 0, 0
    for _ in range(count):
        leap = rng.random()
        if leap < 0.05:
            canvas = cv2.resize(rng.integers(0, 256, (40, 60, 3), np.uint8), (480, 320))
        elif leap < 0.8:
            x, y = (x + int(rng.integers(0, 5))) % 220, (y + int(rng.integers(0, 3))) % 170
        frames.append(np.ascontiguousarray(canvas[y : y + 144, x : x + 256]))
    return frames


def trace_of(frames: list[U8]) -> ShotTrace:
    tracer = FrameTracer(capacity=16)
    for frame in frames:
        tracer.measure(frame)
    return ShotTrace.from_table(pa.table(tracer.take(), schema=FRAME_TRACE_SCHEMA))


def test_the_deltas_are_those_of_the_stock_content_detector() -> None:
    frames = restless_film(1)
    stats = StatsManager()
    detector = ContentDetector()
    detector.stats_manager = stats
    for index, frame in enumerate(frames):
        detector.process_frame(FrameTimecode(index, 25.0), frame)
    trace = trace_of(frames)
    names = ["delta_hue", "delta_sat", "delta_lum", "content_val"]
    stock = np.array(
        [stats.get_metrics(FrameTimecode(i, 25.0), names) for i in range(1, len(frames))]
    )
    ours = np.stack(
        [trace.delta_hue, trace.delta_sat, trace.delta_lum, content_score(trace)], axis=1
    )
    np.testing.assert_allclose(ours[1:], stock, rtol=1e-6)
    assert stock[:, 3].max() > 30  # the film did change scenes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window", [1, 2, 3])
def test_the_traces_give_the_cuts_of_the_stock_adaptive_detector(seed: int, window: int) -> None:
    frames = restless_film(seed)
    detector = AdaptiveDetector(min_scene_len=0, window_width=window)
    stock = []
    for index, frame in enumerate(frames):
        stock += detector.process_frame(FrameTimecode(index, 25.0), frame)
    score = content_score(trace_of(frames))
    passed = (adaptive_ratio(score, window) >= 3.0) & (score >= 15.0)
    # The stock detector counts the first frame's absent change as a zero and leaves out the last
    # frames; everywhere else the two are the same.
    same = slice(window + 1, len(frames) - window)
    expected = [cut.frame_num for cut in stock if same.start <= cut.frame_num < same.stop]
    assert expected
    assert (np.flatnonzero(passed[same]) + same.start).tolist() == expected


def test_luma_sharpness_and_thumbnail_are_what_they_say() -> None:
    frame = restless_film(7, 1)[0]
    trace = trace_of([frame])
    luma = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    assert trace.luma_mean[0] == pytest.approx(luma.mean(), rel=1e-6)
    assert trace.luma_std[0] == pytest.approx(luma.std(), rel=1e-5)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    padded = np.pad(luma.astype(int), 1, mode="reflect")
    laplacian = sum(
        kernel[i, j] * padded[i : i + 144, j : j + 256] for i in range(3) for j in range(3)
    )
    assert trace.sharpness[0] == pytest.approx(np.var(laplacian), rel=1e-5)
    blocks = luma.reshape(18, 8, 32, 8).mean((1, 3))
    assert np.abs(trace.thumbnail[0] - blocks).max() <= 0.5


def test_the_first_frame_has_no_change() -> None:
    trace = trace_of(restless_film(3, 2))
    assert trace.delta_hue[0] == trace.delta_sat[0] == trace.delta_lum[0] == 0.0
    assert trace.delta_lum[1] > 0


def test_rows_taken_in_portions_are_the_rows_taken_at_once(tmp_path: Path) -> None:
    frames = restless_film(5, 50)
    whole, portions = FrameTracer(capacity=8), FrameTracer(capacity=8)
    path = tmp_path / "frames.parquet"
    with pq.ParquetWriter(path, FRAME_TRACE_SCHEMA) as writer:
        for index, frame in enumerate(frames):
            whole.measure(frame)
            portions.measure(frame)
            if index % 17 == 16:
                writer.write_table(pa.table(portions.take(), schema=FRAME_TRACE_SCHEMA))
                assert len(portions) == 0
        writer.write_table(pa.table(portions.take(), schema=FRAME_TRACE_SCHEMA))
    at_once = pa.table(whole.take(), schema=FRAME_TRACE_SCHEMA)
    read = pq.read_table(path)
    assert read.equals(at_once)
    trace = ShotTrace.from_table(read)
    np.testing.assert_array_equal(
        trace.thumbnail, ShotTrace.from_table(at_once.slice(0, 50)).thumbnail
    )
    np.testing.assert_array_equal(
        ShotTrace.from_table(at_once.slice(10, 5)).thumbnail, trace.thumbnail[10:15]
    )


def test_what_was_taken_is_not_overwritten_by_what_comes_after() -> None:
    frames = restless_film(6, 20)
    tracer = FrameTracer(capacity=4)
    for frame in frames[:10]:
        tracer.measure(frame)
    taken = pa.table(tracer.take(), schema=FRAME_TRACE_SCHEMA)
    before = ShotTrace.from_table(taken).thumbnail.copy()
    for frame in frames[10:]:
        tracer.measure(frame)
    np.testing.assert_array_equal(ShotTrace.from_table(taken).thumbnail, before)


def test_a_film_without_frames_has_an_empty_trace() -> None:
    assert len(trace_of([])) == 0


def test_capacity_must_hold_a_frame() -> None:
    with pytest.raises(ValueError, match="capacity"):
        FrameTracer(capacity=0)
