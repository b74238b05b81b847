"""The schedule of a tree generation: the paper's notation ``f(6,12,24)m(1,2,4)`` and its grids.

A schedule says nothing about a length; what lengths fit it without padding follows from it. The
trade-off: rates must be nested, so that each level shows every frame of the level above.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from typing import Self

TOP_RATE = 24
"""Frames per second in which time is counted: a latent of this rate spans one unit of position."""
TEMPORAL_STRIDE = 4
"""Frames that a latent folds together; the first latent of a segment holds one frame."""

_NUMBERS = r"\s*([0-9]{1,9}(?:\s*,\s*[0-9]{1,9})*)\s*"
_NOTATION = re.compile(rf"f\({_NUMBERS}\)\s*m\({_NUMBERS}\)")


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """Frame rates of the levels, and how many segments each is divided into (paper section 4.4).

    Attributes:
        rates: frames per second of each level, coarse to fine, each a multiple of the one before.
        segments: M_i of each level; the first level is one segment. Where a level's number is not
            a multiple of the one before, some of its segments straddle two of the level above.
        steps: denoising steps of each level. Empty: 50 at the first, 30 at the last, 40 between.
        top_rate: the rate in which frames are counted, a multiple of every level's rate.
    """

    rates: tuple[int, ...]
    segments: tuple[int, ...]
    steps: tuple[int, ...] = ()
    top_rate: int = TOP_RATE

    def __post_init__(self) -> None:
        if not self.rates or min(self.rates) < 1:
            raise ValueError(f"rates={self.rates}: give at least one rate, each 1 or more")
        for lower, higher in itertools.pairwise(self.rates):
            if higher <= lower or higher % lower:
                raise ValueError(
                    f"rates={self.rates}: {higher} is not a higher multiple of {lower}, so its "
                    "frames would miss those of the level above; use rates such as 6, 12, 24"
                )
        if self.top_rate % self.rates[-1]:
            raise ValueError(
                f"top_rate={self.top_rate}: it is not a multiple of {self.rates[-1]}; use rates "
                "that divide the top rate, or set top_rate to the highest rate trained"
            )
        if len(self.segments) != len(self.rates) or min(self.segments) < 1:
            raise ValueError(
                f"segments={self.segments}: give {len(self.rates)} numbers of segments, one for "
                f"each of the rates {self.rates}, each 1 or more"
            )
        if self.segments[0] != 1:
            raise ValueError(
                f"segments={self.segments}: the first level is the blueprint of the whole video "
                "and must be one segment; write m(1,…)"
            )
        if not self.steps:
            object.__setattr__(self, "steps", _default_steps(len(self.rates)))
        if len(self.steps) != len(self.rates) or min(self.steps) < 1:
            raise ValueError(
                f"steps={self.steps}: give {len(self.rates)} numbers of steps, each 1 or more"
            )

    @classmethod
    def parse(cls, text: str, *, steps: Sequence[int] = (), top_rate: int = TOP_RATE) -> Self:
        """Read the paper's notation, e.g. ``f(6,12,24)m(1,2,4)``.

        Raises:
            ValueError: not in that notation, or not a schedule.
        """
        match = _NOTATION.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"schedule={text!r}: write the rates and the segments of each level, "
                "e.g. f(6,12,24)m(1,2,4)"
            )
        rates, segments = (
            tuple(int(number) for number in part.split(",")) for part in match.groups()
        )
        return cls(rates, segments, tuple(steps), top_rate)

    def __str__(self) -> str:
        rates, segments = (",".join(map(str, part)) for part in (self.rates, self.segments))
        return f"f({rates})m({segments})"

    @property
    def strides(self) -> tuple[int, ...]:
        """Top-rate frames from one frame of a level to the next."""
        return tuple(self.top_rate // rate for rate in self.rates)

    @property
    def units(self) -> tuple[int, ...]:
        """Top-rate frames that boundaries of each level are multiples of.

        A segment is 4n+1 of its own frames long, and both its ends are frames of the level above.
        """
        strides = self.strides
        above = (strides[0], *strides)
        return tuple(math.lcm(TEMPORAL_STRIDE * s, a) for s, a in zip(strides, above, strict=False))

    @property
    def moduli(self) -> tuple[int, ...]:
        """Top-rate frames that the span of each level must be a multiple of.

        Halving is made exact, so that all of the paper's schedules have equal segments. Odd parts
        of a number of segments are not: for m(1,7) that would cost up to 112 frames, where segments
        that differ by one unit cost nothing.
        """
        return tuple(u * (m & -m) for u, m in zip(self.units, self.segments, strict=True))

    @property
    def shortest(self) -> int:
        """Top-rate frames that the levels below the first span at least: no segment is empty."""
        separate = each = 0
        for level in range(len(self.rates) - 1, 0, -1):
            count, above, unit = self.segments[level], self.segments[level - 1], self.units[level]
            if count > 1:
                each = max(each, unit)
            each = -(-each // unit) * unit
            if count % above:  # divided without regard to the level above, see `boundaries`
                separate, each = max(separate, count * each), 0
            else:
                each *= count // above
        return max(separate, each)

    def boundaries(self, start: int, end: int, level: int, above: Sequence[int]) -> list[int]:
        """Ends of a level's segments, on multiples of its unit from `start`.

        Args:
            start: first frame of the level.
            end: its last frame, a multiple of the level's modulus from `start`.
            level: its number.
            above: the ends of the segments of the level above, empty for the first level. They are
                divided alike where the numbers allow, else the whole span is.
        """
        count, unit = self.segments[level], self.units[level]
        parents = max(len(above) - 1, 1)
        if level == 0 or count % parents or (above[0], above[-1]) != (start, end):
            return _divide(start, end, count, unit)
        parts = [_divide(a, b, count // parents, unit) for a, b in itertools.pairwise(above)]
        return [start, *(bound for part in parts for bound in part[1:])]


def _divide(start: int, end: int, count: int, unit: int) -> list[int]:
    """`count + 1` bounds of parts as equal as multiples of `unit` allow."""
    units = (end - start) // unit
    assert (end - start) % unit == 0, (start, end, unit)
    return [start + unit * ((2 * k * units + count) // (2 * count)) for k in range(count + 1)]


def _default_steps(levels: int) -> tuple[int, ...]:
    # The blueprint starts from noise alone; each finer level is held by more and more anchors.
    return (50, *[40] * (levels - 2), 30)[:levels]
