"""A thunderstorm over a plain."""

import math

import numpy as np
import numpy.typing as npt

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    disc,
    over,
    shape,
    stroke,
    window,
)
from pipelines.demo.textures import (
    Stops,
    below,
    cloudy,
    contrast,
    fractal,
    layer,
    mixed,
    ramp,
    rgb,
    ridge,
)


def storm(size: Size, rng: np.random.Generator) -> Painter:
    """A thunderstorm rolls over a plain: clouds race, rain falls, a tree bends."""
    width, height = size
    unit = size.unit
    wide = width + round(720 * unit)
    air: Stops = [(0, "#39434f"), (0.5, "#5c6875"), (0.7, "#9aa394"), (1, "#b8b89a")]
    high = cloudy(rng, wide, height, air, cloud="#8e99a3", shade="#2e3742", cover=0.8)
    low = _scud(rng, wide, height)
    land = _plain(rng, wide, height)
    drops = rng.uniform(0, 1, (240, 3))
    crown = _crown(rng, 150)

    def paint(t: float) -> U8:
        frame = window(high, size, width / 2 + 46 * unit * t, height / 2)
        frame = over(frame, window(low, size, width / 2 + 105 * unit * t, height / 2))
        frame = over(frame, window(land, size, width / 2 + 22 * unit * t, height / 2))
        _bent_tree(frame, t, (width * 0.72 - 22 * unit * t, height * 0.9), unit, crown)
        for x, y, near in drops:
            left = ((x - 0.28 * t) % 1.1) * width
            top = ((y + (1.1 + 0.8 * near) * t) % 1.15 - 0.1) * height
            drop = shape(left, top, (10 + 14 * near) * unit, (0, 0), (-0.26, 1))
            stroke(frame, drop, rgb("#b4c2cc"), unit)
        return frame

    return paint


def _crown(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Tufts of a tree [count, 3]: places within a disc of radius 1.5, and their tone."""
    angle, reach = rng.uniform(0, 2 * math.pi, count), 1.5 * np.sqrt(rng.uniform(0, 1, count))
    tufts = np.stack([reach * np.cos(angle), reach * np.sin(angle), rng.normal(0, 1, count)], 1)
    return np.asarray(tufts[np.argsort(-tufts[:, 1])], np.float64)


def _scud(rng: np.random.Generator, width: int, height: int) -> U8:
    field = fractal(rng, width, height, slope=1.6, largest=height * 0.5, stretch=2.4)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    alpha = np.clip((field - 0.5) * 3.2, 0, 0.92) * np.clip((0.62 - rows) * 4, 0, 1)
    cloud = ramp(contrast(field, 1.8), [(0, "#4c5763"), (0.6, "#2c3540"), (1, "#1e252e")])
    return layer(cloud, alpha)


def _plain(rng: np.random.Generator, width: int, height: int) -> U8:
    _, mask = below(ridge(rng, width, 0.72 * height, 0.03 * height, slope=1.9), height)
    wheat = fractal(rng, width, height, slope=0.95, largest=60, stretch=0.6)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colour = ramp(contrast(wheat, 1.3), [(0, "#4a4a24"), (0.5, "#8c8442"), (1, "#c8bc74")])
    return layer(mixed(colour, rgb("#6a7068"), np.clip((0.84 - rows) * 5, 0, 0.7)), mask)


def _bent_tree(
    frame: U8, t: float, foot: tuple[float, float], unit: float, crown: npt.NDArray[np.float64]
) -> None:
    gust = math.sin(2.1 * t) + 0.5 * math.sin(5.3 * t)
    lean = (16 + 9 * gust) * unit
    top = (foot[0] - lean, foot[1] - 96 * unit)
    middle = (foot[0] - lean * 0.3, foot[1] - 52 * unit)
    stroke(frame, [foot, middle, top], rgb("#2c2019"), 8 * unit)
    for x, y, tone in crown:
        push = lean * (0.4 - 0.35 * y) + 4 * unit * math.sin(6 * t + 5 * tone)
        light = 1 + 0.25 * tone - 0.25 * y
        colour = (int(38 * light), int(62 * light), int(36 * light))
        disc(frame, top[0] - push + x * 24 * unit, top[1] + y * 20 * unit, 6.5 * unit, colour)
