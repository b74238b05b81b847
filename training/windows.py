"""Which frames of a sample are shown, at which rate and size: buckets, windows, positions.

A batch holds windows of one size and one length, for blocks take no attention mask and padding
would be attended to. So a sample gives the longest window of the grid that it can fill at a rate
and is never padded; the trade-off is the tail that a window leaves out (the next visit starts
elsewhere). Everything here is arithmetic; nothing is drawn and nothing is read.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.schedule import TEMPORAL_STRIDE, TOP_RATE
from training.errors import TrainingDataError

I64 = npt.NDArray[np.int64]

LATENT_SIDE = 8
"""Pixels on the side of a latent."""


@dataclasses.dataclass(frozen=True, slots=True)
class WindowConfig:
    """Which windows are shown; the defaults are those of stage 2 (paper section 3.3).

    Attributes:
        sizes: (width, height) that samples are resized and cropped to, each side a multiple of
            `token_side`; a sample takes the one that crops least of it.
        rates: frames per second; each sample is shown once an epoch at each of them, so naming a
            rate twice doubles its share. Divisors of 24.
        lengths: the grid of window lengths in frames, each 4n+1.
        cap: windows are at most so long; the grid's longer ones are not used.
        min_seconds: shorter samples are left out.
        max_seconds: longer samples are left out; None for no limit.
        max_enlarge: samples that would be enlarged more are left out.
        max_crop: samples that would lose a larger share of their picture are left out.
        token_side: pixels on the side of a token: 8 of the codec times 2 of Wan's patch.
        starts: a window begins at one of so many frames of its sample, evenly spread; None: at any.
            A number makes windows finite, so that their latents can be precomputed; the price is
            that a small one shows a sample alike in many epochs.
    """

    sizes: tuple[tuple[int, int], ...] = ((832, 480),)
    rates: tuple[int, ...] = (6, 12, 24)
    lengths: tuple[int, ...] = (17, 33, 61, 81, 121, 153)
    cap: int = 153
    min_seconds: float = 5.0
    max_seconds: float | None = 60.0
    max_enlarge: float = 1.5
    max_crop: float = 0.5
    token_side: int = 16
    starts: int | None = None

    def __post_init__(self) -> None:
        if not self.rates or any(rate < 1 or TOP_RATE % rate for rate in self.rates):
            raise ValueError(
                f"windows.rates = {self.rates}: frames are taken by exact index, so each rate must "
                f"divide {TOP_RATE}; use 6, 12 and 24"
            )
        lengths = self.lengths
        if any(n < 1 or n % TEMPORAL_STRIDE != 1 for n in lengths) or any(
            b <= a for a, b in itertools.pairwise(lengths)
        ):
            raise ValueError(f"windows.lengths = {lengths}: give ascending lengths of 4n+1 frames")
        if not self.usable_lengths:
            raise ValueError(
                f"windows.cap = {self.cap}: no length of {lengths} is that short; raise the cap or "
                "add a shorter length"
            )
        self._check_sizes()
        self._check_limits()

    def _check_sizes(self) -> None:
        if self.token_side < LATENT_SIDE or self.token_side % LATENT_SIDE:
            raise ValueError(
                f"windows.token_side = {self.token_side}: a latent has {LATENT_SIDE} pixels on a "
                f"side, so give a multiple of {LATENT_SIDE}"
            )
        for size in self.sizes:
            if min(size) < 1 or any(side % self.token_side for side in size):
                raise ValueError(
                    f"windows.sizes = {self.sizes}: {size[0]}x{size[1]} is not made of whole "
                    f"tokens; give multiples of {self.token_side}"
                )
        if not self.sizes or len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"windows.sizes = {self.sizes}: give different sizes, at least one")

    def _check_limits(self) -> None:
        if self.max_seconds is not None and not self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"windows.max_seconds = {self.max_seconds}: give at least min_seconds "
                f"({self.min_seconds}), or none"
            )
        if not self.max_enlarge > 0:
            raise ValueError(f"windows.max_enlarge = {self.max_enlarge}: give more than 0")
        if not 0 <= self.max_crop < 1:
            raise ValueError(f"windows.max_crop = {self.max_crop}: give 0 or more, below 1")
        if self.starts is not None and self.starts < 1:
            raise ValueError(f"windows.starts = {self.starts}: give at least 1, or none")

    @property
    def usable_lengths(self) -> tuple[int, ...]:
        """The grid up to the cap."""
        return tuple(length for length in self.lengths if length <= self.cap)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Bucket:
    """What all windows of a batch have in common."""

    width: int
    height: int
    frames: int

    @property
    def latents(self) -> int:
        """Latent frames."""
        return 1 + (self.frames - 1) // TEMPORAL_STRIDE

    def tokens(self, token_side: int) -> int:
        """Tokens of one window."""
        return self.latents * (self.width // token_side) * (self.height // token_side)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A sample that is shown at a rate."""

    sample: int
    """Its index."""
    rate: int


