"""Hard cuts: an abrupt change, after which the scene is another one and stays another one.

Abruptness alone (PySceneDetect's Adaptive detector) takes flashes, pop-up overlays and fast poses
of drawn figures for cuts, and misses cuts between frozen low-contrast slides and cuts inside
motion. So a change counts as abrupt by any of three measures, and must then also replace the
textures of the picture. The price: a jump cut in an unchanged framing is not reported.
"""

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from curation.measure.shots.similarity import correlation, flat, off_line, same_scene, survival
from curation.measure.shots.trace import ShotTrace

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.intp]
U8 = npt.NDArray[np.uint8]

CHUNK = 4096  # frames compared at once: about 30 MB
SMEAR_STEP = 0.1  # least share of a smeared cut that each of its steps makes
SMEAR_OFF_LINE = 0.2  # how far its frames may lie off the line between the two shots
SMEAR_CHANGE = 8.0  # least mean change (levels); the first steps of a fade make less
STILL = 0.5  # levels; below it neighbouring changes are coding noise, whatever their ratio


@dataclasses.dataclass(frozen=True, slots=True)
class CutConfig:
    """When a change between two frames is a cut. Levels are 8-bit luma."""

    window: int = 2
    """Neighbouring changes on each side that a change is compared with (frames)."""
    adaptive_ratio: float = 3.0
    """Content score over the mean of its neighbours (PySceneDetect's Adaptive detector)."""
    min_content: float = 15.0
    """Least content score for the adaptive test (0..255)."""
    change_ratio: float = 3.0
    """Thumbnail change over the mean of its neighbours: finds cuts between low-contrast slides,
    whose content score is small."""
    min_change: float = 2.0
    """Least mean change of a thumbnail for any cut (levels)."""
    pattern_ratio: float = 2.1
    """Loss of pattern correlation over the largest neighbouring loss: finds cuts inside fast
    motion, where everything changes all the time but frames still resemble their neighbours."""
    min_pattern_loss: float = 0.5
    """Least loss of correlation (0..2) for that test."""
    smeared_frames: int = 2
    """A cut may be smeared over up to this many frames that show both shots (frame-rate conversion,
    blended fields)."""
    max_survival: float = 0.45
    """Share of the picture's tiles that may keep their texture across a cut. Measured: cuts at most
    0.32, pop-up overlays at least 0.6."""
    overlay_survival: float = 0.8
    """When this share of what stood before still stands and the picture changed by less than
    `overlay_change`, something was added to a slide (or, backwards, taken away)."""
    overlay_change: float = 12.0
    """In mean levels."""
    ramp_direction: float = 0.75
    """Cosine between two consecutive steps of the picture from which they are one ramp. Measured:
    within fades and dissolves 0.94 and more, at cuts at most 0.56."""
    ramp_step: float = 3.0
    """A step more than this many times as long as its neighbour does not just continue it."""
    flash_seconds: float = 0.2
    """When the same scene stands on both sides within this time, it was a flash, not two cuts."""
    flash_survival: float = 0.6
    """Share of tiles that must keep their texture in the same scene."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"cuts.window = {self.window}: compare with at least 1 neighbour")
        if not 0 <= self.smeared_frames <= 3:
            raise ValueError(
                f"cuts.smeared_frames = {self.smeared_frames}: give 0 to 3; more is a dissolve"
            )
        if self.flash_seconds < 0:
            raise ValueError(f"cuts.flash_seconds = {self.flash_seconds}: give 0 or more")
        for name in ("max_survival", "flash_survival", "overlay_survival"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"cuts.{name} = {value}: it is a share, give 0 to 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """A hard cut: frames before `start` are the one shot, frames from `end` on the other."""

    start: int
    end: int
    """Equal to `start`, or beyond it by the frames that show both shots."""


def content_score(trace: ShotTrace) -> F64:
    """Content score [N] with PySceneDetect's default weights (hue, saturation and value alike)."""
    deltas = (trace.delta_hue, trace.delta_sat, trace.delta_lum)
    hue, sat, lum = (delta.astype(np.float64) for delta in deltas)
    return (hue + sat + lum) / 3.0


