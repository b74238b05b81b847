"""Motion smoothness: how well each second frame is foretold from its neighbours.

VBench's rule (`vbench/motion_smoothness.py`): of each clip the frames 0, 2, 4 ... are kept, a frame
interpolation network draws the ones between, and those are compared with the real ones: 1 minus the
mean absolute difference of their 8-bit values over 255. Flicker, jumps and shuffled frames lower
it; so does fast motion that the network cannot follow.

The network, AMT-S (Li et al., CVPR 2023), comes as a plugin: its published code may not be used
commercially. The plugin also owns what VBench does around it (padding to its stride, working
smaller where a GPU's memory asks for it).
"""

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np

from evaluation.errors import EvaluationError, MetricError
from evaluation.metrics.arrays import U8
from evaluation.metrics.clips import Clip
from evaluation.metrics.metric import ClipMetric, MetricResult, Scoring

Interpolator = Callable[[U8, U8], U8]
"""From frames `[n,H,W,3]`, and those two after them, to the frames between, of the same shape."""


class MotionSmoothness(ClipMetric):
    """1 minus the mean error of foretold frames.

    Args:
        name: of the metric.
        fingerprint: of the interpolation.
        interpolate: draws the frame in the middle of two.
        batch: pairs at once.
    """

    def __init__(self, name: str, fingerprint: str, interpolate: Interpolator, batch: int) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._interpolate, self._batch = interpolate, batch

    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video."""
        return _SmoothnessScoring(fps, self._interpolate, self._batch)


class _SmoothnessScoring:
    def __init__(self, fps: Fraction, interpolate: Interpolator, batch: int) -> None:
        self._fps, self._interpolate, self._batch = fps, interpolate, batch
        self._series: list[float] = []
        self._starts: list[float] = []
        self._worst = 0.0

    def take(self, clip: Clip) -> None:
        """Foretell the clip's odd frames from its even ones."""
        even, odd = clip.frames[0::2], clip.frames[1::2]
        pairs = len(even) - 1
        if pairs < 1:
            raise MetricError(f"a clip of {len(clip.frames)} frames; at least 3 are needed")
        errors: list[float] = []
        for start in range(0, pairs, self._batch):
            part = slice(start, min(start + self._batch, pairs))
            after = slice(part.start + 1, part.stop + 1)
            foretold = self._interpolate(even[part], even[after])
            errors += _errors(odd[part], foretold)
        self._series.append(1.0 - float(np.mean(errors)) / 255.0)
        self._starts.append(float(clip.start / self._fps))
        self._worst = max(self._worst, *errors)

    def finish(self) -> MetricResult:
        """The mean over clips."""
        return MetricResult(
            value=float(np.mean(self._series)),
            series=tuple(self._series),
            starts=tuple(self._starts),
            details={"worst_frame_error": self._worst / 255.0},
        )


def _errors(real: U8, foretold: U8) -> list[float]:
    """Mean absolute difference of each frame, 0 to 255."""
    if foretold.shape != real.shape or foretold.dtype != np.uint8:
        raise EvaluationError(
            f"the interpolation gave {foretold.dtype} {foretold.shape} for uint8 {real.shape}; "
            "a plugin returns 8-bit frames of the size that it was given"
        )
    return [
        float(np.mean(cv2.absdiff(one, other))) for one, other in zip(real, foretold, strict=True)
    ]