@dataclasses.dataclass(frozen=True)
class Visits:
    """All visits of an epoch, by bucket.

    Attributes:
        rates: what the codes refer to.
        codes: for each bucket (ascending) its visits, as ``sample * len(rates) + rate's place``.
        left_out: reason -> number of samples that are never shown.
    """

    rates: tuple[int, ...]
    codes: dict[Bucket, I64]
    left_out: dict[str, int]

    def of_samples(self) -> dict[int, list[tuple[int, Bucket]]]:
        """Sample -> the rates at which it is shown, each once, and the bucket at each."""
        found: dict[int, dict[int, Bucket]] = {}
        for bucket, codes in self.codes.items():
            for code in codes.tolist():
                sample, turn = divmod(code, len(self.rates))
                found.setdefault(sample, {})[self.rates[turn]] = bucket
        return {sample: sorted(found[sample].items()) for sample in sorted(found)}

    def visit(self, bucket: Bucket, place: int) -> Visit:
        """A visit by its place in its bucket."""
        sample, turn = divmod(int(self.codes[bucket][place]), len(self.rates))
        return Visit(sample, self.rates[turn])


def stride_of(rate: int) -> int:
    """24-fps frames from one frame to the next."""
    return TOP_RATE // rate


def visits_of(frame_counts: I64, widths: I64, heights: I64, config: WindowConfig) -> Visits:
    """Sort all samples into buckets, once for each rate.

    A sample too short for a rate's shortest window is shown at the next higher rate that it can
    fill instead, so that every sample has as many visits as any other.

    Args:
        frame_counts: `[n]` at 24 fps.
        widths: `[n]`.
        heights: `[n]`.
        config: which windows are shown.

    Raises:
        TrainingDataError: no sample can be shown; with the reasons.
    """
    size, unfit = _sizes(widths, heights, config)
    turns, lengths = _turns(frame_counts, config)
    seconds = frame_counts / TOP_RATE
    longest = np.inf if config.max_seconds is None else config.max_seconds
    reasons = {
        "too short": (seconds < config.min_seconds) | (lengths[:, -1] == 0),
        "too long": seconds > longest,
        "too small": unfit == _TOO_SMALL,
        "of another shape": unfit == _OTHER_SHAPE,
    }
    shown = ~np.logical_or.reduce(list(reasons.values()))
    left_out = {reason: int(samples.sum()) for reason, samples in reasons.items() if samples.any()}
    if not shown.any():
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise TrainingDataError(
            f"none of {len(frame_counts)} samples fits the windows ({why}); change windows.sizes, "
            "lengths, min_seconds, max_seconds, max_enlarge or max_crop"
        )
    codes = np.arange(len(frame_counts))[:, None] * len(config.rates) + turns
    return Visits(config.rates, _by_bucket(codes, lengths, size, shown, config), left_out)


_FITS, _TOO_SMALL, _OTHER_SHAPE = 0, 1, 2