def adaptive_ratio(score: F64, window: int) -> F64:
    """The Adaptive detector's ratio [N]: a score over the mean of its `window` neighbours per side.

    At the ends of the film, where the detector gives no ratio, the neighbours that exist are used:
    a cut two frames before the end is a cut. The first frame has no change, so it neither has a
    ratio nor counts as a neighbour.
    """
    return score / np.maximum(_neighbour_mean(score, window), 1e-5)


def find_cuts(trace: ShotTrace, fps: float, config: CutConfig) -> list[Cut]:
    """Hard cuts in order, disjoint.

    Args:
        trace: all frames of a film.
        fps: mean frame rate, to turn seconds into frames.
        config: thresholds.
    """
    thumbnails = trace.thumbnail
    change = _change(thumbnails, 1)
    found: list[Cut] = []
    taken = np.zeros(len(trace) + 1, dtype=np.bool_)
    # Clean cuts first, then the longest smears: a part of one looks like a shorter one.
    for length in (1, *range(config.smeared_frames + 1, 1, -1)):
        if length == 1:
            first = _abrupt(trace, change, config)
        else:
            first = _smeared(thumbnails, change, length, config)
        for before in _in_chunks(partial(_replaces_scene, thumbnails, length, config), first):
            cut = Cut(int(before) + 1, int(before) + length)
            free = not taken[cut.start : cut.end + 1].any()
            if free and not _continues_ramp(thumbnails, cut, config):
                taken[cut.start : cut.end + 1] = True
                found.append(cut)
    found.sort(key=lambda cut: cut.start)
    return _without_flashes(thumbnails, found, fps, config)


def _abrupt(trace: ShotTrace, change: F64, config: CutConfig) -> Int:
    """Last frames before a change that stands out among its neighbours by one of three measures."""
    score = content_score(trace)
    adaptive = (score >= config.min_content) & (
        adaptive_ratio(score, config.window) >= config.adaptive_ratio
    )
    calm = np.maximum(_neighbour_mean(change, config.window), STILL)
    sudden = change >= config.change_ratio * calm
    loss = _pattern_loss(trace.thumbnail)
    other = np.maximum(_neighbour_max(loss, config.window), 1e-3)
    torn = (loss >= config.min_pattern_loss) & (loss >= config.pattern_ratio * other)
    return np.flatnonzero((adaptive | sudden | torn) & (change >= config.min_change)) - 1


def _smeared(thumbnails: U8, change: F64, length: int, config: CutConfig) -> Int:
    """Last frames before a change that takes `length` steps, is straight, and stands out."""
    first = np.arange(len(thumbnails) - length, dtype=np.intp)
    whole = _change(thumbnails, length)[first + length]
    around = [
        np.where((at >= 1) & (at < len(change)), change[np.clip(at, 0, len(change) - 1)], 0.0)
        for offset in range(config.window)
        for at in (first - offset, first + length + 1 + offset)
    ]
    calm = np.maximum(np.mean(around, axis=0), STILL)
    first = first[(whole >= config.change_ratio * calm) & (whole >= SMEAR_CHANGE)]

    def straight(first: Int) -> Bool:
        share, distance = off_line(thumbnails, first, first + length, np.arange(1, length))
        steps = np.diff(share, axis=0, prepend=0.0, append=1.0)
        lost = 1.0 - correlation(thumbnails[first], thumbnails[first + length])
        passed = np.vstack([steps >= SMEAR_STEP, distance <= SMEAR_OFF_LINE])
        return passed.all(0) & (lost >= config.min_pattern_loss)

    return _in_chunks(straight, first)


def _change(thumbnails: U8, lag: int) -> F64:
    """Mean absolute change [N] of each thumbnail to the one `lag` frames before; 0 without one."""
    change = np.zeros(len(thumbnails))
    for start in range(lag, len(thumbnails), CHUNK):
        stop = min(len(thumbnails), start + CHUNK)
        difference = flat(thumbnails[start:stop]) - flat(thumbnails[start - lag : stop - lag])
        change[start:stop] = np.abs(difference).mean(-1)
    return change


def _pattern_loss(thumbnails: U8) -> F64:
    """Loss of pattern correlation [N] to the frame before; 0 for the first."""
    loss = np.zeros(len(thumbnails))
    for start in range(1, len(thumbnails), CHUNK):
        stop = min(len(thumbnails), start + CHUNK)
        loss[start:stop] = 1.0 - correlation(
            thumbnails[start - 1 : stop - 1], thumbnails[start:stop]
        )
    return loss


