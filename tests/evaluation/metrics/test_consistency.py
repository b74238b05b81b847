"""Consistency against torch's cosines over whole videos, and against VBench's own numbers."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from evaluation.errors import MetricError
from evaluation.metrics.arrays import F64
from evaluation.metrics.consistency import Consistency, LongRange, mapped_to_within
from tests.evaluation.metrics.videos import U8, clip_spans, judged

SUBJECT = LongRange(weight=0.3, table="subject")


def frame_features(frames: U8) -> F64:
    """Any function of a frame: its rows' and columns' means, signed."""
    values = frames.astype(np.float64).mean(axis=3) - 100.0
    return np.concatenate([values.mean(axis=1), values.mean(axis=2)], axis=1)


def other_features(frames: U8) -> F64:
    return frames.reshape(len(frames), -1)[:, ::7].astype(np.float64) - 128.0


def noise(frames: int) -> U8:
    return np.random.default_rng(3).integers(0, 256, (frames, 12, 16, 3), np.uint8)


def by_torch(features: F64) -> float:
    """The published loop: each frame with the one before and with the first, halves of both."""
    rows = torch.from_numpy(features)
    summed = 0.0
    for k in range(1, len(rows)):
        before = max(0.0, cosine_similarity(rows[k - 1 : k], rows[k : k + 1]).item())
        first = max(0.0, cosine_similarity(rows[:1], rows[k : k + 1]).item())
        summed += (before + first) / 2
    return summed / (len(rows) - 1)


def test_within_clips_it_is_the_mean_of_cosines() -> None:
    frames = noise(121)
    found = judged(Consistency("any", "", frame_features), frames)
    expected = [by_torch(frame_features(frames[a:b])) for a, b in clip_spans(121, 48)]
    assert found.series == pytest.approx(expected, abs=1e-9)
    assert found.value == pytest.approx(np.mean(expected), abs=1e-9)
    assert found.starts == (0.0, 2.0, 73 / 24)


def test_between_clips_it_compares_their_first_frames_and_is_reported_in_any_profile() -> None:
    frames = noise(200)
    firsts = frames[[start for start, _ in clip_spans(200, 48)]]
    plain = judged(Consistency("any", "", frame_features), frames)
    assert plain.details["clip_to_clip"] == pytest.approx(by_torch(frame_features(firsts)))
    assert "clip_to_clip_mapped" not in plain.details

    dev = judged(Consistency("any", "", frame_features, other_features, SUBJECT), frames)
    raw = by_torch(other_features(firsts))
    keys = [k / 100 for k in range(101)]
    table = [mapped_to_within("subject", key) for key in keys]
    mapped = float(np.interp(raw, keys, table))
    assert dev.details["clip_to_clip"] == pytest.approx(raw)
    assert dev.details["clip_to_clip_mapped"] == pytest.approx(mapped)
    assert dev.value == pytest.approx(0.7 * plain.value + 0.3 * mapped)


# Of VBench's own tables, read off by hand.
@pytest.mark.parametrize(
    ("table", "raw", "mapped"),
    [
        ("subject", 0.0, 0.0),
        ("subject", 0.01, 0.655812085783768),
        ("subject", 0.25, 0.870585293424396),
        ("subject", 0.78, 0.977155875644753),
        ("subject", 0.785, (0.977155875644753 + 0.978418810979857) / 2),
        ("subject", 1.0, 1.0),
        ("background", 0.13, 0.91899572410357),
        ("background", 0.5, 0.946057962880035),
        ("background", 0.995, (0.985895411744772 + 1.0) / 2),
    ],
)
def test_the_mapping_is_vbenchs(table: str, raw: float, mapped: float) -> None:
    assert mapped_to_within(table, raw) == pytest.approx(mapped, abs=1e-6)


def test_the_mapping_hides_drift_that_the_raw_number_shows() -> None:
    shown = mapped_to_within("subject", 0.9) - mapped_to_within("subject", 0.5)
    assert 7 * shown < 0.9 - 0.5


def test_one_clip_has_no_long_range() -> None:
    frames = noise(30)
    found = judged(Consistency("any", "", frame_features, other_features, SUBJECT), frames)
    assert found.value == pytest.approx(by_torch(frame_features(frames)))
    assert "clip_to_clip" not in found.details


def test_unlike_clips_count_as_nothing_between_and_leave_the_value_alone() -> None:
    # VBench leaves out a mapped score of 0 rather than counting it.
    blocks = np.zeros((4, 2, 2, 3), np.uint8)

    def sides(frames: U8) -> F64:
        return np.where(frames[:, 0, :1, 0] > 0, [[1.0, 0.0]], [[-1.0, 0.0]])

    blocks[2:] = 255
    found = judged(Consistency("any", "", sides, None, SUBJECT), blocks, fps=1)
    assert found.details["clip_to_clip"] == 0.0
    assert found.value == found.details["within_clips"] == 1.0


def test_the_curve_tells_each_clips_likeness_to_the_first() -> None:
    frames = noise(144)
    features = frame_features(frames[[0, 48, 96]])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = judged(Consistency("any", "", frame_features), frames)
    curve = found.curves["to_first_clip"]
    assert curve == pytest.approx(np.clip(unit @ unit[0], 0, 1))
    assert found.details["last_to_first_clip"] == curve[-1]


def test_features_that_overflow_are_an_error_and_not_a_score() -> None:
    for broken in (np.nan, np.inf, 0.0):
        metric = Consistency("any", "", lambda frames, b=broken: np.full((len(frames), 3), b))
        with pytest.raises(MetricError, match="not finite"):
            judged(metric, noise(4))


def test_of_each_clip_one_features_vector_is_kept() -> None:
    length, clips = 20_000, 20
    wide = np.random.default_rng(0).normal(size=(10, length))
    metric = Consistency("any", "", lambda frames: wide[: len(frames)].copy())
    tracemalloc.start()
    try:
        judged(metric, noise(10 * clips), fps=5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Three arrays of a clip's features at once while it is compared, and one vector per clip.
    assert peak < 8 * length * (3 * 10 + 3 * clips)


def test_a_single_frame_is_refused() -> None:
    with pytest.raises(MetricError, match="two"):
        judged(Consistency("any", "", frame_features), noise(1))
