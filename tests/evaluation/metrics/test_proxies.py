"""The surrogates: laws on raw values, closed forms, and the real films."""

from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.metrics.build import build_metrics
from evaluation.metrics.clips import Footage
from evaluation.metrics.config import MetricsConfig
from evaluation.metrics.metric import Metric, is_proxy
from evaluation.metrics.proxy import aesthetic_quality, background_consistency, imaging_quality
from evaluation.metrics.proxy.flow import between, dis_flow
from evaluation.metrics.versions import PROXIES
from evaluation.score import DIMENSIONS
from tests.evaluation.metrics.videos import drifting, judged, pan, shuffled, still, texture


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    built = build_metrics(MetricsConfig(profile="proxy"), tmp_path_factory.mktemp("empty"))
    return {metric.name: metric for metric in built}


def test_there_is_one_for_each_dimension_by_a_name_that_has_no_total(
    metrics: dict[str, Metric],
) -> None:
    assert tuple(metrics) == PROXIES
    assert [name.removeprefix("proxy_") for name in metrics] == list(DIMENSIONS)
    assert all(map(is_proxy, metrics))


def test_a_constant_video_is_consistent_smooth_and_still(metrics: dict[str, Metric]) -> None:
    for frames in (still(96), np.full((96, 64, 64, 3), 90, np.uint8)):
        found = {name: judged(metric, frames) for name, metric in metrics.items()}
        assert found["proxy_subject_consistency"].value == pytest.approx(1.0)
        assert found["proxy_background_consistency"].value == pytest.approx(1.0)
        assert found["proxy_motion_smoothness"].value == 1.0
        assert found["proxy_dynamic_degree"].value == 0.0
        assert all(0.0 <= result.value <= 1.0 + 1e-12 for result in found.values())


def test_shuffled_frames_are_less_smooth_and_less_consistent(metrics: dict[str, Metric]) -> None:
    moving = pan(96, 2.0)
    smooth = metrics["proxy_motion_smoothness"]
    ordered = judged(smooth, moving).value
    assert ordered > 0.97
    assert judged(smooth, shuffled(moving)).value < ordered - 0.05
    background = metrics["proxy_background_consistency"]
    assert judged(background, shuffled(moving)).value < judged(background, moving).value


def test_a_drifting_video_is_less_consistent_over_the_long_range(
    metrics: dict[str, Metric],
) -> None:
    for name in ("proxy_subject_consistency", "proxy_background_consistency"):
        found = judged(metrics[name], drifting(240))
        assert found.details["clip_to_clip"] < found.value - 0.05
        curve = found.curves["to_first_clip"]
        assert all(later < earlier for earlier, later in pairwise(curve))


def test_what_moves_is_dynamic(metrics: dict[str, Metric]) -> None:
    found = judged(metrics["proxy_dynamic_degree"], pan(96, 1.5, 128, 160))
    assert found.value == 1.0
    assert found.details["speed"] == pytest.approx(3 * 1.5 * 2, rel=0.15)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (18, 240), (240, 18), (48, 80)])
def test_small_and_narrow_pictures_are_judged_too(
    metrics: dict[str, Metric], height: int, width: int
) -> None:
    for name, metric in metrics.items():
        found = judged(metric, pan(7, 1.0, height, width), fps=3)
        assert 0.0 <= found.value <= 1.0 + 1e-12, name


@pytest.mark.parametrize("height", [96, 512])
def test_flow_is_told_in_the_frames_own_pixels(height: int) -> None:
    frames = pan(2, 6.0 * height / 96, height, height * 3 // 2)
    flow = dis_flow(frames[:1], frames[1:])[0]
    inner = flow[flow.shape[0] // 4 : -flow.shape[0] // 4, flow.shape[1] // 4 : -flow.shape[1] // 4]
    assert np.median(inner[..., 0]) == pytest.approx(-6.0 * height / 96, rel=0.1)
    assert abs(np.median(inner[..., 1])) < 0.5 * height / 96


def test_the_frame_between_is_the_one_half_way() -> None:
    frames = pan(3, 3.0)
    foretold = between(frames[:1], frames[2:])[0].astype(int)
    blended = (frames[0].astype(int) + frames[2]) // 2
    inner = np.s_[12:-12, 12:-12]
    error, naive = (
        np.abs(guess[inner] - frames[1].astype(int)[inner]).mean() for guess in (foretold, blended)
    )
    assert error < naive / 3


def test_colours_are_compared_by_bhattacharyyas_coefficient() -> None:
    black, white = (np.full((1, 64, 64, 3), level, np.uint8) for level in (0, 255))
    half = black.copy()
    half[:, :, 32:] = 255  # two of four columns of parts
    features = background_consistency.colours(np.concatenate([black, white, half]))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0)
    np.testing.assert_allclose(features @ features[0], [1.0, 0.0, 0.5], atol=1e-12)


def test_imaging_falls_with_blur_noise_and_burnt_light() -> None:
    sharp = texture(240, 320, grain=3)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    grain = np.random.default_rng(0).normal(0, 25, sharp.shape)
    noisy = np.clip(sharp + grain, 0, 255).astype(np.uint8)
    burnt = np.clip(sharp.astype(int) * 3, 0, 255).astype(np.uint8)
    base = imaging_quality.marks(sharp[None])[0]
    for worse in (blurred, noisy, burnt):
        assert imaging_quality.marks(worse[None])[0] < base


def test_noise_is_measured_in_grey_levels() -> None:
    rng = np.random.default_rng(1)
    flat = (128 + rng.normal(0, 7, (300, 300))).astype(np.float32)
    assert imaging_quality.noise(flat) == pytest.approx(7, rel=0.03)


def test_the_aesthetic_mark_is_the_technical_score_of_curation() -> None:
    from curation.scoring.technical import technical_score

    frame = texture(288, 400)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    assert aesthetic_quality.marks(frame[None])[0] == pytest.approx(technical_score(bgr) / 10)


def test_real_films_rank_as_they_look(films_dir: Path, metrics: dict[str, Metric]) -> None:
    """Two seconds of a dog that eats before a still camera, and of a race of bicycles."""
    chosen = [name for name in metrics if "quality" not in name]
    dog, bikes = (
        {name: judged(metrics[name], frames) for name in chosen}
        for frames in (
            np.stack(list(islice(Footage(films_dir / film).frames(), 60)))
            for film in ("tc_dog_eating.mp4", "skv_bikes.mp4")
        )
    )
    for name in ("proxy_subject_consistency", "proxy_motion_smoothness"):
        assert dog[name].value > bikes[name].value
    assert dog["proxy_dynamic_degree"].details["speed"] < 10
    assert bikes["proxy_dynamic_degree"].value == 1.0
