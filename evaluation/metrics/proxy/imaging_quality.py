"""Surrogate of imaging quality: sharp, without noise, neither crushed nor burnt out.

The product of three terms of 0 to 1, on luma Y of 0 to 255 of a picture whose long side is brought
to 512 as MUSIQ's is:

* sharpness S / (S + 200), S the variance of the Laplacian (Pech-Pacheco et al. 2000);
* cleanness 1 / (1 + (N / 10)²), N Immerkær's (1996) estimate of the noise's deviation;
* exposure 1 - C, C the share of pixels at 2 or less, or 253 or more.

200 and 10 bring an ordinary picture to the middle of its term. Fine texture passes for noise, and
an intended blur for a fault.
"""

import cv2
import numpy as np

from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.average import FrameAverage

NAME = "proxy_imaging_quality"
_LONGEST = 512
_HALF_SHARPNESS, _HALF_NOISE = 200.0, 10.0
_CRUSHED, _BURNT = 2, 253
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def proxy_imaging_quality(fingerprint: str) -> FrameAverage:
    """The surrogate."""
    return FrameAverage(NAME, fingerprint, marks)


def marks(frames: U8) -> F64:
    """One mark per frame, 0 to 1."""
    return np.array([_mark(frame) for frame in frames])


def _mark(frame: U8) -> float:
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scale = _LONGEST / max(luma.shape)
    if scale < 1.0:
        size = max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale))
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    values = luma.astype(np.float32)
    sharpness = float(cv2.Laplacian(values, cv2.CV_32F)[1:-1, 1:-1].var(dtype=np.float64))
    clipped = float(np.mean((values <= _CRUSHED) | (values >= _BURNT)))
    clean = 1.0 / (1.0 + (noise(values) / _HALF_NOISE) ** 2)
    return sharpness / (sharpness + _HALF_SHARPNESS) * clean * (1.0 - clipped)


def noise(luma: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> float:
    """Immerkær's estimate of the deviation of noise in a picture `[h,w]`."""
    inner = cv2.filter2D(luma, cv2.CV_32F, _NOISE_KERNEL)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) * np.abs(inner).mean(dtype=np.float64) / 6.0)
