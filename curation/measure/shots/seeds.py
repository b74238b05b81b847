"""Windows of frames in which the picture goes straight from one image to another.

While a shot runs, its thumbnails wander: what moves takes each pixel through other values at other
times. In a fade or a dissolve all pixels go together, so the path from the first image to the last
is a straight line, whose points are linear blends of its ends. A window is a seed of a transition
when its inner frames lie near that line and in order, and when its ends are different scenes
(dissolve) or one of them is blank (fade). A pan over fine texture can do the same to thumbnails, so
a dissolve must also lose the detail and contrast that blending costs. The price: what blends no
two pictures (a wipe), or less than four frames, is not found here.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from curation.measure.shots.similarity import BLANK, correlation, flat, off_line, survival
from curation.measure.shots.trace import ShotTrace

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Int = npt.NDArray[np.intp]
Bool = npt.NDArray[np.bool_]

EASED_PROGRESS = 0.15  # least advance per quarter of a ramp that eases in and out
SHORTEST_SMOOTHED = 12  # frames; in shorter windows a quarter point is a single frame
LEAST_ENERGY = 1.0  # squared levels, about what coding noise has
CHUNK = 2048  # windows examined at once: about 30 MB


@dataclasses.dataclass(frozen=True, slots=True)
class SeedConfig:
    """What looks like a part of a fade or a dissolve. Levels are 8-bit luma."""

    windows_seconds: tuple[float, ...] = (0.16, 0.32, 0.48, 0.64, 0.96, 1.28, 1.76, 2.4, 3.4, 4.8)
    """Lengths of the windows tried; a longer transition is found in part and then grown. Each is
    rounded to a multiple of 4 frames, so that its quarters are whole."""
    min_distance: float = 4.0
    """Least distance between a window's ends (root mean square over the thumbnail, levels)."""
    max_step: float = 0.5
    """Largest step between two frames, as a share of the line: more is a cut."""
    max_off_line: float = 0.65
    """Largest distance of an inner frame from the line, as a share of the line's length: what
    moves on both sides of a dissolve leaves the line by that much."""
    near_line: float = 0.27
    """Distance that is near. A fade must be that near, as its blank side cannot move."""
    min_progress: float = 0.05
    max_progress: float = 0.5
    """Least and greatest advance along the line per quarter of the window (a steady ramp: 0.25 in
    each; one that eases in and out: 0.15 and 0.35)."""
    min_blend: float = 0.7
    max_blend: float = 1.25
    """Detail (variance of the Laplacian) and contrast (variance of luma) inside a dissolve, over
    those of a blend of two unrelated pictures: a blend of two halves has half of both. Measured:
    dissolves 0.9 to 1.25; motion, which keeps both, 1.34 to 2 even while the light changes; a whip
    pan, which blurs detail and keeps contrast, differs in the two."""
    max_logo_blend: float = 1.5
    """The same for one of the two when the window is near its line and their mean is within
    `max_blend`: a logo that stays through a dissolve keeps its detail."""
    max_correlation: float = 0.55
    """Of the patterns at the two ends of a dissolve; light and small motion keep it higher."""
    max_survival: float = 0.45
    """Share of tiles that may keep their texture through a dissolve."""
    max_contrast: float = 0.35
    """Contrast of the darker end of a part of a fade over that of its other end."""
    edge_contrast: float = 0.45
    """The same for a fade that the film's start or end, or a cut, cuts off."""

    def __post_init__(self) -> None:
        if not self.windows_seconds or min(self.windows_seconds) <= 0:
            raise ValueError(
                f"gradual.seeds.windows_seconds = {self.windows_seconds}: give lengths above 0"
            )
        if not 0 < self.min_progress < 0.25 < self.max_progress:
            raise ValueError(
                f"gradual.seeds.min_progress = {self.min_progress} and max_progress = "
                f"{self.max_progress}: give a range around 0.25, what a steady ramp makes"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Seeds:
    """Windows [first, last] that look like part of a transition; [M] each."""

    first: Int
    last: Int
    weight: F32
    """How much of a transition a window holds, and how clean it is: distance of its ends, less for
    frames off the line and for uneven progress."""


def find_seeds(trace: ShotTrace, limits: Int, fps: float, config: SeedConfig) -> Seeds:
    """All windows that look like part of a transition.

    Args:
        trace: all frames of a film.
        limits: where shots begin and end for certain, ascending, 0 and N included; no window lies
            across one.
        fps: mean frame rate, to turn seconds into frames.
        config: thresholds.
    """
    search = _Search(trace, _step_lengths(trace.thumbnail), limits, config)
    lengths = sorted({max(1, round(seconds * fps / 4)) * 4 for seconds in config.windows_seconds})
    found = [search.windows(length) for length in lengths]
    return Seeds(
        np.concatenate([seeds.first for seeds in found]),
        np.concatenate([seeds.last for seeds in found]),
        np.concatenate([seeds.weight for seeds in found]),
    )


def fades(before: U8, after: U8, max_contrast: F32) -> Bool:
    """Whether one of two thumbnails is blank beside the other, for M pairs.

    Two blank ones fade, too: they differ in brightness alone.

    Args:
        before: uint8 [M, 18, 32].
        after: uint8 [M, 18, 32].
        max_contrast: [M] least contrast over greatest, up to which the first counts as blank.
            Above 0, since broadcasters' logos stay on through a fade.
    """
    a, b = flat(before).std(-1), flat(after).std(-1)
    least, most = np.minimum(a, b), np.maximum(a, b)
    fade: Bool = (least <= max_contrast * most) | (most < BLANK)
    return fade


def dissolves(before: U8, after: U8, config: SeedConfig) -> Bool:
    """Whether two thumbnails show different scenes, for M pairs (as `fades`)."""
    differ = correlation(before, after) <= config.max_correlation
    return differ & (survival(before, after).share <= config.max_survival)


def _step_lengths(thumbnails: U8) -> F32:
    """Distance [N] (root mean square) of each frame to the one before; 0 for the first."""
    lengths = np.zeros(len(thumbnails), np.float32)
    for start in range(1, len(thumbnails), CHUNK):
        stop = min(len(thumbnails), start + CHUNK)
        change = flat(thumbnails[start:stop]) - flat(thumbnails[start - 1 : stop - 1])
        lengths[start:stop] = np.sqrt((change**2).mean(-1))
    return lengths


@dataclasses.dataclass(frozen=True, slots=True)
class _Search:
    """A film, and what is wanted in it."""

    trace: ShotTrace
    steps: F32
    limits: Int
    config: SeedConfig

    def windows(self, length: int) -> Seeds:
        """The windows of one length, an eighth of it apart, that pass every test."""
        count = len(self.trace)
        first = np.arange(0, count - length, max(1, length // 8), dtype=np.intp)
        shot = np.searchsorted(self.limits, first, side="right")
        first = first[shot == np.searchsorted(self.limits, first + length, side="right")]
        if not len(first):
            return Seeds(first, first, np.empty(0, np.float32))
        largest = np.lib.stride_tricks.sliding_window_view(self.steps[1:], length).max(-1)
        tested = [
            self._straight(chunk, length, largest[chunk])
            for chunk in np.array_split(first, -(-len(first) // CHUNK))
        ]
        first = np.concatenate([kept for kept, _ in tested])
        return Seeds(first, first + length, np.concatenate([weight for _, weight in tested]))

    def _straight(self, first: Int, length: int, largest: F32) -> tuple[Int, F32]:
        """Those of the windows [first, first + length] that are seeds, and their weights.

        Tests go from cheap to costly, so that most windows of a quiet film cost one subtraction.
        """
        config, thumbnails = self.config, self.trace.thumbnail
        line = flat(thumbnails[first + length]) - flat(thumbnails[first])
        distance = np.sqrt((line**2).mean(-1))
        keep = (distance >= config.min_distance) & (largest <= config.max_step * distance)
        first, distance = first[keep], distance[keep]

        quarters = length // 4 * np.arange(1, 4)
        share, aside = off_line(thumbnails, first, first + length, quarters)
        advance = np.diff(share, axis=0, prepend=0.0, append=1.0)
        slowest, worst = advance.min(0), aside.max(0)
        keep = (slowest >= config.min_progress) & (advance.max(0) <= config.max_progress)
        keep &= worst <= config.max_off_line
        evenness = np.minimum(slowest / EASED_PROGRESS, 1.0)
        first, worst, share = first[keep], worst[keep], share[:, keep]
        weight = (distance * evenness)[keep] * (1.0 - worst)

        last = first + length
        before, after = thumbnails[first], thumbnails[last]
        near = worst <= config.near_line
        keep = dissolves(before, after, config) & self._blends(first, length, share, near)
        cut_off = np.isin(first, self.limits) | np.isin(last + 1, self.limits)
        contrast = np.where(cut_off, config.edge_contrast, config.max_contrast)
        fading = fades(before, after, contrast.astype(np.float32))
        keep |= fading & near
        return first[keep], weight[keep]

    def _blends(self, first: Int, length: int, share: F32, near: Bool) -> Bool:
        """Whether windows have as much detail and contrast inside as a blend would have.

        Args:
            first: [M] first frames of windows.
            length: of the windows.
            share: [3, M] how much of the second picture is in their quarter points.
            near: [M] whether they are near their line.
        """
        config = self.config
        around = range(-1, 2) if length >= SHORTEST_SMOOTHED else range(1)
        excess = np.zeros((2, len(first)))
        for i, values in enumerate((self.trace.sharpness, self.trace.luma_std**2)):
            before, after = values[first], values[first + length]
            for quarter in range(3):
                place = first + length // 4 * (quarter + 1)
                found = np.mean([values[place + offset] for offset in around], axis=0)
                blend = (1 - share[quarter]) ** 2 * before + share[quarter] ** 2 * after
                excess[i] += np.log((found + LEAST_ENERGY) / (blend + LEAST_ENERGY)) / 3
        keep: Bool = excess.min(0) >= np.log(config.min_blend)
        keep &= excess.mean(0) <= np.log(config.max_blend)
        keep &= excess.max(0) <= np.log(np.where(near, config.max_logo_blend, config.max_blend))
        return keep
