"""Which source frame each frame of a constant-rate sample shows. Pure integer arithmetic.

Output frame k shows the source frame with the greatest PTS <= t0 + k / rate + slack, where t0 is
the PTS of the clip's first frame. Nothing is blended, and nothing multiplies by an average rate: a
film of 23.976 fps repeats a frame every 41.7 s, and a variable-rate film keeps its own timing.

Slack: a container rounds timestamps to its time base, so two of them may be off by one unit
between them. Matroska counts milliseconds: there 24 fps are 0, 42, 83, 125, and taken at its word
every third frame would come too late. So a unit is allowed for, where units are that fine.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

PACKED_RATE = 24
"""Frames per second of every packed sample."""
_FINEST_EXACT = Fraction(1, 500)
"""Seconds. Time bases of coarser units count frames, and round nothing."""


def source_offsets(
    pts: npt.NDArray[np.int64], end_pts: int, time_base: Fraction, rate: int = PACKED_RATE
) -> npt.NDArray[np.int32]:
    """Map output frames to source frames.

    Args:
        pts: [n] strictly increasing timestamps of the clip's frames, in `time_base`.
        end_pts: when the last frame ends, in the same unit.
        time_base: seconds per unit.
        rate: output frames per second.

    Returns:
        [k] for each output frame the offset into `pts`; k = ceil((duration - slack) * rate), at
        least 1.
    """
    assert len(pts) > 0
    assert end_pts > pts[-1]
    # Everything times rate * numerator, so that times compare as integers.
    unit = rate * time_base.numerator
    elapsed = (pts - pts[0]) * unit
    slack = unit if time_base <= _FINEST_EXACT else 0
    lasts = (int(end_pts) - int(pts[0])) * unit - slack
    count = max(1, -(-lasts // time_base.denominator))
    shown_at = np.arange(count, dtype=np.int64) * time_base.denominator + slack
    return (np.searchsorted(elapsed, shown_at, side="right") - 1).astype(np.int32)


def repeated_and_dropped(offsets: npt.NDArray[np.int32], source_frames: int) -> tuple[float, float]:
    """Share of output frames that repeat the one before, and of source frames never shown."""
    shown = len(np.unique(offsets))
    return 1 - shown / len(offsets), 1 - shown / source_frames


def end_of_span(pts: npt.NDArray[np.int64], end: int, step: int) -> int:
    """When frame `end - 1` stops being shown: the next frame's PTS, or one step later at the end.

    Args:
        pts: timestamps of all frames of the film.
        end: exclusive end of the span.
        step: how long the film's last frame is taken to last.
    """
    return int(pts[end]) if end < len(pts) else int(pts[-1]) + step
