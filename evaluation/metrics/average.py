"""Metrics that judge each frame by itself: the mean over a clip's frames, then over clips.

VBench averages so for aesthetic and imaging quality. The last clip of a video overlaps the one
before it, so the frames that both hold count twice, in VBench as here.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.clips import Clip
from evaluation.metrics.metric import ClipMetric, MetricResult, Scoring

Judge = Callable[[U8], F64]
"""Frames `[n,H,W,3]` to a mark for each `[n]`, 0 to 1."""


class FrameAverage(ClipMetric):
    """Mean mark of the frames.

    Args:
        name: of the metric.
        fingerprint: of the judge.
        judge: marks frames.
    """

    def __init__(self, name: str, fingerprint: str, judge: Judge) -> None:
        self.name, self.fingerprint, self._judge = name, fingerprint, judge

    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video."""
        return _AverageScoring(fps, self._judge)


class _AverageScoring:
    def __init__(self, fps: Fraction, judge: Judge) -> None:
        self._fps, self._judge = fps, judge
        self._series: list[float] = []
        self._starts: list[float] = []
        self._least, self._most = np.inf, -np.inf

    def take(self, clip: Clip) -> None:
        """Mark the clip's frames."""
        marks = self._judge(clip.frames)
        if not np.isfinite(marks).all():
            raise MetricError("a frame's mark is not finite: its model overflows")
        self._series.append(float(marks.mean()))
        self._starts.append(float(clip.start / self._fps))
        self._least = min(self._least, float(marks.min()))
        self._most = max(self._most, float(marks.max()))

    def finish(self) -> MetricResult:
        """The mean over clips."""
        return MetricResult(
            value=float(np.mean(self._series)),
            series=tuple(self._series),
            starts=tuple(self._starts),
            details={"worst_frame": self._least, "best_frame": self._most},
        )
