"""On the table and on the floor: rolling balls, a still life."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    around,
    box,
    disc,
    ellipse,
    figure,
    over,
    shape,
    stroke,
    window,
)
from pipelines.demo.globe import Globe
from pipelines.demo.ground import Ground
from pipelines.demo.textures import (
    contrast,
    fractal,
    gradient,
    grain,
    layer,
    lit,
    mixed,
    radial,
    ramp,
    rgb,
    ridged,
)

_LAMP = (-0.5, -0.75, 0.62)
_BALLS = (
    (("#e8432e", "#ffe9c8", 6), (0.2, 1.9, 38, 0.9)),
    (("#2f6fd0", "#ffd23f", 4), (0.46, 2.6, 34, -0.7)),
    (("#35a860", "#f6fff0", 8), (0.78, 1.6, 52, 0.6)),
    (("#9a4fc0", "#ffb0d8", 5), (0.62, 3.2, 26, -1.1)),
    (("#f09a2a", "#3a2418", 3), (0.32, 1.35, 60, 0.5)),
)
"""Colours and number of stripes; then place across, depth, radius and pace."""
_BLOSSOMS = ("#f25a7a", "#ffd24a", "#f4f0ff", "#b05ad0", "#ff8a3a", "#f25a7a", "#ffe27a")


def balls(size: Size, rng: np.random.Generator) -> Painter:
    """Painted balls roll and bounce over a tiled floor that glides past."""
    width, height = size
    unit = size.unit
    floor = Ground(_tiles(rng), size, height * 0.34, texels=150, focal=0.9)
    wall = _striped_wall(rng, width + round(200 * unit), height, unit)
    haze = np.clip(1.15 - np.arange(height - floor.top) / (60 * unit), 0, 0.9).astype(np.float32)
    globes = [
        Globe(_ball_skin(rng, *look), radius * unit, light=_LAMP, ambient=0.3, gloss=0.8)
        for look, (_, _, radius, _) in _BALLS
    ]
    far_to_near = sorted(range(len(_BALLS)), key=lambda k: -_BALLS[k][1][1])

    def paint(t: float) -> U8:
        frame = window(wall, size, width / 2 + (40 + 26 * t) * unit, height / 2)
        frame[floor.top :] = mixed(floor.view(0.25 * t, 0.22 * t), rgb("#7ab0c0"), haze[:, None])
        for k in far_to_near:
            place, depth, radius, pace = _BALLS[k][1]
            side = 2 * ((place + 0.085 * pace * t) % 1.0) - 1
            x, foot = width / 2 + side * width * 0.62, floor.project(0, 0, depth)[1]
            hop = abs(math.sin(2.2 * t * (1.2 - 0.1 * k) + k)) * 74 * unit if k % 2 else 0.0
            _shadow(frame, x, foot, radius * unit, hop)
            y = foot - radius * unit - hop
            globes[k].place(frame, x, y, 2.4 * pace * t, tilt=0.25 * k, pitch=0.5 * t)
        return frame

    return paint


def _striped_wall(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    wall = gradient(width, height, [(0, "#2a4a6a"), (0.3, "#7ab0c0"), (1, "#7ab0c0")])
    wall = grain(rng, wall, 0.15)
    for x in range(0, width, round(48 * unit)):
        box(wall, x, 0, 22 * unit, height, rgb("#5a94ac"))
    return grain(rng, wall, 0.1)


def _shadow(frame: U8, x: float, foot: float, radius: float, height: float) -> None:
    near = 1 / (1 + height / (2.25 * radius))
    reach = (radius * (1.25 - 0.4 * near), radius * 0.3)
    left, top = max(0, int(x - 2 * radius)), max(0, int(foot - radius))
    region = frame[top : max(0, int(foot + radius)), left : max(0, int(x + 2 * radius))]
    if region.size == 0:
        return
    veil = np.zeros((*region.shape[:2], 4), np.uint8)
    ellipse(veil, x - left + radius * 0.25, foot - top, reach, (8, 8, 16))
    veil[..., 3] = cv2.blur(veil[..., 3], (9, 5)) * (0.25 + 0.4 * near)
    veil[..., :3] = (8, 8, 16)
    region[:] = over(np.ascontiguousarray(region), veil)


def _tiles(rng: np.random.Generator) -> U8:
    """A floor tile 256 x 256 of two by two marble slabs."""
    veins = ridged(fractal(rng, 256, 256, slope=1.7, largest=90))
    pale = ramp(veins, [(0, "#cfc4b0"), (0.85, "#e2d8c6"), (1, "#c0b09a")])
    dark = ramp(veins, [(0, "#4a3f50"), (0.85, "#5c4a56"), (1, "#8a7472")])
    rows, columns = np.mgrid[0:256, 0:256]
    picture = mixed(pale, dark, ((rows // 128 + columns // 128) % 2).astype(np.float32))
    picture[(rows % 128 < 2) | (columns % 128 < 2)] = rgb("#7a6f66")
    return picture


def _ball_skin(rng: np.random.Generator, first: str, second: str, stripes: int) -> U8:
    rows, columns = np.mgrid[0:256, 0:512].astype(np.float32)
    band = np.sin(columns * (2 * math.pi * stripes / 512)) > 0
    cap = np.abs(rows - 128) > 96
    picture = np.where((band ^ cap)[..., None], np.asarray(rgb(first)), np.asarray(rgb(second)))
    return layer(grain(rng, picture.astype(np.uint8), 0.1), np.ones((256, 512), np.float32))


def still_life(size: Size, rng: np.random.Generator) -> Painter:
    """Fruit and a vase of flowers on a table; nothing moves."""
    width, height = size
    unit = size.unit
    plaster = fractal(rng, width, height, slope=1.3, largest=90)
    picture = lit(ramp(contrast(plaster, 1.3), [(0, "#4f6a72"), (1, "#8fa8a4")]), plaster, 0.1)
    lamp = radial(width, height, width * 0.25, 0, height * 1.3, 1.3)
    picture = mixed(picture, rgb("#fff0d0"), lamp * 0.5)
    weave = fractal(rng, width, height, slope=0.9, largest=50, stretch=3)
    table = ramp(contrast(weave, 1.4), [(0, "#4a2414"), (0.5, "#8a5230"), (1, "#c08a58")])
    edge = round(height * 0.66)
    picture[edge:] = lit(table, weave, 0.12)[edge:]
    for x, y, radius, fruit in (
        (0.44, 0.70, 40, "#d83a2a"), (0.57, 0.73, 36, "#f0a02a"), (0.36, 0.77, 33, "#8ab83a"),
        (0.50, 0.80, 38, "#e0602a"), (0.66, 0.80, 30, "#7a2a5a"),
    ):  # fmt: skip
        _shadow(picture, x * width, y * height + radius * 0.9 * unit, radius * unit, 0)
        _fruit(rng, fruit, radius * unit).place(picture, x * width, y * height, 0.0, tilt=0.4)
    _vase(rng, picture, width * 0.2, height * 0.82, unit)
    return lambda _t: picture.copy()


def _fruit(rng: np.random.Generator, colour: str, radius: float) -> Globe:
    bloom = contrast(fractal(rng, 256, 128, slope=1.2, largest=60), 0.9)
    peel = grain(rng, ramp(bloom, [(0.2, colour), (0.75, colour), (1, "#ffe0a0")]), 0.1)
    skin = layer(peel, np.ones((128, 256), np.float32))
    return Globe(skin, radius, light=_LAMP, ambient=0.25, gloss=0.7)


def _vase(rng: np.random.Generator, frame: U8, x: float, foot: float, unit: float) -> None:
    top = foot - 118 * unit
    for k, colour in enumerate(_BLOSSOMS):
        head = around(x, top, (88 + 22 * (k % 3)) * unit, -math.pi / 2 + (k - 3) * 0.24)
        stroke(frame, [(x, top + 12 * unit), head], rgb("#3a7a34"), 3 * unit)
        for petal in range(9):
            turn = petal * 2 * math.pi / 9 + k
            tip = around(*head, 12 * unit, turn)
            ellipse(frame, *tip, (11 * unit, 5 * unit), rgb(colour), roll=turn)
        disc(frame, *head, 7 * unit, rgb("#7a4a1a"))
    right = [(18, 0), (34, -40), (30, -76), (14, -104), (20, -118)]
    left = [(-a, b) for a, b in reversed(right)]
    figure(frame, x, foot, unit, rgb("#2f5fa8"), *right, *left)
    figure(frame, x, foot, unit, rgb("#24488a"), *right[:4], (12, -104), (6, 0))
    for row in (-28, -58, -84):
        wave = [(d, row + 3 * math.sin(d)) for d in range(-26, 27, 3)]
        stroke(frame, shape(x, foot, unit, *wave), rgb("#e8f0ff"), 2 * unit)
    for across, down in rng.uniform(-1, 1, (30, 2)):
        dot = shape(x, foot, unit, (22 * across, -50 - 34 * down))[0]
        disc(frame, *dot, unit, rgb("#a8c8f0"))
