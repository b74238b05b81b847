"""Shots from traces: frame-exact, without decoding.

A shot holds no frame of its neighbours: what a transition blends belongs to no shot, and a black
gap between a fade-out and a fade-in is a shot of its own (selection drops it by its exposure), so
that every frame of a film is in one shot or in one transition. Everything is counted in frames; the
frame rate only turns settings given in seconds into frames, so variable frame rates do not matter.
"""

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt

from curation.measure.shots.cuts import CutConfig, find_cuts
from curation.measure.shots.gradual import GradualConfig, find_gradual
from curation.measure.shots.judged import TransNetRule, with_judged
from curation.measure.shots.trace import ShotTrace
from curation.measure.shots.transition import GRADUAL, Transition

F32 = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class TrimConfig:
    """What is cut off a shot's ends because it is blurred."""

    guard_seconds: float = 0.16
    """Cut off beside a fade or a dissolve, whose first and last frames differ too little from the
    shot to be told from it (4 frames at 24 fps)."""
    min_sharpness: float = 0.4
    """Frames at a shot's ends that are less sharp than this share of the shot's median are cut off
    (variance of the Laplacian, so 0.4 means edges of 0.63 times the contrast)."""
    max_seconds: float = 1.0
    """Most that is cut off an end for lack of sharpness; a longer blur is the shot itself."""

    def __post_init__(self) -> None:
        for name in ("guard_seconds", "min_sharpness", "max_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"trim.{name} = {getattr(self, name)}: give 0 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class ShotConfig:
    """How shots are found and trimmed."""

    cuts: CutConfig = dataclasses.field(default_factory=CutConfig)
    gradual: GradualConfig = dataclasses.field(default_factory=GradualConfig)
    trim: TrimConfig = dataclasses.field(default_factory=TrimConfig)
    transnet: TransNetRule = dataclasses.field(default_factory=TransNetRule)


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """Frames [start, end), at least one, that belong to one shot alone.

    Two transitions without a frame between them (a fade-out that a cut cuts off) have no shot
    between them: the earlier is the `transition_out` of the shot before, the later the
    `transition_in` of the shot after.
    """

    start: int
    end: int
    transition_in: Transition
    transition_out: Transition


def find_shots(
    trace: ShotTrace, fps: float, config: ShotConfig, probability: F32 | None = None
) -> list[Shot]:
    """Shots in order, disjoint; together with the transitions they cover the film.

    Args:
        trace: all frames of a film.
        fps: mean frame rate; only turns settings in seconds into frames.
        config: thresholds.
        probability: [N] of a transition at each frame, where a network has judged them.
    """
    if not fps > 0:
        raise ValueError(f"fps = {fps}: give the film's mean frame rate, above 0")
    count = len(trace)
    cuts = find_cuts(trace, fps, config.cuts)
    transitions = [Transition("cut", cut.start, cut.end) for cut in cuts]
    transitions += [
        Transition(gradual.kind, gradual.start, gradual.end)
        for gradual in find_gradual(trace, cuts, fps, config.gradual)
    ]
    transitions.sort(key=lambda transition: (transition.start, transition.end))
    if probability is not None:
        if len(probability) != count:
            raise ValueError(f"{len(probability)} frames were judged, and {count} traced")
        transitions = with_judged(transitions, probability, config.transnet)
    ends = [Transition("start", 0, 0), *transitions, Transition("end", count, count)]
    return [
        Shot(before.end, after.start, before, after)
        for before, after in itertools.pairwise(_without_hidden(ends))
        if before.end < after.start
    ]


def _without_hidden(transitions: list[Transition]) -> list[Transition]:
    """Settle the transitions that no shot would see, as others touch them on both sides.

    Such a one is joined to a fade or dissolve beside it. Between cuts or the film's ends it is
    none: what changes from its first frame to its last is a shot.
    """
    waiting = list(transitions)
    kept = waiting[:1]
    for i in range(1, len(waiting) - 1):
        before, here, after = kept[-1], waiting[i], waiting[i + 1]
        if not before.end == here.start < here.end == after.start:
            kept.append(here)
        elif before.kind in GRADUAL:
            kept[-1] = dataclasses.replace(before, end=here.end)
        elif after.kind in GRADUAL:
            waiting[i + 1] = dataclasses.replace(after, start=here.start)
    return [*kept, *waiting[-1:]]


def trim_blurred_edges(
    shot: Shot, sharpness: F32, fps: float, config: TrimConfig
) -> tuple[int, int]:
    """What is left of a shot without the frames at its ends that transitions or motion blurred.

    TempoMaster §3.3: blurred frames from transitions are removed.

    Args:
        shot: the shot.
        sharpness: [N] `ShotTrace.sharpness` of the whole film.
        fps: mean frame rate.
        config: thresholds.

    Returns:
        [start, end), empty (start == end) when nothing is left.
    """
    guard = round(config.guard_seconds * fps)
    start = shot.start + (guard if shot.transition_in.kind in GRADUAL else 0)
    end = shot.end - (guard if shot.transition_out.kind in GRADUAL else 0)
    if start >= end:
        middle = (shot.start + shot.end) // 2
        return middle, middle
    most = round(config.max_seconds * fps)
    clear = sharpness[start:end] >= config.min_sharpness * np.median(sharpness[start:end])
    # The median frame itself is clear, so there is a first and a last clear frame.
    first = int(np.argmax(clear))
    last = int(np.argmax(clear[::-1]))
    return start + min(first, most), end - min(last, most)
