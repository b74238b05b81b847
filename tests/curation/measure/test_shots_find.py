"""Shots of painted films whose cuts, fades and dissolves are known to the frame."""

import dataclasses
import itertools

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.measure.shots.cuts import CutConfig
from curation.measure.shots.find import Shot, ShotConfig, find_shots
from curation.measure.shots.gradual import GradualConfig
from curation.measure.shots.seeds import SeedConfig
from curation.measure.shots.trace import FRAME_TRACE_SCHEMA, FrameTracer, ShotTrace

U8 = npt.NDArray[np.uint8]

HEIGHT, WIDTH = 144, 256
FPS = 24.0


def canvas(seed: int, height: int = HEIGHT, width: int = WIDTH) -> U8:
    """Discs of all sizes that hide one another ("dead leaves"), as natural pictures have them."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), rng.integers(60, 190, 3), np.uint8)
    for _ in range(height * width // 60):
        radius = int(min(60, 4 / rng.random() ** 0.6))
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(picture, centre, radius, rng.integers(20, 235, 3).tolist(), -1, cv2.LINE_AA)
    return picture


def still(seed: int, count: int) -> list[U8]:
    return [canvas(seed)] * count


def pan(seed: int, count: int, speed: float = 2.0) -> list[U8]:
    """A camera that pans over a large picture, `speed` pixels a frame."""
    wide = canvas(seed, HEIGHT, WIDTH + int(abs(speed) * count) + 1)
    return [wide[:, (x := round(i * speed)) : x + WIDTH].copy() for i in range(count)]


def mixed(a: U8, b: U8, share: float) -> U8:
    return np.rint((1 - share) * a.astype(np.float32) + share * b.astype(np.float32)).astype(
        np.uint8
    )


def dissolve(first: list[U8], second: list[U8], length: int, eased: bool = False) -> list[U8]:
    """Two shots, blended over `length` frames of both."""
    shares = (np.arange(length) + 1) / (length + 1)
    if eased:
        shares = (1 - np.cos(np.pi * shares)) / 2
    blend = [
        mixed(a, b, share)
        for a, b, share in zip(first[-length:], second[:length], shares, strict=True)
    ]
    return [*first[:-length], *blend, *second[length:]]


def fade_out(shot: list[U8], length: int, level: int = 0) -> list[U8]:
    """A shot whose last `length` frames go to a blank picture, which is not among them."""
    blank = [np.full_like(shot[0], level)] * (length + 1)
    return dissolve(shot, blank, length)[:-1]


def fade_in(shot: list[U8], length: int, level: int = 0) -> list[U8]:
    return fade_out(shot[::-1], length, level)[::-1]


def blank(count: int, level: int = 0) -> list[U8]:
    return [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * count


def slide(lines: list[int], background: int = 235) -> U8:
    """A slide with a title bar and lines of text; a line is the seed of its words."""
    picture = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
    for row, seed in enumerate(lines):
        rng = np.random.default_rng(seed)
        top = 10 + row * 18
        for left in range(16, 16 + int(rng.integers(120, 210)), 7):
            if rng.random() < 0.8:
                picture[top : top + int(rng.integers(5, 11)), left : left + 5] = 40
    return picture


def trace_of(frames: list[U8]) -> ShotTrace:
    tracer = FrameTracer()
    for frame in frames:
        tracer.measure(frame)
    return ShotTrace.from_table(pa.table(tracer.take(), schema=FRAME_TRACE_SCHEMA))


def shots_of(frames: list[U8], fps: float = FPS, config: ShotConfig | None = None) -> list[Shot]:
    return find_shots(trace_of(frames), fps, config or ShotConfig())


def boundaries(shots: list[Shot]) -> list[tuple[str, int, int]]:
    """Transitions between shots, each once."""
    seen = dict.fromkeys(t for shot in shots for t in (shot.transition_in, shot.transition_out))
    return [(t.kind, t.start, t.end) for t in seen if t.kind not in ("start", "end")]


# -- cuts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 3, 30])
@pytest.mark.parametrize("before", [1, 2, 30])
def test_a_cut_is_found_wherever_it_lies(before: int, after: int) -> None:
    shots = shots_of(pan(1, before) + pan(2, after))
    assert boundaries(shots) == [("cut", before, before)]
    assert [(shot.start, shot.end) for shot in shots] == [(0, before), (before, before + after)]
    assert shots[0].transition_in.kind == "start"
    assert shots[-1].transition_out.kind == "end"


def test_a_cut_inside_fast_motion_is_found() -> None:
    frames = pan(3, 40, speed=12) + pan(4, 40, speed=9)
    assert boundaries(shots_of(frames)) == [("cut", 40, 40)]


def test_short_shots_are_not_merged_into_their_neighbours() -> None:
    lengths = [30, 6, 7, 8, 30]
    frames = [frame for seed, n in enumerate(lengths) for frame in pan(10 + seed, n)]
    ends = list(itertools.accumulate(lengths))[:-1]
    assert boundaries(shots_of(frames)) == [("cut", end, end) for end in ends]


@pytest.mark.parametrize("fps", [12.0, 24.0, 60.0])
def test_a_change_of_slides_is_a_cut_and_a_new_line_is_not(fps: float) -> None:
    first, second = slide([1, 2, 3]), slide([4, 5, 6, 7])
    grown = slide([1, 2, 3, 8])
    assert boundaries(shots_of([first] * 40 + [second] * 40, fps)) == [("cut", 40, 40)]
    assert boundaries(shots_of([first] * 40 + [grown] * 40, fps)) == []
    assert boundaries(shots_of([grown] * 40 + [first] * 40, fps)) == []


def test_cuts_to_and_from_a_blank_screen_are_found() -> None:
    frames = pan(1, 30) + blank(12) + pan(2, 30)
    assert boundaries(shots_of(frames)) == [("cut", 30, 30), ("cut", 42, 42)]


def test_a_title_card_on_black_is_a_shot() -> None:
    card = blank(1)[0].copy()
    for left in range(70, 190, 8):
        card[60:84, left : left + 3] = 230
    frames = blank(30) + [card] * 40 + blank(30)
    assert boundaries(shots_of(frames)) == [("cut", 30, 30), ("cut", 70, 70)]


@pytest.mark.parametrize("length", [1, 2])
def test_a_cut_smeared_by_rate_conversion_is_a_cut_without_the_mixed_frames(length: int) -> None:
    shots = shots_of(dissolve(pan(5, 30), pan(6, 30), length))
    assert boundaries(shots) == [("cut", 30 - length, 30)]
    assert [(shot.start, shot.end) for shot in shots] == [(0, 30 - length), (30, 60 - length)]


def test_repeated_frames_move_cuts_only_as_far_as_they_move_frames() -> None:
    frames = pan(1, 30) + pan(2, 30)
    doubled = [frame for frame in frames for _ in range(2)]
    assert boundaries(shots_of(doubled, 2 * FPS)) == [("cut", 60, 60)]
    # A variable frame rate: every third frame dropped.
    kept = [i for i in range(60) if i % 3 != 2]
    assert boundaries(shots_of([frames[i] for i in kept], FPS / 1.5)) == [
        ("cut", kept.index(30), kept.index(30))
    ]


# -- what only looks like a cut --------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["white", "overexposed", "black"])
def test_a_flash_is_not_a_cut(kind: str, length: int) -> None:
    frames = pan(1, 60)
    for i in range(30, 30 + length):
        frames[i] = {
            "white": np.full_like(frames[i], 255),
            "overexposed": np.clip(frames[i].astype(int) * 2 + 60, 0, 255).astype(np.uint8),
            "black": np.zeros_like(frames[i]),
        }[kind]
    assert boundaries(shots_of(frames)) == []


def test_a_whip_pan_is_not_a_cut() -> None:
    wide = canvas(1, HEIGHT, 2200)
    speeds = np.r_[np.full(30, 1), 90 * np.sin(np.linspace(0, np.pi, 24)) ** 2, np.full(30, 1)]
    places = np.cumsum(speeds).astype(int)
    frames = [np.ascontiguousarray(wide[:, x : x + WIDTH]) for x in places]
    assert boundaries(shots_of(frames)) == []


def test_an_overlay_that_pops_up_is_not_a_cut() -> None:
    frames = pan(1, 90, speed=0.2)
    sticker = canvas(9, 90, 110)
    for frame in frames[30:60]:
        frame[30:120, 20:130] = sticker
    assert boundaries(shots_of(frames)) == []


def test_something_dark_that_passes_before_the_camera_is_not_a_boundary() -> None:
    frames = pan(1, 80, speed=0.5)
    for i, right in enumerate(range(0, 500, 22)):
        frames[25 + i][:, max(0, right - 200) : right] = 15
    assert boundaries(shots_of(frames)) == []


@pytest.mark.parametrize("gain", [0.5, 0.7, 1.5])
@pytest.mark.parametrize("length", [1, 12])
def test_a_change_of_exposure_is_not_a_boundary(gain: float, length: int) -> None:
    gains = np.r_[np.ones(30), np.linspace(1, gain, length + 2)[1:-1], np.full(30, gain)]
    frames = [
        np.clip(frame * g, 0, 255).astype(np.uint8)
        for frame, g in zip(pan(1, len(gains)), gains, strict=True)
    ]
    assert boundaries(shots_of(frames)) == []


def test_a_zoom_is_not_a_boundary() -> None:
    wide = canvas(1, HEIGHT * 2, WIDTH * 2)
    frames = []
    for i in range(90):
        height = round(HEIGHT * 2 * 0.985**i)
        width = height * 16 // 9
        top, left = HEIGHT - height // 2, WIDTH - width // 2
        part = wide[top : top + height, left : left + width]
        frames.append(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    assert boundaries(shots_of(frames)) == []


def test_rolling_credits_are_one_shot() -> None:
    rng = np.random.default_rng(0)
    sheet = np.zeros((1200, WIDTH, 3), np.uint8)
    for top in range(10, 1180, 18):
        left = int(rng.integers(40, 90))
        sheet[top : top + 9, left : WIDTH - left : 6] = 220
    frames = [sheet[i * 3 : i * 3 + HEIGHT].copy() for i in range(200)]
    assert boundaries(shots_of(frames)) == []


def test_a_frozen_film_is_one_shot() -> None:
    shots = shots_of(still(1, 100))
    assert [(shot.start, shot.end) for shot in shots] == [(0, 100)]


# -- fades and dissolves ---------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 4, 5, 8, 13, 24, 48, 72])
def test_a_linear_dissolve_of_stills_is_found_to_the_frame(length: int) -> None:
    shots = shots_of(dissolve(still(1, 100), still(2, 100), length))
    assert boundaries(shots) == [("dissolve", 100 - length, 100)]
    assert [(shot.start, shot.end) for shot in shots] == [(0, 100 - length), (100, 200 - length)]


@pytest.mark.parametrize("length", [8, 24, 48])
def test_dissolves_of_moving_shots_are_found_closely(length: int) -> None:
    shots = shots_of(dissolve(pan(1, 100, 0.7), pan(2, 100, 0.7), length, eased=True))
    [(kind, start, end)] = boundaries(shots)
    assert kind == "dissolve"
    assert abs(start - (100 - length)) <= max(2, length // 4)
    assert abs(end - 100) <= max(2, length // 4)


@pytest.mark.parametrize("level", [0, 255])
def test_a_fade_out_and_a_fade_in_have_the_blank_frames_between_them(level: int) -> None:
    frames = fade_out(still(1, 60), 20, level) + blank(15, level) + fade_in(still(2, 60), 16, level)
    shots = shots_of(frames)
    assert boundaries(shots) == [("fade", 40, 60), ("fade", 75, 91)]
    assert [(shot.start, shot.end) for shot in shots] == [(0, 40), (60, 75), (91, 135)]


def test_a_dip_to_black_is_one_transition() -> None:
    frames = fade_out(still(1, 60), 12) + blank(2) + fade_in(still(2, 60), 12)
    assert boundaries(shots_of(frames)) == [("fade", 48, 74)]


def test_a_blink_in_one_scene_is_no_transition() -> None:
    frames = fade_out(still(1, 60), 8) + blank(6) + fade_in(still(1, 60), 8)
    assert boundaries(shots_of(frames)) == []


def test_fades_at_the_ends_of_a_film() -> None:
    shots = shots_of(fade_out(fade_in(still(1, 120), 30), 30))
    assert boundaries(shots) == [("fade", 0, 30), ("fade", 90, 120)]
    assert [(shot.start, shot.end) for shot in shots] == [(30, 90)]


def test_a_fade_out_that_a_cut_ends_keeps_both() -> None:
    faded = fade_out(still(1, 60), 30)[:-3]  # cut off before it is quite dark
    shots = shots_of(faded + pan(2, 40))
    assert boundaries(shots) == [("fade", 30, 57), ("cut", 57, 57)]
    assert shots[0].transition_out.kind == "fade"
    assert shots[1].transition_in.kind == "cut"


def test_a_logo_that_stays_does_not_hide_a_fade() -> None:
    frames = fade_out(still(1, 60), 20) + blank(20) + fade_in(still(2, 60), 20)
    frames = [frame.copy() for frame in frames]
    for frame in frames:
        frame[8:24, 216:248:4] = 200
    assert [kind for kind, _, _ in boundaries(shots_of(frames))] == ["fade", "fade"]


def test_a_shot_that_fades_from_its_first_frame_to_its_last_is_a_shot() -> None:
    shots = shots_of(pan(1, 30) + fade_out(still(2, 20), 20) + pan(3, 30))
    assert [(shot.start, shot.end) for shot in shots] == [(0, 30), (30, 50), (50, 80)]


# -- any film --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_films_of_hardly_any_frames(count: int) -> None:
    shots = shots_of(pan(1, count))
    assert [(shot.start, shot.end) for shot in shots] == ([(0, count)] if count else [])


PIECES = st.lists(
    st.tuples(
        st.sampled_from(["still", "noise", "blank", "ramp", "drift"]),
        st.integers(0, 5),
        st.integers(1, 40),
    ),
    max_size=9,
)


def painted_trace(pieces: list[tuple[str, int, int]]) -> ShotTrace:
    """A trace without a film: thumbnails made of stills, noise, blanks, ramps and drifts."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 18, 32)).astype(np.float64)
    images[5] = 0
    thumbnails = [np.zeros((0, 18, 32))]
    now = images[0]
    for kind, which, count in pieces:
        shares = (np.arange(count)[:, None, None] + 1) / count
        target = np.full_like(now, 40.0 * which) if kind == "blank" else images[which]
        if kind == "ramp":
            thumbnails.append(now + shares * (target - now))
        elif kind == "noise":
            thumbnails.append(rng.integers(0, 256, (count, 18, 32)).astype(np.float64))
        elif kind == "drift":
            thumbnails.append(np.stack([np.roll(target, i, 1) for i in range(count)]))
        else:
            thumbnails.append(np.repeat(target[None], count, 0))
        now = thumbnails[-1][-1]
    stack = np.rint(np.concatenate(thumbnails)).astype(np.uint8)
    change = np.abs(np.diff(stack.astype(np.float32), axis=0, prepend=stack[:1])).mean((1, 2))
    level = stack.astype(np.float32).mean((1, 2))
    return ShotTrace(change, change, change, level, level, level, stack)


