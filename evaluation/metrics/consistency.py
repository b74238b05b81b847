"""Consistency of pictures by the cosines of their features: within clips, and between them.

Both of VBench's consistency dimensions (and their surrogates) are this walk with different
features. Within a clip each frame is compared with the one before it and with the clip's first
(`vbench/subject_consistency.py`, `vbench/background_consistency.py`). Between clips their first
frames are compared in the same way (VBench-Long's slow branch, `vbench2_beta_long/utils.py`), and
what comes out is brought to the scale of the in-clip score by a table that VBench fitted. The
mapping is steep at its low end and flat at its top, so drift nearly vanishes in it: the raw number
is always reported beside the mapped one.
"""

import bisect
import dataclasses
import functools
import json
from collections.abc import Callable
from fractions import Fraction
from importlib import resources

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.clips import Clip
from evaluation.metrics.metric import ClipMetric, MetricResult, Scoring

Features = Callable[[U8], F64]
"""Frames `[n,H,W,3]` to one feature vector each `[n,D]`, of any length but zero."""


@dataclasses.dataclass(frozen=True, slots=True)
class LongRange:
    """How the comparison between clips enters the value."""

    weight: float
    """Of the mapped comparison between clips; the rest is the mean within clips."""
    table: str
    """Whose mapping: 'subject' or 'background'."""


class Consistency(ClipMetric):
    """Mean cosine of each frame with the one before it and with its clip's first.

    Args:
        name: of the metric.
        fingerprint: of features and long range.
        features: of every frame.
        between: of each clip's first frame, for the comparison between clips; by default the same.
        long_range: how that comparison counts; None: not at all (it is reported all the same).
    """

    def __init__(
        self,
        name: str,
        fingerprint: str,
        features: Features,
        between: Features | None = None,
        long_range: LongRange | None = None,
    ) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._features, self._between, self._long_range = features, between, long_range

    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video."""
        return _ConsistencyScoring(fps, self._features, self._between, self._long_range)


class _ConsistencyScoring:
    """Keeps one feature vector per clip."""

    def __init__(
        self,
        fps: Fraction,
        features: Features,
        between: Features | None,
        long_range: LongRange | None,
    ) -> None:
        self._fps, self._long_range = fps, long_range
        self._features, self._between = features, between
        self._series: list[float] = []
        self._starts: list[float] = []
        self._firsts: list[F64] = []

    def take(self, clip: Clip) -> None:
        """Compare the clip's frames, and keep the features of its first."""
        if len(clip.frames) < 2:
            raise MetricError("one frame has nothing to be consistent with; give at least two")
        features = unit(self._features(clip.frames))
        self._series.append(float(walk(features).mean()))
        self._starts.append(float(clip.start / self._fps))
        first = features[:1] if self._between is None else unit(self._between(clip.frames[:1]))
        self._firsts.append(first[0].copy())  # a view would keep the whole clip's features

    def finish(self) -> MetricResult:
        """The mean within clips, and what lies between them."""
        within = float(np.mean(self._series))
        details = {"within_clips": within}
        firsts = np.stack(self._firsts)
        to_first = np.clip(firsts @ firsts[0], 0.0, 1.0)
        value = within
        if len(firsts) > 1:
            between = float(walk(firsts).mean())
            details |= {"clip_to_clip": between, "last_to_first_clip": float(to_first[-1])}
            if self._long_range is not None:
                mapped = mapped_to_within(self._long_range.table, between)
                details["clip_to_clip_mapped"] = mapped
                weight = self._long_range.weight if mapped != 0.0 else 0.0
                value = (1.0 - weight) * within + weight * mapped
        return MetricResult(
            value=value,
            series=tuple(self._series),
            starts=tuple(self._starts),
            details=details,
            curves={"to_first_clip": tuple(float(likeness) for likeness in to_first)},
        )


def walk(features: F64) -> F64:
    """For each picture but the first: the mean of two cosines, each brought into 0 to 1.

    Args:
        features: `[n,D]` of length 1, in order of time.

    Returns:
        `[n-1]`: likeness to the picture before and to the first, averaged.
    """
    before = np.einsum("nd,nd->n", features[1:], features[:-1])
    first = features[1:] @ features[0]
    # Beyond 1 only rounding lies; below 0 VBench counts nothing.
    likeness: F64 = (np.clip(before, 0.0, 1.0) + np.clip(first, 0.0, 1.0)) / 2
    return likeness


def unit(features: F64) -> F64:
    """Features brought to length 1.

    Raises:
        MetricError: a feature vector is zero or not finite.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    if not np.isfinite(length).all() or not (length > 0).all():
        raise MetricError("the features of a frame are zero or not finite: its model overflows")
    unit_features: F64 = features / length
    return unit_features


def mapped_to_within(table: str, between: float) -> float:
    """VBench-Long's mapping from a comparison between clips to the scale of one within clips.

    Args:
        table: 'subject' or 'background'.
        between: 0 to 1.

    Returns:
        The table's value, linear between its hundredths; beyond its ends the end's.
    """
    values = _tables()[table]
    last = len(values) - 1
    keys = [step / last for step in range(last + 1)]
    above = bisect.bisect_left(keys, between)
    if above == 0:
        return values[0]
    if above > last:
        return values[last]
    share = (between - keys[above - 1]) / (keys[above] - keys[above - 1])
    return values[above - 1] + share * (values[above] - values[above - 1])


@functools.cache
def _tables() -> dict[str, list[float]]:
    text = resources.files("evaluation.metrics").joinpath("long_range.json").read_text("utf-8")
    document = json.loads(text)
    return {name: document[name] for name in ("subject", "background")}
