"""Boundaries that a network sees and the rules do not: wipes, jump cuts, dissolves in one framing.

Where both see one, the rules' stands, which is exact to a frame; but a frame that lies within a
longer change by the network's word belongs to no shot, whatever the rules say. Nor does the frame
that it marks at a cut: TransNetV2 marks a shot's last frame, PySceneDetect reads the mark as the
next one's first.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from curation.measure.shots.transition import GRADUAL, Transition

F32 = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class TransNetRule:
    """When the network's opinion makes a boundary. Without a network nothing here counts."""

    min_probability: float = 0.5
    """From which a frame is marked; 0.5 is its authors' threshold."""
    cut_frames: int = 2
    """Most frames that a cut is marked on; more are a gradual transition."""
    near_frames: int = 5
    """A cut of the network's no more than so many frames from a boundary of the rules is that
    one."""

    def __post_init__(self) -> None:
        if not 0 < self.min_probability <= 1:
            raise ValueError(
                f"transnet.min_probability = {self.min_probability}: give more than 0, up to 1"
            )
        for name in ("cut_frames", "near_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"transnet.{name} = {getattr(self, name)}: give 0 or more")


def with_judged(known: list[Transition], probability: F32, rule: TransNetRule) -> list[Transition]:
    """The rules' transitions and what the network adds, in order and disjoint.

    Args:
        known: the rules' transitions, disjoint.
        probability: [N] of a transition at each frame.
        rule: thresholds.
    """
    merged: list[Transition] = []
    for here in sorted([*known, *_added(known, probability, rule)], key=_place):
        if merged and here.start < merged[-1].end:
            merged[-1] = _united(merged[-1], here)
        else:
            merged.append(here)
    return merged


def _added(known: list[Transition], probability: F32, rule: TransNetRule) -> list[Transition]:
    """Runs of marked frames that are not a boundary of the rules under another name.

    A run at an end of the film is none: there is no shot on its other side.
    """
    marked = np.concatenate([[False], probability >= rule.min_probability, [False]])
    edges = np.flatnonzero(marked[1:] != marked[:-1])
    runs = [
        Transition("cut" if end - start <= rule.cut_frames else "dissolve", start, end)
        for start, end in edges.reshape(-1, 2).tolist()
        if start > 0 and end < len(probability)
    ]
    near = rule.near_frames
    return [
        run
        for run in runs
        if run.kind != "cut"
        or not any(one.start - near <= run.end and run.start <= one.end + near for one in known)
    ]


def _united(first: Transition, second: Transition) -> Transition:
    kinds = [one.kind for one in (first, second) if one.kind in GRADUAL]
    kind = "fade" if "fade" in kinds else "dissolve"
    return Transition(kind, first.start, max(first.end, second.end))


def _place(transition: Transition) -> tuple[int, int]:
    return transition.start, transition.end
