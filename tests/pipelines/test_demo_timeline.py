"""Films of plain colours, for which every frame can be worked out by hand."""

import dataclasses
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.canvas import U8, Painter, Size
from pipelines.demo.timeline import Event, Film, Join, Take, frame_count, pictures, timestamps
from pipelines.demo.truth import SpanTruth, film_truth

SIZE = Size(8, 6)


def plain(size: Size, _rng: np.random.Generator, *, level: int) -> Painter:
    """A scene of one grey level."""
    picture = np.full((size.height, size.width, 3), level, np.uint8)
    return lambda _t: picture


def ticking(size: Size, _rng: np.random.Generator) -> Painter:
    """A scene whose grey level is its time in hundredths of a second."""

    def paint(t: float) -> U8:
        return np.full((size.height, size.width, 3), round(100 * t), np.uint8)

    return paint


def take(level: int, seconds: float, join: Join | None = None) -> Take:
    return Take(
        partial(plain, level=level), seconds, "still", f"level {level}", join=join or Join()
    )


def film(*takes: Take, rate: Fraction = Fraction(10)) -> Film:
    return Film("plain", takes, size=SIZE, rate=rate)


def levels(made: Film) -> list[int]:
    """Grey level of each frame, all of whose pixels must be alike."""
    frames = list(pictures(made))
    assert all(frame.shape == (made.size.height, made.size.width, 3) for frame in frames)
    assert all(frame.min() == frame.max() for frame in frames)
    return [int(frame.max()) for frame in frames]


def test_a_cut_is_the_first_frame_of_the_new_shot() -> None:
    made = film(take(10, 0.3), take(200, 0.2))
    assert levels(made) == [10, 10, 10, 200, 200]
    assert film_truth(made).hard_cuts == (3,)
    assert film_truth(made).transitions == ()


def test_a_dissolve_is_linear_and_each_of_its_frames_is_a_mixture() -> None:
    made = film(take(0, 0.2, Join("dissolve", 0.4)), take(200, 0.2))
    assert levels(made) == [0, 0, 40, 80, 120, 160, 200, 200]
    truth = film_truth(made)
    assert truth.transitions == (SpanTruth("dissolve", 2, 6),)
    assert truth.hard_cuts == ()
    assert [(shot.start, shot.end) for shot in truth.shots] == [(0, 2), (6, 8)]


def test_a_fade_goes_down_to_black_and_up_again() -> None:
    made = film(take(200, 0.2, Join("fade", 1.1)), take(100, 0.2))
    seen = levels(made)
    (span,) = film_truth(made).transitions
    assert (span.kind, span.start, span.end) == ("fade", 2, 13)
    middle = (span.start + span.end) // 2
    assert seen[middle] == 0
    assert seen[: span.start] == [200, 200]
    assert seen[span.end :] == [100, 100]
    down, up = seen[span.start : middle], seen[middle + 1 : span.end]
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert max(down) < 200
    assert max(up) < 100


def test_a_flash_whitens_its_frames_and_no_others() -> None:
    lit = dataclasses.replace(take(50, 1.0), event=Event("flash", at=0.4, seconds=0.2))
    made = film(take(90, 0.3), lit)
    seen = levels(made)
    (event,) = film_truth(made).not_cuts
    assert (event.kind, event.start, event.end) == ("flash", 7, 9)
    assert min(seen[7:9]) > 200
    assert seen[3:7] + seen[9:] == [50] * 8


def test_letterbox_bars_are_black_and_the_box_is_even() -> None:
    made = dataclasses.replace(film(take(180, 0.2)), size=Size(40, 30), picture=Size(40, 18))
    frame, _ = pictures(made)
    box = film_truth(made).box
    assert box == (0, 6, 40, 18)
    x, y, width, height = box
    assert (frame[y : y + height, x : x + width] == 180).all()
    assert frame.sum() == 180 * 3 * width * height


def test_irregular_timestamps_move_the_scene_by_the_time_that_passed() -> None:
    made = dataclasses.replace(
        film(Take(ticking, 1.0, "still", "time"), rate=Fraction(30)), vfr=True
    )
    ticks, unit = timestamps(made)
    steps = np.diff(ticks)
    assert ticks[0] == 0
    assert steps.min() > 0
    assert len(set(steps.tolist())) > 3
    assert levels(made) == [round(100 * float(tick * unit)) for tick in ticks]
    assert film_truth(made).fps == pytest.approx((len(ticks) - 1) / float(ticks[-1] * unit))


def test_a_shot_seen_in_a_dissolve_goes_on_moving() -> None:
    made = film(
        Take(ticking, 0.3, "still", "time", join=Join("dissolve", 0.4)), Take(ticking, 0.3, "", "")
    )
    first = [0, 10, 20, 30, 40, 50, 60]  # hundredths; the second scene starts with the dissolve
    second = [0, 10, 20, 30, 40, 50, 60]
    mixture = [
        round(first[3 + k] * (1 - share) + second[k] * share)
        for k, share in enumerate((0.2, 0.4, 0.6, 0.8))
    ]
    assert levels(made) == [*first[:3], *mixture, *second[4:]]


def test_a_transition_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(AssertionError, match="last transition"):
        frame_count(film(take(0, 0.2, Join("fade", 0.2))))


JOINS = st.sampled_from([Join(), Join("dissolve", 0.3), Join("fade", 0.55)])


@given(
    st.lists(st.tuples(st.floats(0.1, 1.5), JOINS), min_size=1, max_size=6),
    st.sampled_from([Fraction(24), Fraction(24000, 1001), Fraction(30), Fraction(25)]),
)
def test_shots_and_transitions_cover_a_film_without_overlap(
    parts: list[tuple[float, Join]], rate: Fraction
) -> None:
    takes = [take(0, seconds, join) for seconds, join in parts]
    takes[-1] = dataclasses.replace(takes[-1], join=Join())
    truth = film_truth(film(*takes, rate=rate))
    spans = [(shot.start, shot.end) for shot in truth.shots]
    spans += [(span.start, span.end) for span in truth.transitions]
    assert all(start < end for start, end in spans)
    covered = [frame for start, end in sorted(spans) for frame in range(start, end)]
    assert covered == list(range(truth.frame_count))
    starts = {shot.start for shot in truth.shots[1:]}
    assert set(truth.hard_cuts) == starts - {span.end for span in truth.transitions}
