"""Outdoors: a flag in the wind, a camp fire."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    Sprite,
    add_light,
    around,
    box,
    coloured,
    dimmed,
    disc,
    figure,
    glow,
    over,
    polygon,
    shape,
    stroke,
    window,
)
from pipelines.demo.scenes.extras import firs
from pipelines.demo.textures import (
    Stops,
    as_bytes,
    cloudy,
    colour_table,
    contrast,
    dappled,
    fractal,
    grain,
    layer,
    ramp,
    rgb,
)


def flag(size: Size, rng: np.random.Generator) -> Painter:
    """A striped flag waves on its pole before racing clouds; two kites fly."""
    width, height = size
    unit = size.unit
    wide = width + round(420 * unit)
    sky = cloudy(rng, wide, height, [(0, "#1f62b4"), (0.6, "#86c0ea"), (1, "#dcecf4")], cover=0.6)
    cloth = _Cloth(_stripes(rng, round(0.74 * width), round(0.5 * width)), unit)
    meadow = firs(rng, wide, height, ("#1f4a2a", "#6fa052"), tall=0.13)
    left, top = round(width * 0.14), round(height * 0.32)
    kites = (("#e8402c", "#ffd23f"), ("#3fae5a", "#f4f4f4"))

    def paint(t: float) -> U8:
        frame = window(sky, size, width / 2 + 48 * unit * t, height / 2)
        for k, inks in enumerate(kites):
            _kite(frame, t, (width * (0.25 + 0.5 * k), height * (0.14 + 0.06 * k)), unit, inks)
        frame = over(frame, window(meadow, size, width / 2 + 30 * unit * t, height / 2))
        pole = left - 3 * unit
        box(frame, pole - 4.5 * unit, top - 18 * unit, 9 * unit, height, rgb("#d8d2c4"))
        disc(frame, pole, top - 22 * unit, 8 * unit, rgb("#e8b83a"))
        waving = cloth.view(t)
        region = frame[top : top + waving.shape[0], left : left + waving.shape[1]]
        part = np.ascontiguousarray(waving[: region.shape[0], : region.shape[1]])
        region[:] = over(np.ascontiguousarray(region), part)
        return frame

    return paint


class _Cloth:
    """A picture that waves, held at its left edge; shaded by its folds."""

    def __init__(self, picture: U8, unit: float) -> None:
        self._picture = picture
        self._unit = unit
        self._margin = round(34 * unit)
        tall, broad = picture.shape[:2]
        self._rows, self._columns = np.mgrid[-self._margin : tall + self._margin, 0:broad].astype(
            np.float32
        )
        self._along = self._columns / broad

    def view(self, t: float) -> U8:
        """The waving cloth [H, W, 4], with a margin above and below for the waves."""
        phase = 9.0 * self._along - 6.5 * t
        wave = np.sin(phase) + 0.4 * np.sin(1.9 * phase + 0.02 * self._rows / self._unit + t)
        rows = self._rows - wave * (19 * self._unit) * self._along**0.8
        fold = (np.cos(phase) + 0.5 * np.cos(1.9 * phase + t)) * self._along**0.5
        seen = np.asarray(cv2.remap(self._picture, self._columns, rows, cv2.INTER_LINEAR), np.uint8)
        return np.dstack([dappled(seen[..., :3], 1.0 + 0.26 * fold), seen[..., 3]])


def _stripes(rng: np.random.Generator, width: int, height: int) -> U8:
    picture = np.zeros((height, width, 3), np.uint8)
    for k, colour in enumerate(("#d8342c", "#f6f0e0", "#2a6ac0", "#f6f0e0", "#d8342c")):
        box(picture, 0, k * height / 5, width, height / 5, rgb(colour))
    polygon(picture, [(0, 0), (width * 0.4, height / 2), (0, height)], rgb("#f2c23a"))
    middle = (width * 0.13, height / 2)
    star = [
        around(*middle, (0.075 if k % 2 else 0.17) * height, k * math.pi / 8) for k in range(16)
    ]
    polygon(picture, star, rgb("#b8322c"))
    alpha = np.zeros((height, width), np.float32)
    alpha[1:-1, 1:-1] = 1
    return layer(grain(rng, picture, 0.14), alpha)


def _kite(frame: U8, t: float, at: tuple[float, float], unit: float, inks: tuple[str, str]) -> None:
    phase = 0.01 * at[0]  # so that kites at different places do not fly in step
    x = at[0] + 46 * unit * math.sin(0.9 * t + 2 * phase)
    y = at[1] + 26 * unit * math.sin(1.7 * t + phase)
    roll = 0.4 * math.sin(1.3 * t + phase)
    first, second = rgb(inks[0]), rgb(inks[1])
    figure(frame, x, y, unit, first, (0, -34), (22, -6), (0, 40), (-22, -6), roll=roll)
    figure(frame, x, y, unit, second, (0, -34), (22, -6), (0, -6), roll=roll)
    figure(frame, x, y, unit, second, (0, 40), (-22, -6), (0, -6), roll=roll)
    tail = [(7 * math.sin(0.3 * s - 7 * t) * s / 12, 40 + 6 * s) for s in range(13)]
    stroke(frame, shape(x, y, unit, *tail, roll=roll), first, 3 * unit)


def camp_fire(size: Size, rng: np.random.Generator) -> Painter:
    """A camp fire at dusk: flames lick, sparks fly, firs stand round; the camera drifts."""
    width, height = size
    unit = size.unit
    wide = width + round(300 * unit)
    dusk: Stops = [(0, "#26336a"), (0.45, "#7a5a94"), (0.7, "#e08a78"), (1, "#e8a880")]
    sky = cloudy(rng, wide, height, dusk, cloud="#c88aa0", shade="#4a4078", cover=0.45)
    ground = round(height * 0.74)
    wood = firs(rng, wide, ground, ("#161a2c", "#3a4458"), tall=0.42)
    soil = contrast(fractal(rng, wide, height, slope=1.0, largest=60, stretch=2.5), 1.4)
    earth = ramp(soil, [(0, "#3a2a24"), (0.6, "#7a5a40"), (1, "#c09a6a")])
    flame = _Flame(rng, Size(round(170 * unit), round(210 * unit)))
    sparks = rng.uniform(0, 1, (46, 4))
    warmth = glow(330 * unit, (170, 84, 22), 1.5)

    def paint(t: float) -> U8:
        drift = 38 * unit * t
        frame = window(sky, size, width / 2 + 0.5 * drift, height / 2)
        far = window(wood, Size(width, ground), width / 2 + 0.8 * drift, ground / 2)
        frame[:ground] = over(np.ascontiguousarray(frame[:ground]), far)
        frame[ground:] = window(earth, size, width / 2 + 1.3 * drift, height / 2)[ground:]
        x, y = width * 0.56 - 0.22 * drift, height * 0.86
        flicker = 1 + 0.12 * math.sin(13 * t) + 0.08 * math.sin(29 * t)
        add_light(frame, dimmed(warmth, 0.7 * flicker), x, y - 40 * unit)
        _hearth(frame, x, y, unit)
        flame.place(frame, x, y - 96 * unit, t)
        for place, phase, pace, sway in sparks:
            age = (phase + t * (0.35 + 0.4 * pace)) % 1
            left = x + ((place - 0.5) * 100 + 40 * age * math.sin(5 * t + 9 * sway)) * unit
            disc(frame, left, y - (60 + 240 * age) * unit, (2.4 - 1.8 * age) * unit, rgb("#ffca5a"))
        return frame

    return paint


class _Flame:
    """Noise that streams upwards through a teardrop, coloured by heat."""

    def __init__(self, rng: np.random.Generator, size: Size) -> None:
        self._noise = contrast(fractal(rng, 256, 512, slope=1.5, largest=70), 1.5)
        rows, columns = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
        self._rows, self._columns = rows, columns
        self._up = 1 - rows / size.height
        across = np.abs(columns / size.width - 0.5) * 2
        waist = 1.8 * np.sqrt(np.clip(self._up, 0, 1)) * (1 - self._up) ** 0.75
        self._shape = np.asarray(1 - across / np.maximum(waist, 0.02), np.float32)
        self._table = colour_table([
            (0, "#c8200a"), (0.25, "#f05a10"), (0.55, "#ffb428"), (0.85, "#fff08a"), (1, "#fffbe0"),
        ])  # fmt: skip

    def place(self, frame: U8, x: float, y: float, t: float) -> None:
        """Draw it, its middle at (x, y)."""
        columns = self._columns + 16 * self._up**1.5 * np.sin(5 * t + 4 * self._up)
        rows = self._rows + np.float32(270 * t % 512)
        wrap = cv2.BORDER_WRAP
        tongue = cv2.remap(self._noise, columns, rows, cv2.INTER_LINEAR, borderMode=wrap)
        heat = self._shape * 1.15 + (tongue - 0.62) * (0.5 + 1.1 * self._up)
        colour = coloured(as_bytes(np.clip(heat * 1.1, 0, 1)), self._table)
        Sprite(layer(colour, np.clip(heat * 5, 0, 1))).place(frame, x, y)


def _hearth(frame: U8, x: float, y: float, unit: float) -> None:
    for k in range(9):
        stone = shape(x, y, unit, (74 * math.cos(math.pi * k / 8), 20 * math.sin(math.pi * k / 8)))
        disc(frame, *stone[0], 13 * unit, rgb("#5c5450"))
        disc(frame, stone[0][0] - 3 * unit, stone[0][1] - 4 * unit, 8 * unit, rgb("#a08a78"))
    for roll, bark in ((0.35, "#4a2c1a"), (-0.35, "#5c3820"), (0.05, "#6a4226")):
        log = ((-58, -7), (58, -7), (58, 7), (-58, 7))
        figure(frame, x, y, unit, rgb(bark), *log, roll=roll)
        disc(frame, *around(x, y, 58 * unit, roll), 7 * unit, rgb("#c89a5a"))
