"""Charts as people read them: no number upon another, no axis where there can be no value."""

import itertools
import re

import pytest

from evaluation.report.charts import drift, quality_against_cost
from evaluation.report.choosing import Curve, Entry, entries_of
from evaluation.variants import Variant
from tests.evaluation.judged import evaluation, shown, video


def entries(count: int) -> list[Entry]:
    schedules = [Variant("f(24)m(1)", 25 + 24 * number) for number in range(count)]
    videos = [video("a", number, {"dynamic_degree": 0.0}) for number in range(count)]
    return entries_of(evaluation([shown("a")], videos, schedules), None)


ENTRIES = entries(4)


def numbers_at(chart: str) -> list[float]:
    """Heights of the numbers at the ends of lines."""
    return [
        float(y) for y in re.findall(r'</title><path [^>]*/>.*?<text x="[^"]*" y="([^"]*)"', chart)
    ]


@pytest.mark.parametrize("ends", [(50.0,) * 4, (50.0, 50.1, 50.2, 90.0), (10.0, 10.0, 90.0, 90.0)])
def test_numbers_of_lines_that_end_together_lie_apart(ends: tuple[float, ...]) -> None:
    lines = [Curve(number, (0.0, 2.0), (70.0, end)) for number, end in enumerate(ends)]
    places = numbers_at(str(drift(lines, ENTRIES, "words", "title")))
    assert len(places) == 4
    ordered = sorted(places)
    assert all(below - above >= 10.9 for above, below in itertools.pairwise(ordered))
    assert ordered[-1] <= 200
    # A higher end has the higher number.
    assert [end for _, end in sorted(zip(places, ends, strict=True))] == sorted(ends, reverse=True)


@pytest.mark.parametrize("ends", [[50.0] * 20, [70.0 + number for number in range(20)]])
def test_numbers_of_more_lines_than_have_room_stay_in_the_picture(ends: list[float]) -> None:
    lines = [Curve(number, (0.0, 2.0), (70.0, end)) for number, end in enumerate(ends)]
    places = sorted(numbers_at(str(drift(lines, entries(20), "words", "title"))))
    assert len(places) == 20
    assert places[0] >= 12  # their feet, with room for their heads
    assert places[-1] <= 200 - 20
    assert all(below - above >= 8 for above, below in itertools.pairwise(places))


def test_percents_have_no_axis_below_zero_and_one_prompt_no_interval() -> None:
    points = [(entry, entry.result.measures["dynamic_degree"]) for entry in ENTRIES]
    chart = str(quality_against_cost(points, "Dynamic degree", "title"))
    ticks = re.findall(r'class="tick up"[^>]*>([^<]*)<', chart)
    assert ticks[0] == "0.0"
    assert all(float(tick) >= 0 for tick in ticks)
    assert "(one prompt)" in chart