@settings(max_examples=150, deadline=None)
@given(pieces=PIECES, fps=st.sampled_from([5.0, 24.0, 120.0]))
def test_shots_and_transitions_share_out_the_film(
    pieces: list[tuple[str, int, int]], fps: float
) -> None:
    trace = painted_trace(pieces)
    shots = find_shots(trace, fps, ShotConfig())
    assert all(shot.start < shot.end for shot in shots)
    owner = np.zeros(len(trace), int)
    for shot in shots:
        owner[shot.start : shot.end] += 1
        assert shot.transition_in.end == shot.start
        assert shot.transition_out.start == shot.end
    between = {t for shot in shots for t in (shot.transition_in, shot.transition_out)}
    for transition in between:
        assert 0 <= transition.start <= transition.end <= len(trace)
        owner[transition.start : transition.end] += 1
    assert (owner == 1).all()
    assert [shot.start for shot in shots] == sorted(shot.start for shot in shots)


# -- settings --------------------------------------------------------------------------------------


def test_a_threshold_can_be_moved_without_new_traces() -> None:
    frames = pan(1, 30) + pan(2, 30)
    deaf = dataclasses.replace(ShotConfig(), cuts=CutConfig(min_change=255.0))
    assert boundaries(shots_of(frames)) == [("cut", 30, 30)]
    assert boundaries(shots_of(frames, config=deaf)) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CutConfig(window=0), "cuts.window = 0"),
        (lambda: CutConfig(smeared_frames=9), "cuts.smeared_frames = 9"),
        (lambda: CutConfig(flash_seconds=-1.0), "cuts.flash_seconds"),
        (lambda: CutConfig(max_survival=1.5), "cuts.max_survival = 1.5"),
        (lambda: GradualConfig(min_speed=0.0), "gradual.min_speed"),
        (lambda: GradualConfig(dip_seconds=-1.0), "gradual.dip_seconds"),
        (lambda: SeedConfig(windows_seconds=()), "windows_seconds"),
        (lambda: SeedConfig(min_progress=0.3), "min_progress"),
        (lambda: shots_of(still(1, 3), fps=0.0), "fps = 0.0"),
    ],
)
def test_impossible_settings_are_refused_by_name(make: "object", words: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=words):
        make()