def _sizes(
    widths: I64, heights: I64, config: WindowConfig
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For each sample the place of its size in the config, and whether it fits that."""
    shapes, which = np.unique(np.stack([widths, heights]), axis=1, return_inverse=True)
    chosen = [size_for(width, height, config) for width, height in shapes.T.tolist()]
    size, unfit = np.array(chosen, np.intp).T
    return size[which], unfit[which]


def size_for(width: int, height: int, config: WindowConfig) -> tuple[int, int]:
    """The size that crops a picture least; of those, the largest that it fills, else the smallest.

    Returns:
        Place in `config.sizes`, and a code: 0 where it fits, 1 too small, 2 of another shape.
    """

    def preference(place: int) -> tuple[float, bool, int]:
        to = config.sizes[place]
        enlarged, pixels = enlargement((width, height), to) > 1, to[0] * to[1]
        return round(cropped((width, height), to), 6), enlarged, pixels if enlarged else -pixels

    best = min(range(len(config.sizes)), key=preference)
    if cropped((width, height), config.sizes[best]) > config.max_crop:
        return best, _OTHER_SHAPE
    if enlargement((width, height), config.sizes[best]) > config.max_enlarge:
        return best, _TOO_SMALL
    return best, _FITS


def enlargement(size: tuple[int, int], to: tuple[int, int]) -> float:
    """Factor by which a picture is scaled to cover a size; below 1 it is shrunk."""
    return max(to[0] / size[0], to[1] / size[1])


def cropped(size: tuple[int, int], to: tuple[int, int]) -> float:
    """Share of a picture that is lost when it is scaled to cover a size, and cropped to it."""
    kept = to[0] * to[1] / (size[0] * size[1] * enlargement(size, to) ** 2)
    return 1 - kept


def _turns(frame_counts: I64, config: WindowConfig) -> tuple[npt.NDArray[np.intp], I64]:
    """For each sample and turn the rate's place, and the window's length there.

    Lengths are 0 where not even the highest rate fills a window.
    """
    grid = np.array([0, *config.usable_lengths])
    lengths = np.empty((len(frame_counts), len(config.rates)), np.int64)
    turns = np.empty(lengths.shape, np.intp)
    ascending = sorted(range(len(config.rates)), key=lambda turn: config.rates[turn])
    higher: int | None = None
    for turn in reversed(ascending):
        stride = stride_of(config.rates[turn])
        available = 1 + (frame_counts - 1) // stride
        lengths[:, turn] = grid[np.searchsorted(grid, available, side="right") - 1]
        turns[:, turn] = turn
        if higher is not None:
            short = lengths[:, turn] == 0
            lengths[short, turn] = lengths[short, higher]
            turns[short, turn] = turns[short, higher]
        higher = turn
    return turns, lengths


def _by_bucket(
    codes: I64,
    lengths: I64,
    size: npt.NDArray[np.intp],
    shown: npt.NDArray[np.bool_],
    config: WindowConfig,
) -> dict[Bucket, I64]:
    found = {}
    for place, (width, height) in enumerate(config.sizes):
        of_size = shown & (size == place)
        for frames in config.usable_lengths:
            members = codes[of_size][lengths[of_size] == frames]
            if len(members):
                found[Bucket(width, height, frames)] = np.sort(members)
    return dict(sorted(found.items()))


def frame_indices(start: int, rate: int, frames: int) -> I64:
    """Frames of the sample's video that a window shows: every 1st, 2nd or 4th from its start."""
    return start + stride_of(rate) * np.arange(frames)


def possible_starts(frame_count: int, rate: int, frames: int, starts: int | None) -> Sequence[int]:
    """First frames, at 24 fps, that a window of a sample can have.

    Args:
        frame_count: of the sample, at 24 fps.
        rate: frames per second of the window.
        frames: of the window.
        starts: see `WindowConfig.starts`.

    Returns:
        All that fit, or as many of them from the first to the last; of one, the middle.
    """
    last = frame_count - 1 - (frames - 1) * stride_of(rate)
    if starts is None or starts > last:
        return range(last + 1)
    if starts == 1:
        return [last // 2]
    return [place * last // (starts - 1) for place in range(starts)]


def temporal_positions(
    start: int, rate: int, frames: int, offset: float
) -> npt.NDArray[np.float64]:
    """Temporal position of each latent of a window (Eq. 4): ``start / 4 + (24 / rate) k + offset``.

    Four times a position, less the offset, is the 24-fps index of the latent's last frame: latent
    k >= 1 holds frames 4k-3 to 4k of the window.

    Args:
        start: first frame, at 24 fps.
        rate: frames per second.
        frames: of the window, 4n+1.
        offset: t_start.
    """
    latents = np.arange(1 + (frames - 1) // TEMPORAL_STRIDE, dtype=np.float64)
    positions: npt.NDArray[np.float64] = start / TEMPORAL_STRIDE + stride_of(rate) * latents
    return positions + offset
