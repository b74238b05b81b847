"""Surrogate of subject consistency: the shapes in the middle of the picture.

Histograms of oriented gradients (Dalal and Triggs 2005) of the middle two thirds of each side, at
128x128: what stands there keeps them, another thing changes them. They know no identity: a subject
that walks out of the middle counts as lost, and one that turns as another.
"""

import cv2
import numpy as np

from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.consistency import Consistency

NAME = "proxy_subject_consistency"
_SIDE = 128
_CELL = 16
_BINS = 9
_GRID = _SIDE // _CELL
_STRENGTH_FLOOR = 2.0
"""Added to each block's length: gradients of a grey level or two are noise, not shapes."""


def proxy_subject_consistency(fingerprint: str) -> Consistency:
    """The surrogate."""
    return Consistency(NAME, fingerprint, shapes)


def shapes(frames: U8) -> F64:
    """Oriented gradients of the middle of frames: `[n,D]`, blocks of 2x2 cells of 9 bins."""
    found = np.stack([_shapes(_middle(frame)) for frame in frames])
    # A picture without gradients has a shape too: that of any other such picture.
    return np.concatenate([found, np.full((len(found), 1), 1e-3)], axis=1)


def _shapes(grey: U8) -> F64:
    values = grey.astype(np.float64)
    down, right = np.gradient(values)
    strength = np.hypot(down, right)
    turn = np.mod(np.arctan2(down, right), np.pi) / np.pi  # without sign: 0 to 1
    bin_ = np.minimum((turn * _BINS).astype(np.int64), _BINS - 1)
    row, column = np.indices(grey.shape) // _CELL
    place = (row * _GRID + column) * _BINS + bin_
    counts = np.bincount(place.ravel(), strength.ravel(), minlength=_GRID**2 * _BINS)
    cells = counts.reshape(_GRID, _GRID, _BINS) / _CELL**2
    blocks = np.concatenate(
        [cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1
    )
    lengths = np.linalg.norm(blocks, axis=-1, keepdims=True) + _STRENGTH_FLOOR
    described: F64 = (blocks / lengths).ravel()
    return described


def _middle(frame: U8) -> U8:
    height, width = frame.shape[:2]
    part = frame[height // 6 : height - height // 6, width // 6 : width - width // 6]
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)
