"""Fades and dissolves with their ranges.

Seeds (`seeds`: windows in which the picture goes straight from one image to another) are taken from
the best to the least; each is grown to where movement along its line stops, and judged again by
what then stands on its two sides. The price of wanting different scenes or a blank picture at the
ends: a dissolve within one framing is not reported. Wipes are not looked for.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from curation.measure.shots.cuts import Cut
from curation.measure.shots.seeds import SeedConfig, dissolves, fades, find_seeds
from curation.measure.shots.similarity import BLANK, flat, same_scene
from curation.measure.shots.trace import ShotTrace

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.intp]
Bool = npt.NDArray[np.bool_]

MIN_FRAMES = 2


@dataclasses.dataclass(frozen=True, slots=True)
class GradualConfig:
    """What counts as a fade or a dissolve, and where it begins and ends."""

    seeds: SeedConfig = dataclasses.field(default_factory=SeedConfig)
    min_speed: float = 0.1
    """A transition ends where movement along its line falls below this share of its usual speed."""
    max_speed: float = 3.0
    """... or rises above this many times its usual speed: another transition begins."""
    reach_seconds: float = 5.0
    """How far beyond its seed a transition may grow, on either side."""
    blank_contrast: float = 0.25
    """Contrast of a fade's blank end over that of its other end, unless something cuts it off."""
    dip_seconds: float = 0.15
    """A fade-out and a fade-in that leave the screen blank no longer than this are one transition
    (a dip to black or white)."""
    blink_seconds: float = 1.0
    """When the scene is the same after being blank for at most this time, nothing has changed."""
    blink_survival: float = 0.6
    """Share of tiles that must keep their texture in the same scene."""

    def __post_init__(self) -> None:
        if not 0 < self.min_speed < 1 < self.max_speed:
            raise ValueError(
                f"gradual.min_speed = {self.min_speed} and max_speed = {self.max_speed}: give a "
                "range around 1, the usual speed"
            )
        for name in ("reach_seconds", "dip_seconds", "blink_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"gradual.{name} = {getattr(self, name)}: give 0 or more seconds")


@dataclasses.dataclass(frozen=True, slots=True)
class Gradual:
    """A gradual transition: frames [start, end) are neither the one shot nor the other."""

    kind: str
    """'fade' or 'dissolve'."""
    start: int
    end: int


def find_gradual(
    trace: ShotTrace, cuts: list[Cut], fps: float, config: GradualConfig
) -> list[Gradual]:
    """Fades and dissolves in order, disjoint, none of them across a cut.

    Args:
        trace: all frames of a film.
        cuts: its hard cuts.
        fps: mean frame rate, to turn seconds into frames.
        config: thresholds.
    """
    thumbnails = trace.thumbnail
    edges = {0, len(thumbnails)}.union(*({cut.start, cut.end} for cut in cuts))
    limits = np.array(sorted(edges), dtype=np.intp)
    seeds = find_seeds(trace, limits, fps, config.seeds)
    reach = round(config.reach_seconds * fps)
    taken = np.zeros(len(thumbnails), dtype=np.bool_)
    found = []
    for i in np.argsort(-seeds.weight, kind="stable"):
        first, last = int(seeds.first[i]), int(seeds.last[i])
        if taken[first : last + 1].any():
            continue
        low, high = _room(first, last, reach, limits, taken)
        start, end = _grow(thumbnails[low:high], first - low, last - low, config)
        start, end = low + start, low + end
        kind = _kind(thumbnails, start, end, limits, config)
        if kind is not None and end - start >= MIN_FRAMES:
            taken[start:end] = True
            found.append(Gradual(kind, start, end))
    found.sort(key=lambda transition: transition.start)
    return _join(thumbnails, found, fps, config)


def _room(first: int, last: int, reach: int, limits: Int, taken: Bool) -> tuple[int, int]:
    """The frames [low, high) around a seed that belong to no other shot and no other transition."""
    shot = int(np.searchsorted(limits, first, side="right"))
    low = max(int(limits[shot - 1]), first - reach)
    high = min(int(limits[shot]), last + reach + 1)
    before = np.flatnonzero(taken[low:first])
    after = np.flatnonzero(taken[last:high])
    if len(before):
        low += int(before[-1]) + 1
    if len(after):
        high = last + int(after[0])
    return low, high


def _grow(thumbnails: U8, first: int, last: int, config: GradualConfig) -> tuple[int, int]:
    """Extend a seed to where movement along its line stops, and cut off what does not move.

    Returns:
        [start, end): frames that are neither the first image nor the last one.
    """
    along, smooth = _progress(thumbnails, first, last)
    usual = float(np.quantile(smooth[first + 1 : last + 1], 0.75))
    moves, rushes = smooth >= config.min_speed * usual, smooth > config.max_speed * usual
    # left and right: the first and the last step of the transition.
    left, right = first + 1, last
    middle = (left + right) // 2
    while left < middle and rushes[left:middle].any():
        left += 1
    while right > middle and rushes[middle + 1 : right + 1].any():
        right -= 1
    while left > 1 and moves[left - 1] and not rushes[left - 1]:
        left -= 1
    while right < len(along) - 1 and moves[right + 1] and not rushes[right + 1]:
        right += 1
    # The mean over three steps reaches a step too far where the movement stops at once.
    moves &= along >= config.min_speed * usual
    while left < right and not moves[left]:
        left += 1
    while right > left and not moves[right]:
        right -= 1
    # A transition that begins with its shot has no pure frame before it, and so at the end.
    return (0 if left == 1 else left), (len(along) if right == len(along) - 1 else right)


def _progress(thumbnails: U8, first: int, last: int) -> tuple[F64, F64]:
    """How far the step into each of K frames goes along the line between two of them.

    Returns:
        [K] single steps, and [K] means of three, as shares of the line; 0 for the first frame,
        which has no step.
    """
    vectors = flat(thumbnails).astype(np.float64)
    line = vectors[last] - vectors[first]
    along = np.zeros(len(vectors))
    along[1:] = np.diff(vectors, axis=0) @ line / (line @ line)
    return along, np.convolve(along, np.full(3, 1 / 3), mode="same")


def _kind(thumbnails: U8, start: int, end: int, limits: Int, config: GradualConfig) -> str | None:
    """What a transition is, by the frames on its two sides; None when it is none."""
    cut_off = bool(np.isin([start, end], limits).any())
    sides = _sides(thumbnails, start, end, limits)
    contrast = config.seeds.edge_contrast if cut_off else config.blank_contrast
    if fades(*sides, np.array([contrast], np.float32))[0]:
        return "fade"
    if dissolves(*sides, config.seeds)[0]:
        return "dissolve"
    return None


def _sides(thumbnails: U8, start: int, end: int, limits: Int) -> tuple[U8, U8]:
    """The frames [1, 18, 32] right before and after [start, end), in the same shot."""
    before = start if start in limits else start - 1
    after = end - 1 if end in limits else end
    return thumbnails[[before]], thumbnails[[after]]


def _join(thumbnails: U8, found: list[Gradual], fps: float, config: GradualConfig) -> list[Gradual]:
    """Take a fade-out and the fade-in that follows it together where they are one event."""
    joined: list[Gradual] = []
    for transition in found:
        if joined and _blank_between(thumbnails, joined[-1], transition):
            out = joined[-1]
            blank = transition.start - out.end
            ends = thumbnails[out.start - 1], thumbnails[transition.end]
            if blank <= config.blink_seconds * fps and same_scene(*ends, config.blink_survival):
                joined.pop()
                continue
            if blank <= config.dip_seconds * fps:
                joined[-1] = Gradual("fade", out.start, transition.end)
                continue
        joined.append(transition)
    return joined


def _blank_between(thumbnails: U8, out: Gradual, back: Gradual) -> bool:
    """True when one fade takes a picture away and the other brings one."""
    if out.kind != "fade" or back.kind != "fade" or out.start == 0 or back.end == len(thumbnails):
        return False
    shown, gone, still, again = flat(
        thumbnails[[out.start - 1, out.end, back.start - 1, back.end]]
    ).std(-1)
    return bool(min(shown, again) > BLANK and gone < shown / 2 and still < again / 2)
