"""Charts of the evaluation report: inline SVG, coloured by the page's style, without a script.

Entries have a colour and a number each, so that they can be told apart without colours.
"""

import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup

from curation.pages.wording import significant
from evaluation.report.choosing import Curve, Entry
from evaluation.statistics import Estimate

COLOURS = 10
"""Classes c0 … c9; more entries begin anew, and their numbers tell them apart."""
_WIDTH, _HEIGHT = 360.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 12.0, 26.0
_LINE = 11.0
"""Height of a number."""
_TICK_ROOM = 6.0
"""A tick nearer to the right edge is not written: its text would be cut off."""


def quality_against_cost(
    points: Sequence[tuple[Entry, Estimate]], measure: str, title: str
) -> Markup:
    """A measure against PFLOPs, with intervals.

    Args:
        points: entries that have the measure.
        measure: its words.
        title: for readers who do not see.
    """
    costs = [entry.result.cost.petaflops for entry, _ in points]
    across = _Axis.of(costs, _LEFT, _WIDTH - _RIGHT, zero=False)
    ends = [end for _, found in points for end in (found.low, found.high, found.mean)]
    up = _Axis.of(ends, _HEIGHT - _BOTTOM, _TOP, zero=False)
    marks = [
        Markup(
            '<g class="point c{colour}"><title>{label}: {mean} ({interval}), {cost} PFLOPs'
            '</title><path d="M{x} {y_low}V{y_high}M{x0} {y_low}H{x1}M{x0} {y_high}H{x1}"/>'
            '<circle cx="{x}" cy="{y}" r="8"/><text x="{x}" y="{y_text}">{number}</text></g>'
        ).format(
            colour=entry.number % COLOURS,
            label=entry.label,
            mean=f"{found.mean:.2f}",
            interval=f"{found.low:.2f} to {found.high:.2f}" if found.has_interval else "one prompt",
            cost=significant(entry.result.cost.petaflops),
            x=_px(across.at(entry.result.cost.petaflops)),
            x0=_px(across.at(entry.result.cost.petaflops) - 4),
            x1=_px(across.at(entry.result.cost.petaflops) + 4),
            y=_px(up.at(found.mean)),
            y_text=_px(up.at(found.mean) + 4),
            y_low=_px(up.at(found.low)),
            y_high=_px(up.at(found.high)),
            number=entry.number + 1,
        )
        for entry, found in points
    ]
    return _chart(measure, title, across, up, marks, "PFLOPs per video")


def drift(curves: Sequence[Curve], entries: Sequence[Entry], words: str, title: str) -> Markup:
    """Curves over the seconds of a video.

    Args:
        curves: one of each entry.
        entries: all.
        words: over the chart.
        title: for readers who do not see.
    """
    seconds = [second for curve in curves for second in curve.seconds]
    percents = [percent for curve in curves for percent in curve.percents]
    across = _Axis.of(seconds, _LEFT, _WIDTH - _RIGHT, zero=True)
    up = _Axis.of(percents, _HEIGHT - _BOTTOM, _TOP, zero=False)
    lines = []
    ends = _apart([up.at(curve.percents[-1]) for curve in curves])
    for curve, end in zip(curves, ends, strict=True):
        places = [
            (across.at(second), up.at(percent))
            for second, percent in zip(curve.seconds, curve.percents, strict=True)
        ]
        path = "L".join(f"{_px(x)} {_px(y)}" for x, y in places)
        entry = entries[curve.entry]
        dots = Markup("").join(
            Markup('<circle cx="{}" cy="{}" r="2.5"/>').format(_px(x), _px(y)) for x, y in places
        )
        lines.append(
            Markup(
                '<g class="line c{colour}"><title>{label}</title><path d="M{path}"/>{dots}'
                '<text x="{x}" y="{y}">{number}</text></g>'
            ).format(
                colour=curve.entry % COLOURS,
                label=entry.label,
                path=path,
                dots=dots,
                x=_px(min(places[-1][0] + 8, _WIDTH - 4)),
                y=_px(end + 4),
                number=entry.number + 1,
            )
        )
    return _chart(words, title, across, up, lines, "seconds")


def _apart(places: Sequence[float]) -> list[float]:
    """The places moved so far that the numbers there do not lie upon each other, in their order.

    Of more lines than there is room for, the numbers are as far apart as the picture lets them be.
    """
    distance = min(_LINE, (_HEIGHT - _BOTTOM - _TOP) / max(len(places) - 1, 1))
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + distance)
    # What was pushed over the floor pushes back.
    lowest = _HEIGHT - _BOTTOM
    for at in reversed(order):
        moved[at] = min(moved[at], lowest)
        lowest = moved[at] - distance
    return moved


class _Axis:
    """Numbers to places, and the ticks between."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high, self._start, self._end = low, high, start, end

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float, *, zero: bool) -> "_Axis":
        low, high = min(values), max(values)
        low = min(low, 0.0) if zero else low
        room = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
        # What is never below zero has no axis there.
        least = max(low - room, 0.0) if low >= 0.0 else low - room
        return cls(low if zero else least, high + room, start, end)

    def at(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[tuple[float, str]]:
        """Three or so round numbers, and how they are written: all alike, and none like another."""
        span = self._high - self._low
        step = 10.0 ** math.floor(math.log10(span / 3))
        step *= next((k for k in (1, 2, 5) if span / (step * k) <= 5), 10)
        first = math.ceil(self._low / step)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        places = [step * k for k in range(first, math.floor(self._high / step) + 1)]
        return [(place, f"{place:.{digits}f}") for place in places]


def _chart(
    words: str, title: str, across: _Axis, up: _Axis, marks: Sequence[Markup], unit: str
) -> Markup:
    floor = _HEIGHT - _BOTTOM
    grid = [
        Markup(
            '<path class="grid" d="M{}H{}"/><text class="tick up" x="{}" y="{}">{}</text>'
        ).format(
            f"{_px(_LEFT)} {_px(up.at(tick))}", _px(_WIDTH - _RIGHT), _px(_LEFT - 6),
            _px(up.at(tick) + 4), text,
        )
        for tick, text in up.ticks()
    ]  # fmt: skip
    grid += [
        Markup('<text class="tick" x="{}" y="{}">{}</text>').format(
            _px(across.at(tick)), _px(floor + 16), text
        )
        for tick, text in across.ticks()
        if across.at(tick) < _WIDTH - _RIGHT - _TICK_ROOM
    ]
    return Markup(
        '<figure class="plot"><figcaption>{words}</figcaption>'
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{title}">{grid}'
        '<path class="axis" d="M{left} {floor}H{right}"/>{marks}</svg>'
        '<p class="unit">{unit}</p></figure>'
    ).format(
        words=words,
        w=_px(_WIDTH),
        h=_px(_HEIGHT),
        title=title,
        grid=Markup("").join(grid),
        left=_px(_LEFT),
        floor=_px(floor),
        right=_px(_WIDTH - _RIGHT),
        marks=Markup("").join(marks),
        unit=unit,
    )


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
