"""Surrogate of background consistency: where which colours are.

A histogram of 4x4x4 colours (CIE Lab) in each of 4x4 parts of the picture; the likeness of two is
Bhattacharyya's coefficient (1943), which is the cosine of their square roots. It tells one scene
from another and sees colours drift; it takes a fast pan for a change of scene.
"""

import cv2
import numpy as np

from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.consistency import Consistency

NAME = "proxy_background_consistency"
_GRID = 4
_LEVELS = 4
_SIDE = 128


def proxy_background_consistency(fingerprint: str) -> Consistency:
    """The surrogate."""
    return Consistency(NAME, fingerprint, colours)


def colours(frames: U8) -> F64:
    """Square roots of the frames' colour histograms: `[n,D]`."""
    return np.stack([_colours(frame) for frame in frames])


def _colours(frame: U8) -> F64:
    small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2Lab).astype(np.int64)
    level = lab * _LEVELS // 256
    colour = (level[..., 0] * _LEVELS + level[..., 1]) * _LEVELS + level[..., 2]
    row, column = np.indices(colour.shape) * _GRID // _SIDE
    cell = (row * _GRID + column) * _LEVELS**3 + colour
    counts = np.bincount(cell.ravel(), minlength=_GRID**2 * _LEVELS**3)
    roots: F64 = np.sqrt(counts / counts.sum())
    return roots
