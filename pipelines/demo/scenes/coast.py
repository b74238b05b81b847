"""The coast: a lighthouse on the sea, a harbour town."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    box,
    coloured,
    crossed,
    figure,
    over,
    polygon,
    window,
)
from pipelines.demo.ground import Ground
from pipelines.demo.scenes.extras import birds
from pipelines.demo.textures import (
    Stops,
    as_bytes,
    below,
    cloudy,
    colour_table,
    contrast,
    fractal,
    layer,
    lit,
    mixed,
    ramp,
    rgb,
    ridge,
)

_WALLS = ("#f2d6a8", "#e89a6a", "#f6efe0", "#d8705a", "#a8c4d0", "#f0c35a", "#c8a0b8")
_ROOFS = ("#a84a32", "#8d3f30", "#b8603a")


class Waves:
    """The surface of the sea: two fields that drift against each other over a ground."""

    def __init__(
        self, rng: np.random.Generator, size: Size, horizon: float, stops: Stops, *, texels: float
    ) -> None:
        self._table = colour_table(stops)
        self._swells = []
        for stretch in (1.3, 2.0):
            swell = contrast(fractal(rng, 512, 512, slope=1.5, largest=80, stretch=stretch), 1.3)
            self._swells.append(Ground(as_bytes(swell), size, horizon, texels=texels))
        self.top = self._swells[0].top

    def view(self, t: float, pan: float = 0.0) -> U8:
        """The rows of the sea [H - top, W, 3]."""
        first = self._swells[0].view(0.55 * t, pan + 0.12 * t)
        second = self._swells[1].view(-0.3 * t, pan - 0.2 * t + 3.3)
        return coloured(crossed(first, second, 0.5), self._table)


def lighthouse(size: Size, rng: np.random.Generator) -> Painter:
    """A lighthouse and a sailing boat on a choppy sea; the camera pans, gulls cross."""
    width, height = size
    unit = size.unit
    horizon = height * 0.5
    waves = Waves(rng, size, horizon, [
        (0, "#0b2f4a"), (0.4, "#15587a"), (0.6, "#2f8fa8"), (0.72, "#8fd0d0"), (1, "#ffffff"),
    ], texels=120)  # fmt: skip
    wide = width + round(420 * unit)
    air: Stops = [(0, "#2f7fc8"), (0.35, "#9fd2ee"), (0.5, "#fbe7c6"), (1, "#fbe7c6")]
    sky = cloudy(rng, wide, height, air, cover=0.6)
    rock = _headland(rng, wide, height, horizon, unit)
    fade = np.clip(1.2 - np.arange(height - waves.top) / (26 * unit), 0, 0.8).astype(np.float32)

    def paint(t: float) -> U8:
        x = width / 2 + 44 * unit * t
        frame = window(sky, size, x * 0.85 + 0.075 * width, height / 2)
        frame[waves.top :] = mixed(waves.view(t, 0.14 * t), rgb("#d6e6e4"), fade[:, None])
        frame = over(frame, window(rock, size, x, height / 2))
        bob = math.sin(1.9 * t) * 3 * unit
        boat = (width * 0.22 + 8 * unit * t, height * 0.66 + bob)
        _boat(frame, *boat, unit, 0.07 * math.sin(1.6 * t))
        birds(frame, t, unit, (width * 0.2 + 70 * unit * t, height * 0.2), count=5)
        return frame

    return paint


def _headland(rng: np.random.Generator, width: int, height: int, horizon: float, unit: float) -> U8:
    place = np.arange(width, dtype=np.float32)
    middle = width * 0.56
    rise = np.exp(-(((place - middle) / (95 * unit)) ** 2)) * 52 * unit
    rough = (fractal(rng, width, 1, slope=1.2, largest=90)[0] - 0.5) * 34 * unit * (rise > 4 * unit)
    depth, mask = below(horizon + 14 * unit - rise - rough, height)
    end = horizon + (16 + 8 * np.sin(place / (9 * unit))) * unit
    mask *= np.clip(end[None, :] - np.arange(height)[:, None], 0, 1) * (rise > 2 * unit)
    stone = fractal(rng, width, height, slope=1.3, largest=50)
    picture = lit(ramp(contrast(stone, 1.4), [(0, "#4a4036"), (1, "#a08d74")]), stone, 0.2)
    grass = np.asarray(np.clip(1 - depth / (9 * unit), 0, 1) * (depth > -1), np.float32)
    rock = layer(mixed(picture, rgb("#6d9444"), grass), mask)
    _tower(rock, middle, horizon - 32 * unit, unit)
    return rock


def _tower(plate: U8, x: float, foot: float, unit: float) -> None:
    for k in range(6):
        low, high = 13 - 1.1 * k, 13 - 1.1 * (k + 1)
        y = foot - 17 * unit * k
        bright, dark = ("#c8322c", "#962620") if k % 2 else ("#f6efe2", "#b8b3a9")
        figure(plate, x, y, unit, rgb(bright), (-low, 0), (low, 0), (high, -17), (-high, -17))
        shade = ((0.3 * low, 0.0), (low, 0.0), (high, -17.0), (0.3 * high, -17.0))
        figure(plate, x, y, unit, rgb(dark), *shade)
    top = foot - 102 * unit
    box(plate, x - 10 * unit, top - 4 * unit, 20 * unit, 4 * unit, rgb("#39414a"))
    box(plate, x - 6 * unit, top - 17 * unit, 12 * unit, 13 * unit, rgb("#ffe9a0"))
    figure(plate, x, top, unit, rgb("#8f2420"), (-9, -17), (9, -17), (0, -29))


def _boat(frame: U8, x: float, y: float, unit: float, roll: float) -> None:
    for colour, corners in (
        ("#7a3320", ((-36, 0), (40, 0), (28, 14), (-28, 14))),
        ("#f3e6d0", ((-36, 0), (40, 0), (37, 4), (-34, 4))),
        ("#4a3020", ((-1, 0), (1, 0), (1, -84), (-1, -84))),
        ("#fdf6e6", ((3, -82), (3, -6), (40, -6))),
        ("#e05a36", ((-3, -78), (-3, -6), (-30, -6))),
    ):
        figure(frame, x, y, unit, rgb(colour), *corners, roll=roll)


def harbour(
    size: Size, rng: np.random.Generator, *, whip_at: float, whip_seconds: float
) -> Painter:
    """A harbour town on a hill; the camera pans slowly, whips round, and pans on.

    Args:
        size: of the frame.
        rng: source of the town.
        whip_at: seconds at which the whip pan begins.
        whip_seconds: how long it lasts.
    """
    width, height = size
    unit = size.unit
    throw = 1250 * unit
    wide = width + round(throw + 400 * unit)
    quay = round(height * 0.7)
    town = _town(rng, wide, height, quay, unit)
    waves = Waves(rng, size, height * 0.55, [
        (0, "#12405e"), (0.45, "#2a7f9a"), (0.65, "#6fbcc0"), (0.8, "#c9ecec"), (1, "#ffffff"),
    ], texels=110)  # fmt: skip
    berths = np.arange(0.1, 1.0, 0.075)
    boats = np.stack([berths, rng.uniform(0.8, 1.0, len(berths)), rng.random(len(berths))], axis=1)
    half_shutter = 0.25 / 24  # a 180 degree shutter at 24 frames a second

    def position(t: float) -> float:
        share = min(max((t - whip_at) / whip_seconds, 0.0), 1.0)
        return 45 * unit * t + throw * share * share * (3 - 2 * share)

    def paint(t: float) -> U8:
        x = position(t)
        frame = window(town, size, width / 2 + x, height / 2)
        frame[quay:] = waves.view(t, x / (height * 0.9))[quay - waves.top :]
        for place, depth, tone in boats:
            left = place * wide - x * (0.9 + 0.3 * depth)
            bob = 2 * unit * math.sin(2 * t + 9 * tone)
            _dinghy(frame, left, height * depth + bob, unit * (0.6 + depth * 0.7), tone)
        birds(frame, t, unit, (width * 1.5 + 50 * unit * t - x * 0.4, height * 0.16), count=5)
        streak = round(position(t + half_shutter) - position(t - half_shutter))
        if streak > 3 * unit:
            frame = np.asarray(cv2.blur(frame, (streak, 1)), np.uint8)
        return frame

    return paint


def _town(rng: np.random.Generator, width: int, height: int, quay: int, unit: float) -> U8:
    air: Stops = [(0, "#3a86cc"), (0.6, "#cfe6f2"), (1, "#f6efe0")]
    picture = cloudy(rng, width, height, air, cover=0.5)
    _, mask = below(ridge(rng, width, quay - 40 * unit, 130 * unit, slope=1.8), height)
    woods = fractal(rng, width, height, slope=1.2, largest=50)
    green = lit(ramp(contrast(woods, 1.4), [(0, "#33562f"), (1, "#9ab86a")]), woods, 0.2)
    picture = mixed(picture, green, mask)
    for tier, big in ((-96, 0.62), (-58, 0.78), (-14, 1.0)):
        x = -20 * unit
        while x < width:
            broad, tall = rng.uniform(38, 62) * unit * big, rng.uniform(50, 92) * unit * big
            foot = quay + (tier + rng.uniform(-9, 9)) * unit
            _house(rng, picture, (x, foot, broad, tall), unit * big)
            x += broad + (rng.uniform(0, 26) * unit if tier < -20 else 1)
    wall = quay - 15 * unit
    box(picture, 0, wall, width, 17 * unit, rgb("#8d8478"))
    for x in np.arange(0, width, 26 * unit):
        box(picture, x, wall, 12 * unit, 15 * unit, rgb("#766d62"))
    return picture


def _house(
    rng: np.random.Generator, picture: U8, lot: tuple[float, float, float, float], unit: float
) -> None:
    x, foot, broad, tall = lot
    wall = rgb(_WALLS[rng.integers(len(_WALLS))])
    top = foot - tall
    box(picture, x, top, broad, tall, wall)
    shade = (wall[0] * 4 // 5, wall[1] * 4 // 5, wall[2] * 4 // 5)
    box(picture, x + broad * 0.8, top, broad * 0.2, tall, shade)
    roof = [(x - 4 * unit, top), (x + broad + 4 * unit, top), (x + broad / 2, top - 24 * unit)]
    polygon(picture, roof, rgb(_ROOFS[rng.integers(len(_ROOFS))]))
    for row in np.arange(top + 12 * unit, foot - 14 * unit, 20 * unit):
        for column in np.arange(x + 7 * unit, x + broad - 10 * unit, 15 * unit):
            pane = rgb("#3a4a5c") if rng.random() < 0.75 else rgb("#f6e7a8")
            box(picture, column, row, 7 * unit, 11 * unit, pane)


def _dinghy(frame: U8, x: float, y: float, unit: float, tone: float) -> None:
    hull = ("#c43a2e", "#2e6ac4", "#f0efe8", "#2e8a5a", "#e8a52e")[int(tone * 5)]
    for colour, corners in (
        (hull, ((-34, -6), (34, -9), (24, 8), (-26, 8))),
        ("#fbf6ea", ((-12, -7), (12, -8), (10, -22), (-12, -22))),
        ("#4a6a80", ((-8, -18), (6, -18), (6, -12), (-8, -12))),
        ("#5a4a3a", ((-15, -20), (-13, -20), (-13, -52), (-15, -52))),
    ):
        figure(frame, x, y, unit, rgb(colour), *corners)
