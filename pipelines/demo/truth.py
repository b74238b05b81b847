"""What is true of the demo films: their shots, cuts, transitions, and what only looks like a cut.

Derived from the cut lists, never from the pictures, so that measurements can be judged by it. Spans
are half-open ``[start, end)`` in frames, counted from 0.
"""

import dataclasses
from fractions import Fraction

from pipelines.demo.timeline import Film, Placed, frame_count, placed, timestamps

LICENCE = "CC0-1.0"


@dataclasses.dataclass(frozen=True, slots=True)
class SpanTruth:
    """A run of frames: a gradual transition, or an event that is not a cut."""

    kind: str
    """'dissolve' or 'fade' (through black); 'flash' or 'whip_pan'."""
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class ShotTruth:
    """A shot without the transitions round it."""

    start: int
    end: int
    scene: str
    camera: str
    purpose: str
    caption: str


@dataclasses.dataclass(frozen=True, slots=True)
class FilmTruth:
    """All that is known of a film."""

    file: str
    licence: str
    caption: str | None
    """What stands in the text file beside the film, where there is one."""
    width: int
    height: int
    frame_count: int
    fps: float
    """Mean rate: (frames - 1) / (last - first time)."""
    rate: str
    """Nominal rate as a fraction, such as ``24000/1001``."""
    vfr: bool
    box: tuple[int, int, int, int] | None
    """x, y, width and height of the picture inside black bars."""
    hard_cuts: tuple[int, ...]
    """First frame of each shot that begins with a cut."""
    transitions: tuple[SpanTruth, ...]
    not_cuts: tuple[SpanTruth, ...]
    shots: tuple[ShotTruth, ...]


def film_truth(film: Film) -> FilmTruth:
    """Read off a film's cut list what is true of it."""
    shots = placed(film)
    ticks, unit = timestamps(film)
    joined = shots[:-1]
    return FilmTruth(
        file=f"{film.name}.mp4",
        licence=LICENCE,
        caption=film.caption,
        width=film.size.width,
        height=film.size.height,
        frame_count=frame_count(film),
        fps=float((len(ticks) - 1) / ((ticks[-1] - ticks[0]) * unit)),
        rate=str(film.rate),
        vfr=film.vfr,
        box=(*film.offset, *film.picture) if film.picture else None,
        hard_cuts=tuple(shot.end for shot in joined if shot.take.join.kind == "cut"),
        transitions=tuple(
            SpanTruth(shot.take.join.kind, shot.end, shot.last)
            for shot in joined
            if shot.take.join.kind != "cut"
        ),
        not_cuts=tuple(event for shot in shots for event in _events(shot, film.rate)),
        shots=tuple(_shot_truth(shot) for shot in shots),
    )


def _events(shot: Placed, rate: Fraction) -> list[SpanTruth]:
    event = shot.take.event
    if event is None:
        return []
    start, end = event.frames(rate)
    return [SpanTruth(event.kind, shot.first + start, shot.first + end)]


def _shot_truth(shot: Placed) -> ShotTruth:
    take = shot.take
    return ShotTruth(shot.start, shot.end, take.scene_name, take.camera, take.purpose, take.caption)