def _in_chunks(test: Callable[[Int], Bool], frames: Int) -> Int:
    """The frames that pass a test, looked at a chunk at a time: a flickering film has many."""
    chunks = np.array_split(frames, -(-len(frames) // CHUNK) or 1)
    return np.concatenate([chunk[test(chunk)] for chunk in chunks])


def _replaces_scene(thumbnails: U8, length: int, config: CutConfig, first: Int) -> Bool:
    before, after = thumbnails[first], thumbnails[first + length]
    alive = survival(before, after)
    kept = np.maximum(alive.before, alive.after)
    change = np.abs(flat(after) - flat(before)).mean(-1)
    overlay = (kept >= config.overlay_survival) & (change < config.overlay_change)
    replaced: Bool = (alive.share <= config.max_survival) & ~overlay
    return replaced


def _continues_ramp(thumbnails: U8, cut: Cut, config: CutConfig) -> bool:
    """True when the picture goes the same way, about as fast, right before or after the cut.

    So it is with the first and last steps of a fade, which make a blank picture of a pattern (or
    the reverse) without being any more abrupt than the steps between.
    """
    low = max(0, cut.start - 2)
    vectors = flat(thumbnails[low : cut.end + 2]).astype(np.float64)
    before, after = cut.start - 1 - low, cut.end - low
    step = (vectors[after] - vectors[before]) / (after - before)
    neighbours = [vectors[before] - vectors[before - 1]] if before > 0 else []
    if after + 1 < len(vectors):
        neighbours.append(vectors[after + 1] - vectors[after])
    size = np.linalg.norm(step)
    return any(
        size <= config.ramp_step * np.linalg.norm(other)
        and step @ other >= config.ramp_direction * size * np.linalg.norm(other)
        for other in neighbours
    )


def _without_flashes(thumbnails: U8, cuts: list[Cut], fps: float, config: CutConfig) -> list[Cut]:
    """Leave out cuts that have the same scene shortly before and after them."""
    reach = max(1, round(config.flash_seconds * fps))
    flashes = {cut for cut in cuts if _fades_away(thumbnails, cut, reach, config.flash_survival)}
    for begin, end in itertools.pairwise(cuts):
        # A second cut right after the first asks for less: the camera may have moved meanwhile.
        if end.start - begin.end <= reach:
            sides = thumbnails[begin.start - 1], thumbnails[end.end]
            if same_scene(*sides, config.flash_survival):
                flashes |= {begin, end}
    return [cut for cut in cuts if cut not in flashes]


def _fades_away(thumbnails: U8, cut: Cut, reach: int, same: float) -> bool:
    """True when a frame shortly before the cut shows the scene of a frame shortly after it."""
    first, last = max(0, cut.start - reach), min(len(thumbnails), cut.end + reach)
    before, after = np.array(
        [
            (i, j)
            for i in range(first, cut.start)
            for j in range(cut.end, last)
            if j - i <= reach + 1 + cut.end - cut.start
        ],
        dtype=np.intp,
    ).T
    return bool((survival(thumbnails[before], thumbnails[after]).share >= same).any())


def _neighbour_mean(values: F64, window: int) -> F64:
    """Mean of the up to `window` values on each side, without the value itself and values[0]."""
    total, count = np.zeros_like(values), np.zeros_like(values)
    for shifted, valid in _neighbours(values, window):
        total += np.where(valid, shifted, 0.0)
        count += valid
    return total / np.maximum(count, 1)


def _neighbour_max(values: F64, window: int) -> F64:
    """Largest of the same values; 0 where there are none."""
    largest = np.zeros_like(values)
    for shifted, valid in _neighbours(values, window):
        largest = np.maximum(largest, np.where(valid, shifted, 0.0))
    return largest


def _neighbours(values: F64, window: int) -> list[tuple[F64, Bool]]:
    """`values` as seen `k` frames away, for each k, and where such a neighbour exists."""
    index = np.arange(len(values))
    found = []
    for offset in (*range(-window, 0), *range(1, window + 1)):
        other = index + offset
        valid = (other >= 1) & (other < len(values))
        found.append((values[np.where(valid, other, 0)], valid))
    return found
