"""Dynamic degree: does enough of a clip move fast enough, often enough?

VBench's rule (`vbench/dynamic_degree.py`): frames are taken at about 8 per second, the optical flow
from each to the next is reduced to the mean length of its largest 5 %, a pair moves where that is
more than 6 pixels per 256 of the short side, and a clip is dynamic where at least a quarter of its
sampled frames begin such a move. A video's value is the share of its clips that are. The verdict is
all or nothing per clip, so the value jumps; the flow itself is reported beside it.

The flow is RAFT's (Teed and Deng 2020) after 20 updates, by torchvision, whose ``C_T_V1`` weights
are the authors' ``raft-things``. One edge differs from VBench's: of a clip with so few frames that
the quarter rounds to none (two sampled frames), it asks for no moving pair and calls a still clip
dynamic; here at least one pair must move.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from evaluation.errors import MetricError
from evaluation.metrics.arrays import F32, F64, U8
from evaluation.metrics.clips import Clip
from evaluation.metrics.metric import ClipMetric, MetricResult, Scoring

Flow = Callable[[U8, U8], F32]
"""From frames `[n,H,W,3]` to others of the same shape: `[n,h,w,2]`, told in the frames' pixels."""

SAMPLED_FPS = 8
_FASTEST_SHARE = 0.05
_PIXELS_PER_256 = 6.0


class DynamicDegree(ClipMetric):
    """Share of a video's clips that move.

    Args:
        name: of the metric.
        fingerprint: of the flow.
        flow: between frames.
        batch: pairs at once.
    """

    def __init__(self, name: str, fingerprint: str, flow: Flow, batch: int) -> None:
        self.name, self.fingerprint = name, fingerprint
        self._flow, self._batch = flow, batch

    def begin(self, fps: Fraction) -> Scoring:
        """Start on a video."""
        return _DynamicScoring(fps, self._flow, self._batch)


class _DynamicScoring:
    def __init__(self, fps: Fraction, flow: Flow, batch: int) -> None:
        self._fps, self._flow, self._batch = fps, flow, batch
        self._series: list[float] = []
        self._starts: list[float] = []
        self._speeds: list[float] = []

    def take(self, clip: Clip) -> None:
        """Measure the clip's flow and judge it."""
        sampled = clip.frames[:: max(1, round(self._fps / SAMPLED_FPS))]
        if len(sampled) < 2:
            raise MetricError("one sampled frame shows no motion; give a video of 0.3 s at least")
        lengths: list[float] = []
        for start in range(0, len(sampled) - 1, self._batch):
            second = sampled[start + 1 : start + 1 + self._batch]
            flows = self._flow(sampled[start : start + len(second)], second)
            lengths += [fastest(flow) for flow in flows]
        speeds = np.array(lengths) * 256.0 / min(sampled.shape[1:3])
        self._series.append(float(moves(speeds, self._fps, len(sampled))))
        self._starts.append(float(clip.start / self._fps))
        self._speeds.append(float(speeds.mean()))

    def finish(self) -> MetricResult:
        """The share of clips that moved."""
        return MetricResult(
            value=float(np.mean(self._series)),
            series=tuple(self._series),
            starts=tuple(self._starts),
            details={"speed": float(np.mean(self._speeds)), "moving_clips": sum(self._series)},
            curves={"speed": tuple(self._speeds)},
        )


def fastest(flow_hw2: F32) -> float:
    """Mean length of the largest 5 % of a flow, in its pixels."""
    lengths = np.hypot(flow_hw2[..., 0], flow_hw2[..., 1]).ravel()
    count = int(lengths.size * _FASTEST_SHARE)
    if not count:
        raise MetricError(f"a flow of {lengths.size} pixels has no 5 %; give a larger video")
    longest = float(np.partition(lengths, -count)[-count:].mean())
    if not np.isfinite(longest):
        raise MetricError("the flow is not finite: its network overflows on these frames")
    return longest


def moves(speeds: F64, fps: Fraction, sampled: int) -> bool:
    """VBench's verdict on a clip.

    Args:
        speeds: of each pair, in pixels per 256 of the short side.
        fps: of the video; below 8 the frames lie further apart, and more is asked of them.
        sampled: how many frames were sampled, pairs plus one.
    """
    threshold = _PIXELS_PER_256 * max(1.0, SAMPLED_FPS / float(fps))
    needed = max(1, round(4 * (sampled / 16)))
    return int((speeds > threshold).sum()) >= needed
