"""What networks see, against OpenCV's resizing and plain arithmetic."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from evaluation.metrics import pictures
from tests.evaluation.metrics.videos import U8, texture

F64 = npt.NDArray[np.float64]
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
CLIP = (
    np.array([0.48145466, 0.4578275, 0.40821073]),
    np.array([0.26862954, 0.26130258, 0.27577711]),
)


def resized(frame: U8, width: int, height: int, how: int) -> F64:
    return cv2.resize(frame.astype(np.float32), (width, height), interpolation=how).astype(float)


def normalised(frame: F64, by: tuple[F64, F64]) -> F64:
    return (frame / 255.0 - by[0]) / by[1]


def middle(frame: F64, side: int) -> F64:
    top, left = round((frame.shape[0] - side) / 2), round((frame.shape[1] - side) / 2)
    return frame[top : top + side, left : left + side]


@pytest.fixture
def frame() -> U8:
    return texture(120, 208, grain=5)


def shown(tensor: torch.Tensor) -> F64:
    return tensor[0].permute(1, 2, 0).double().numpy()


def as_tensor(frame: U8) -> torch.Tensor:
    return pictures.tensor_of(frame[None], torch.device("cpu"))


def test_dino_sees_the_whole_width(frame: U8) -> None:
    found = shown(pictures.for_dino(as_tensor(frame), 56))
    wide = int(56 * 208 / 120)
    expected = normalised(resized(frame, wide, 56, cv2.INTER_LINEAR), IMAGENET)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_clip_sees_the_middle_square(frame: U8) -> None:
    found = shown(pictures.for_clip(as_tensor(frame), 56))
    expected = middle(resized(frame, int(56 * 208 / 120), 56, cv2.INTER_CUBIC), 56)
    np.testing.assert_allclose(found, normalised(expected, CLIP), atol=1e-3)


def test_dinov2_sees_seven_eighths_of_the_short_side(frame: U8) -> None:
    found = shown(pictures.for_dinov2(as_tensor(frame), 56))
    expected = middle(resized(frame, int(64 * 208 / 120), 64, cv2.INTER_CUBIC), 56)
    np.testing.assert_allclose(found, normalised(expected, IMAGENET), atol=1e-3)


def test_dreamsim_sees_a_squeezed_square(frame: U8) -> None:
    found = shown(pictures.for_dreamsim(as_tensor(frame), 56))
    expected = resized(frame, 56, 56, cv2.INTER_CUBIC) / 255.0
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_musiq_sees_large_pictures_smaller_and_small_ones_as_they_are(frame: U8) -> None:
    found = shown(pictures.for_musiq(as_tensor(frame), 100))
    assert found.shape[:2] == (int(100 / 208 * 120), 100)
    expected = resized(frame, 100, int(100 / 208 * 120), cv2.INTER_LINEAR) / 255.0
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(shown(pictures.for_musiq(as_tensor(frame), 208)), frame / 255.0)
