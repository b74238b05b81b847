"""What a film is made of, and which picture stands at which frame.

Films are cut lists: takes joined by cuts and transitions, with a few events that only look like
cuts. The frames and the ground truth are read from the same placement of takes, so that they cannot
disagree. Spans are half-open ``[start, end)`` in frames.
"""

import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Literal

import cv2
import numpy as np

from pipelines.demo.canvas import U8, Painter, Scene, Size, crossed, dimmed

VFR_TIME_BASE = Fraction(1, 90000)
_VFR_STEPS = (2700, 3000, 3000, 3000, 3300, 3600, 4500)
"""Times between frames as a telephone writes them: 30 to 50 ms, mostly 33."""
_FLASH_STRENGTH = 0.9
_BLACK_SHARE = 0.12
"""Share of a fade through black that is black, or nearly so."""


@dataclasses.dataclass(frozen=True, slots=True)
class Join:
    """How a shot gives way to the next."""

    kind: Literal["cut", "dissolve", "fade"] = "cut"
    """'fade' goes through black."""
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """What happens inside a shot and is not a cut. Times are seconds since the shot is seen."""

    kind: Literal["flash", "whip_pan"]
    at: float
    seconds: float

    def frames(self, rate: Fraction) -> tuple[int, int]:
        """Its frames, counted from the first frame of the shot."""
        # Rounded first: 0.6 s at 10 frames a second is 6.000000000000001 of them.
        first, end = round(self.at * rate, 6), round((self.at + self.seconds) * rate, 6)
        return math.ceil(first), math.ceil(end)


@dataclasses.dataclass(frozen=True, slots=True)
class Take:
    """One shot of a film."""

    scene: Scene
    seconds: float
    """How long it stands alone; transitions come on top of it."""
    camera: str
    """What the camera does: 'still', 'pan', 'tilt', 'zoom', 'track', 'fly' or 'drift'."""
    caption: str
    purpose: str = "keep"
    """'keep', or why the default policy drops it: 'static', 'dark', 'defocused' or 'short'."""
    seed: int = 1
    blur: float = 0.0
    """Defocus: standard deviation in pixels of a frame 360 pixels high."""
    gain: float = 1.0
    """Exposure; 1 leaves the scene as it is."""
    event: Event | None = None
    join: Join = Join()

    @property
    def scene_name(self) -> str:
        """Name of the scene's function, which may be wrapped in a partial."""
        return str(getattr(self.scene, "func", self.scene).__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Film:
    """A cut list and how it is shown."""

    name: str
    takes: tuple[Take, ...]
    size: Size = Size(640, 360)  # noqa: RUF009 - a tuple
    rate: Fraction = Fraction(24)
    vfr: bool = False
    """Irregular timestamps about `rate`."""
    picture: Size | None = None
    """Size inside the black bars of a letterboxed film."""
    caption: str | None = None
    """Goes beside the film as a text file."""

    @property
    def content(self) -> Size:
        """Size of the picture without black bars."""
        return self.picture or self.size

    @property
    def offset(self) -> tuple[int, int]:
        """Column and row of the picture's corner; even, as 4:2:0 wants it."""
        across = (self.size.width - self.content.width) // 4 * 2
        return across, (self.size.height - self.content.height) // 4 * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """A take on the film's time line, in frames."""

    take: Take
    first: int
    """First frame in which anything of it is seen."""
    start: int
    """First frame that shows it alone."""
    end: int
    last: int
    """End of the transition that leads out of it."""


def placed(film: Film) -> tuple[Placed, ...]:
    """Lay a film's takes end to end."""
    shots = []
    first = start = 0
    for take in film.takes:
        end = start + round(take.seconds * film.rate)
        last = end + round(take.join.seconds * film.rate)
        shots.append(Placed(take, first, start, end, last))
        first, start = end, last
    assert shots[-1].end == shots[-1].last, f"{film.name}: nothing follows its last transition"
    return tuple(shots)


def frame_count(film: Film) -> int:
    """Number of frames of a film."""
    return placed(film)[-1].last


def timestamps(film: Film) -> tuple[list[int], Fraction]:
    """Presentation time of each frame, and the unit of these times in seconds."""
    count = frame_count(film)
    if not film.vfr:
        return list(range(count)), 1 / film.rate
    steps = np.random.default_rng(count).choice(_VFR_STEPS, count - 1)
    return list(accumulate(steps.tolist(), initial=0)), VFR_TIME_BASE


def pictures(film: Film) -> Iterator[U8]:
    """Paint a film's frames [H, W, 3], RGB, in order."""
    shots = placed(film)
    ticks, unit = timestamps(film)
    times = [float(tick * unit) for tick in ticks]
    painters: dict[int, Painter] = {}
    for index, time in enumerate(times):
        showing = [k for k, shot in enumerate(shots) if shot.first <= index < shot.last]
        painters = {k: painters.get(k) or _painter(film, shots[k].take) for k in showing}
        views = [
            _exposed(film, shots[k], index, painters[k](time - times[shots[k].first]))
            for k in showing
        ]
        yield _framed(film, _joined(shots[showing[0]], index, views))


def _painter(film: Film, take: Take) -> Painter:
    return take.scene(film.content, np.random.default_rng(take.seed))


def _exposed(film: Film, shot: Placed, index: int, view: U8) -> U8:
    """What the camera makes of a scene: focus, exposure, and a flash."""
    take = shot.take
    if take.blur:
        sigma = take.blur * film.content.unit
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), sigma), np.uint8)
    if take.gain != 1.0:
        view = dimmed(view, take.gain)
    if take.event is not None and take.event.kind == "flash":
        start, end = take.event.frames(film.rate)
        if start <= index - shot.first < end:
            view = crossed(view, np.full_like(view, 255), _FLASH_STRENGTH)
    return view


def _joined(leaving: Placed, index: int, views: list[U8]) -> U8:
    """Apply the transition that leads out of the earlier of the shots that are seen."""
    if index < leaving.end:
        return views[0]
    assert len(views) == 2, "a transition lies between two shots"
    position = (index - leaving.end + 1) / (leaving.last - leaving.end + 1)
    if leaving.take.join.kind == "dissolve":
        return crossed(views[0], views[1], position)
    gain = max(0.0, (abs(1 - 2 * position) - _BLACK_SHARE) / (1 - _BLACK_SHARE))
    return dimmed(views[0] if position < 0.5 else views[1], gain)


def _framed(film: Film, picture: U8) -> U8:
    if film.picture is None:
        return picture
    frame = np.zeros((film.size.height, film.size.width, 3), np.uint8)
    left, top = film.offset
    frame[top : top + film.picture.height, left : left + film.picture.width] = picture
    return frame
