"""From trimmed shots to clips: what is too long is split. Pure arithmetic.

The video codec takes 4n+1 frames and would lose the rest, so a long shot is split into pieces whose
packed lengths are 4n+1 frames at 24 fps wherever the film's timing allows it. Nothing is thrown
away here: too short is a reason for selection to drop a clip.
"""

import dataclasses
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from curation.video.retime import PACKED_RATE, end_of_span, source_offsets

_STEP = 4  # temporal stride of the video codec
_SEARCH = 12  # source frames tried for an end that gives 4n+1; 60 fps needs at most 10


@dataclasses.dataclass(frozen=True, slots=True)
class ClipConfig:
    """How long a clip may be.

    Attributes:
        max_seconds: longer shots are split into pieces of about equal length.
    """

    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.max_seconds >= 1.0:
            raise ValueError(f"clips.max_seconds = {self.max_seconds}: give at least 1 second")


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """The timestamps of a film."""

    pts: npt.NDArray[np.int64]
    time_base: Fraction
    step: int
    """How long the film's last frame is taken to last."""

    def offsets(self, start: int, end: int) -> npt.NDArray[np.int32]:
        """Source offsets of the 24-fps frames of a span (`retime.source_offsets`)."""
        last = end_of_span(self.pts, end, self.step)
        return source_offsets(self.pts[start:end], last, self.time_base)

    def seconds(self, frame: int) -> float:
        """When a frame begins (or, past the last, when the film ends), from the film's start."""
        ticks = end_of_span(self.pts, frame, self.step) - int(self.pts[0])
        return float(ticks * self.time_base)


def timeline(pts: npt.NDArray[np.int64], time_base: Fraction) -> Timeline:
    """Timeline of a film; its last frame lasts as long as its typical one."""
    steps = np.diff(pts)
    typical = int(np.median(steps)) if len(steps) else int(1 / (PACKED_RATE * time_base))
    return Timeline(pts, time_base, max(1, typical))


def split_span(times: Timeline, start: int, end: int, config: ClipConfig) -> list[tuple[int, int]]:
    """Split ``[start, end)`` into consecutive spans of at most `max_seconds` each."""
    longest = largest_4n1(int(config.max_seconds * PACKED_RATE))
    spans = []
    while start < end:
        offsets = times.offsets(start, end)
        if len(offsets) <= longest:
            spans.append((start, end))
            break
        pieces = -(-len(offsets) // longest)
        wanted = largest_4n1(len(offsets) // pieces)
        cut = _friendly_end(times, start, start + int(offsets[wanted - 1]) + 1)
        spans.append((start, cut))
        start = cut
    return spans


def _friendly_end(times: Timeline, start: int, end: int) -> int:
    """The latest end, at or shortly before `end`, that gives 4n+1 frames; else `end` itself."""
    for candidate in range(end, max(start, end - _SEARCH), -1):
        if len(times.offsets(start, candidate)) % _STEP == 1:
            return candidate
    return end


def largest_4n1(frames: int) -> int:
    """The largest 4n+1 that is at most `frames`, and at least 1."""
    return max(1, (frames - 1) // _STEP * _STEP + 1)
