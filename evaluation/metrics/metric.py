"""What a metric is: it takes a video clip by clip and gives one number, a curve and its details.

Metrics are fed side by side from one decode, so that a video is read once however many judge it;
what that costs is that each keeps its own small state until the video is over. A value is *raw*
(0 to 1, nothing normalised, nothing clipped): `evaluation.score` makes totals of raw values.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from evaluation.errors import MetricError
from evaluation.metrics.clips import Clip, Footage

PROXY_PREFIX = "proxy_"
PROXY_BANNER = (
    "Surrogates (proxy_*): classical image statistics, no trained network. They notice gross "
    "faults and compare runs of one model with each other; they are not VBench's metrics, have no "
    "total score and must not be set beside published numbers."
)
"""What every table, page and printout that shows a surrogate says."""


@dataclasses.dataclass(frozen=True, slots=True)
class MetricResult:
    """What one metric says of one video."""

    value: float
    """Raw, 0 to 1."""
    series: tuple[float, ...]
    """The value of each clip, in order: how the video fares over time."""
    starts: tuple[float, ...]
    """When each clip starts, in seconds."""
    details: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What the value was made of, e.g. ``clip_to_clip`` beside ``clip_to_clip_mapped``."""
    curves: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    """Further numbers per clip, e.g. ``to_first_clip``: likeness to the video's beginning."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricError(f"the metric's value is {self.value}: its model overflows here")
        if len(self.series) != len(self.starts):
            raise ValueError(f"{len(self.series)} clips and {len(self.starts)} times: one each")

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back exactly."""
        return {
            "value": self.value,
            "series": list(self.series),
            "starts": list(self.starts),
            "details": dict(self.details),
            "curves": {name: list(curve) for name, curve in self.curves.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "MetricResult":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(
            value=float(document["value"]),
            series=_floats(document["series"]),
            starts=_floats(document["starts"]),
            details={str(name): float(value) for name, value in document["details"].items()},
            curves={str(name): _floats(curve) for name, curve in document["curves"].items()},
        )


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


class Scoring(Protocol):
    """One metric at work on one video."""

    def take(self, clip: Clip) -> None:
        """Look at the next clip; its frames are not kept.

        Raises:
            MetricError: the clip is too short or too small for this metric.
        """

    def finish(self) -> MetricResult:
        """What was found, once every clip was taken."""


class Metric(Protocol):
    """Judges videos, one after the other."""

    @property
    def name(self) -> str:
        """VBench's name of the dimension, or one that begins with ``proxy_``."""

    @property
    def fingerprint(self) -> str:
        """What decides its numbers: algorithm, version, settings, hashes of the weights."""

    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video of this frame rate."""

    def score(self, video: Path) -> MetricResult:
        """Judge one video by this metric alone."""


class ClipMetric(abc.ABC):
    """A metric that only has to say how it begins."""

    name: str
    fingerprint: str

    @abc.abstractmethod
    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video of this frame rate."""

    def score(self, video: Path) -> MetricResult:
        """Judge one video by this metric alone.

        Raises:
            MetricError: the video is damaged, too short or too small.
        """
        return score_together(video, [self])[self.name]


def score_together(video: Path, metrics: Sequence[Metric]) -> dict[str, MetricResult]:
    """Judge one video by several metrics from one decode.

    Args:
        video: the file.
        metrics: of different names.

    Returns:
        By name, in the order of `metrics`.

    Raises:
        ValueError: two metrics have one name.
        MetricError: the video is damaged, too short or too small for one of them.
    """
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics = {', '.join(names)}: give each once")
    footage = Footage(video)
    at_work = [metric.begin(footage.fps) for metric in metrics]
    for clip in footage.clips():
        for scoring, name in zip(at_work, names, strict=True):
            try:
                scoring.take(clip)
            except MetricError as error:
                raise MetricError(f"{video}: {name}: {error}") from error
    return {name: scoring.finish() for name, scoring in zip(names, at_work, strict=True)}


def is_proxy(name: str) -> bool:
    """True for a surrogate, which never enters a VBench total."""
    return name.startswith(PROXY_PREFIX)
