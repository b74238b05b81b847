"""Boundaries that a network sees and the rules do not: wipes, jump cuts, dissolves in one framing.

The rules' boundaries stand as they are, since they are exact to a frame. What the network adds
belongs to no shot as far as it reaches: its file does not say whether the frame that it marks is a
shot's last or the next one's first.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class TransNetRule:
    """When the network's opinion makes a boundary. Without a network nothing here counts."""

    min_probability: float = 0.5
    """Of a frame at which a shot ends; 0.5 is its authors' threshold."""
    near_frames: int = 5
    """Not more than so many frames from a boundary of the rules, it is the same one."""

    def __post_init__(self) -> None:
        if not 0 < self.min_probability <= 1:
            raise ValueError(
                f"transnet.min_probability = {self.min_probability}: give more than 0, up to 1"
            )
        if self.near_frames < 0:
            raise ValueError(f"transnet.near_frames = {self.near_frames}: give 0 or more")


def judged(
    probability: F32, known: list[tuple[int, int]], rule: TransNetRule
) -> list[tuple[int, int]]:
    """Spans of frames [start, end) in which one shot becomes another, in order.

    A span at an end of the film is none: there is no shot on its other side.

    Args:
        probability: [N] that a shot ends with each frame.
        known: spans of the rules' boundaries.
        rule: thresholds.
    """
    marked = np.concatenate([[False], probability >= rule.min_probability, [False]])
    edges = np.flatnonzero(marked[1:] != marked[:-1])
    spans = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    near = rule.near_frames
    return [
        (start, end)
        for start, end in spans
        if start > 0
        and end < len(probability)
        and not any(low - near <= end and start <= high + near for low, high in known)
    ]
