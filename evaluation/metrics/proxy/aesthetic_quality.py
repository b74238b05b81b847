"""Surrogate of aesthetic quality: curation's technical score, a tenth of it.

Colourfulness, contrast, exposure and sharpness by published formulas (`curation.scoring.technical`
says which): a vivid picture against a faded one. Nobody's taste went into it.
"""

import cv2
import numpy as np

from curation.scoring.technical import technical_score
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.average import FrameAverage

NAME = "proxy_aesthetic_quality"
_LINES = 288
"""The height at which curation judges; sharpness depends on it."""


def proxy_aesthetic_quality(fingerprint: str) -> FrameAverage:
    """The surrogate."""
    return FrameAverage(NAME, fingerprint, marks)


def marks(frames: U8) -> F64:
    """One mark per frame, 0 to 1."""
    return np.array([technical_score(_prepared(frame)) / 10.0 for frame in frames])


def _prepared(frame: U8) -> U8:
    height, width = frame.shape[:2]
    if height > _LINES:
        size = max(1, round(width * _LINES / height)), _LINES
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
