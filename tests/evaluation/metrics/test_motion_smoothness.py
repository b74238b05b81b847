"""Smoothness against closed forms and a loop over the whole video."""

import numpy as np
import pytest

from evaluation.errors import EvaluationError, MetricError
from evaluation.metrics.motion_smoothness import MotionSmoothness
from tests.evaluation.metrics.tiny_networks import Average
from tests.evaluation.metrics.videos import U8, clip_spans, judged, pan, shuffled, still


def metric(batch: int = 4) -> MotionSmoothness:
    return MotionSmoothness("any", "", Average(None, "cpu"), batch)


def by_loop(frames: U8) -> float:
    """Each odd frame against the mean of its neighbours, the last even frame closing the clip."""
    errors = []
    for k in range(1, len(frames) - 1, 2):
        foretold = (frames[k - 1].astype(int) + frames[k + 1]) // 2
        errors.append(np.abs(frames[k].astype(int) - foretold).mean())
    return 1 - float(np.mean(errors)) / 255


@pytest.mark.parametrize("count", [5, 47, 48, 100])
def test_it_is_the_mean_error_of_foretold_frames(count: int) -> None:
    frames = np.random.default_rng(count).integers(0, 256, (count, 6, 8, 3), np.uint8)
    expected = [by_loop(frames[a:b]) for a, b in clip_spans(count, 48)]
    found = judged(metric(), frames)
    assert found.series == pytest.approx(expected)
    assert found.value == pytest.approx(np.mean(expected))
    assert judged(metric(batch=100), frames) == found


def test_what_brightens_steadily_is_foretold_exactly_and_a_flicker_is_not() -> None:
    ramp = np.repeat(np.arange(0, 96, 2, dtype=np.uint8), 6 * 8 * 3).reshape(48, 6, 8, 3)
    assert judged(metric(), ramp).value == 1.0
    flicker = np.where(np.arange(48) % 2, 160, 100).astype(np.uint8)
    frames = np.repeat(flicker, 6 * 8 * 3).reshape(48, 6, 8, 3)
    found = judged(metric(), frames)
    assert found.value == pytest.approx(1 - 60 / 255)
    assert found.details["worst_frame_error"] == pytest.approx(60 / 255)


def test_laws() -> None:
    moving = pan(60, 1.0)
    assert judged(metric(), still(60)).value == 1.0
    assert judged(metric(), shuffled(moving)).value < judged(metric(), moving).value


def test_too_short_a_video_is_refused() -> None:
    with pytest.raises(MetricError, match="at least 3"):
        judged(metric(), still(2))


def test_a_plugin_that_gives_something_else_is_told_so() -> None:
    scaled = MotionSmoothness("any", "", lambda before, _: before[:, ::2, ::2], 4)
    floats = MotionSmoothness("any", "", lambda before, _: before / 255.0, 4)
    for broken in (scaled, floats):
        with pytest.raises(EvaluationError, match="8-bit frames of the size"):
            judged(broken, still(5))
