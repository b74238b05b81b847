"""Farmland: fields from above, a country road, windmills."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    Sprite,
    disc,
    drawn,
    ellipse,
    figure,
    over,
    shape,
    stroke,
    window,
)
from pipelines.demo.ground import Ground
from pipelines.demo.textures import (
    below,
    cloudy,
    contrast,
    fractal,
    gradient,
    grain,
    layer,
    lit,
    mixed,
    ramp,
    rgb,
    ridge,
)

_CROPS = (
    "#7fa646", "#c7b458", "#5d8a3a", "#e0cf7a", "#94703f", "#a9c25a", "#3f6b35", "#d8a94a",
)  # fmt: skip


def fields(size: Size, rng: np.random.Generator) -> Painter:
    """A patchwork of fields from above; the camera flies and turns, cloud shadows pass."""
    unit = size.unit
    side = round(1150 * unit)
    land = _patchwork(rng, side, unit)
    cloud = np.clip((fractal(rng, side, side, slope=1.9, largest=side / 4) - 0.55) * 7, 0, 1)
    shadow = layer(np.zeros((side, side, 3), np.uint8), (cloud * 0.42).astype(np.float32))

    def paint(t: float) -> U8:
        angle = 0.35 + 0.09 * t
        x, y = side * 0.36 + 44 * unit * t, side * 0.36 + 30 * unit * t
        zoom = 1.12 - 0.02 * t
        frame = window(land, size, x, y, zoom=zoom, roll=angle)
        veil = window(shadow, size, x - 75 * unit * t + side * 0.2, y, zoom=zoom, roll=angle)
        return over(frame, veil)

    return paint


def _patchwork(rng: np.random.Generator, side: int, unit: float) -> U8:
    """Fields of many crops, each with its own furrows: [side, side, 3]."""
    seeds = np.full((side, side), 255, np.uint8)
    seeds[rng.integers(0, side, 64), rng.integers(0, side, 64)] = 0
    _, cells = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L1, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    soil = fractal(rng, side, side, slope=0.9, largest=70)
    picture = np.zeros((side, side, 3), np.float32)
    for label in np.unique(cells):
        cell = cells == label
        angle, pitch = rng.uniform(0, math.pi), rng.uniform(5, 10) * unit
        across = columns[cell] * math.cos(angle) + rows[cell] * math.sin(angle)
        light = 0.86 + 0.13 * np.sin(across * (2 * math.pi / pitch)) + 0.7 * (soil[cell] - 0.5)
        picture[cell] = np.asarray(rgb(_CROPS[rng.integers(len(_CROPS))])) * light[:, None]
    labels, reach = np.asarray(cells, np.float32), np.ones((3, 3), np.uint8)
    hedge = cv2.dilate(labels, reach) > cv2.erode(labels, reach)
    green = cv2.GaussianBlur(hedge.astype(np.float32), (0, 0), 1.3 * unit) * 2.2
    land = np.clip(picture, 0, 255).astype(np.uint8)
    land = mixed(land, rgb("#27451f"), np.asarray(np.clip(green, 0, 1), np.float32))
    _lanes(land, side, unit)
    _hedge_trees(rng, land, hedge, unit)
    return land


def _lanes(land: U8, side: int, unit: float) -> None:
    run = np.linspace(0, 1, 40)
    for k in range(2):
        down = 0.3 + 0.35 * k + 0.12 * np.sin(5 * run + 2 * k)
        stroke(land, np.stack([run, down], axis=1) * side, rgb("#efe6cf"), 7 * unit)


def _hedge_trees(
    rng: np.random.Generator, land: U8, hedge: npt.NDArray[np.bool_], unit: float
) -> None:
    rows, columns = np.nonzero(hedge)
    for pick in rng.integers(0, len(rows), 240):
        x, y, radius = float(columns[pick]), float(rows[pick]), rng.uniform(3, 7) * unit
        disc(land, x + radius * 0.8, y + radius * 0.8, radius, rgb("#1f3318"))
        disc(land, x, y, radius, rgb("#2f6127"))
        disc(land, x - radius * 0.3, y - radius * 0.3, radius * 0.5, rgb("#6f9f48"))


def road(size: Size, rng: np.random.Generator) -> Painter:
    """Driving along a winding road between trees, towards hills."""
    width, height = size
    unit = size.unit
    horizon = height * 0.46
    ground = Ground(_lane_texture(rng), size, horizon, texels=64, focal=0.8, bend=0.004)
    wide = width + round(300 * unit)
    sky = cloudy(rng, wide, height, [(0, "#2d78c4"), (0.45, "#b4dcf2"), (1, "#e8f3f7")], cover=0.55)
    _, mask = below(ridge(rng, wide, horizon + 6 * unit, 52 * unit), height)
    woods = fractal(rng, wide, height, slope=1.3, largest=50)
    slopes = lit(ramp(contrast(woods, 1.3), [(0, "#3a5a4c"), (1, "#9fbf8a")]), woods, 0.2)
    hills = layer(slopes, mask)
    trees = [_tree(rng, unit, leaf) for leaf in ("#3f7d2c", "#5b9434", "#2f6a35")]
    spots = np.sort(rng.uniform(0, 60, 44))
    sides = np.where(rng.random(44) < 0.5, -1, 1) * rng.uniform(2.6, 7.0, 44)
    haze = np.clip(ground.depth / 60, 0, 0.75).astype(np.float32)[:, None]

    def paint(t: float) -> U8:
        frame = over(
            window(sky, size, width / 2 + 16 * unit * t, height / 2),
            window(hills, size, width / 2 + 20 * unit * t, height / 2),
        )
        travelled = 6.5 * t
        frame[ground.top :] = mixed(ground.view(travelled), rgb("#c3d6d2"), haze)
        ahead = (spots - travelled) % 60 + 0.7
        for k in np.argsort(-ahead):  # far ones first
            x, foot, pixels = ground.project(float(sides[k]), 0.0, float(ahead[k]))
            tree = trees[k % 3]
            zoom = pixels * 2.6 / tree.height
            tree.place(frame, x, foot - tree.height * zoom * 0.48, zoom=zoom)
        return frame

    return paint


def _lane_texture(rng: np.random.Generator) -> U8:
    """A tile 1024 x 256: grass, and in its middle a road with a dashed line."""
    width, height = 1024, 256
    grass = ramp(contrast(fractal(rng, width, height, slope=0.8, largest=60), 1.5), [
        (0, "#2c4f1e"), (0.5, "#5f8f35"), (0.8, "#8fb04c"), (1, "#d3cf7a"),
    ])  # fmt: skip
    tar = grain(rng, gradient(width, height, [(0, "#5a5c62"), (1, "#5a5c62")]), 0.25)
    offset = np.abs(np.arange(width, dtype=np.float32) - width / 2)[None, :]
    picture = mixed(grass, tar, np.repeat(np.clip(100 - offset, 0, 1), height, axis=0))
    edge = np.repeat(np.clip(3 - np.abs(offset - 92), 0, 1), height, axis=0)
    dash = np.clip(3 - offset, 0, 1) * (np.arange(height)[:, None] < height // 2)
    white = np.maximum(edge, dash).astype(np.float32)
    # The camera drives over the middle of the tile, and column 0 of a ground lies below it.
    return np.roll(mixed(picture, rgb("#f4f1e4"), white), width // 2, axis=1)


def _tree(rng: np.random.Generator, unit: float, leaf: str) -> Sprite:
    side = 200 * unit
    tufts = rng.normal(0, 1, (70, 3))
    tufts = tufts[np.argsort(-tufts[:, 1])]
    red, green, blue = rgb(leaf)

    def draw(big: U8, scale: float) -> None:
        s = side * scale
        trunk = ((0.46, 0.97), (0.54, 0.97), (0.52, 0.5), (0.48, 0.5))
        figure(big, 0, 0, s, rgb("#4b3524"), *trunk)
        for x, y, tone in tufts:
            light = min(max(0.85 - 0.16 * y + 0.12 * tone, 0.3), 1.6)
            colour = (int(red * light), int(green * light), int(blue * light))
            middle = ((0.5 + 0.15 * x) * s, (0.36 + 0.13 * y) * s)
            ellipse(big, *middle, (0.085 * s, 0.075 * s), colour)

    return drawn(side, side, (45, 80, 35), draw)


def windmills(size: Size, rng: np.random.Generator) -> Painter:
    """Windmills turn over a field of poppies; the camera slides past them."""
    width, height = size
    unit = size.unit
    wide = width + round(640 * unit)
    sky = cloudy(rng, wide, height, [(0, "#3a86d0"), (0.6, "#bfe2f5"), (1, "#f5f1dc")], cover=0.62)
    hill = _meadow(rng, wide, height, (0.7, 0.1), ("#41702c", "#7fae3e", "#cfd872"), 0)
    near = _meadow(rng, wide, height, (0.86, 0.08), ("#2c5a22", "#5f9a34", "#a8c755"), 420)
    mills = [
        (0.25, 0.40, 1.0, 1.1),
        (0.72, 0.44, 0.7, -1.4),
        (1.15, 0.39, 0.95, 0.9),
        (1.5, 0.43, 0.75, 1.2),
    ]

    def paint(t: float) -> U8:
        frame = window(sky, size, width / 2 + 30 * unit * t, height / 2)
        frame = over(frame, window(hill, size, width / 2 + 44 * unit * t, height / 2))
        for x, y, big, spin in mills:
            _mill(frame, x * width - 52 * unit * t, y * height, big * unit, spin * t + x)
        return over(frame, window(near, size, width / 2 + 90 * unit * t, height / 2))

    return paint


def _meadow(
    rng: np.random.Generator,
    width: int,
    height: int,
    span: tuple[float, float],
    colours: tuple[str, str, str],
    poppies: int,
) -> U8:
    profile = ridge(rng, width, span[0] * height, span[1] * height, slope=1.9)
    _, mask = below(profile, height)
    blades = fractal(rng, width, height, slope=0.75, largest=60, stretch=0.5)
    picture = ramp(contrast(blades, 1.4), [(0, colours[0]), (0.55, colours[1]), (1, colours[2])])
    for x, y, r in rng.uniform(0, 1, (poppies, 3)):
        row = span[0] * height + y**1.5 * (1 - span[0]) * height
        radius = (1.2 + 3.4 * y + r) * height / 360
        ellipse(picture, x * width, row, (radius, radius * 0.8), rgb("#d92b22"))
        ellipse(picture, x * width - 1, row - 1, (radius * 0.5, radius * 0.4), rgb("#ff6a4d"))
    return layer(picture, mask)


def _mill(frame: U8, x: float, y: float, unit: float, angle: float) -> None:
    for colour, corners in (
        ("#efe4cf", ((-16, 0), (16, 0), (30, 140), (-30, 140))),
        ("#b9a78a", ((2, 0), (16, 0), (30, 140), (5, 140))),
        ("#7a3b2a", ((-19, 1), (19, 1), (0, -27))),
    ):
        figure(frame, x, y, unit, rgb(colour), *corners)
    for row in (45, 90):
        ellipse(frame, x - 4 * unit, y + row * unit, (5 * unit, 7 * unit), rgb("#4d5a68"))
    for k in range(4):
        _sail(frame, x, y - 4 * unit, unit, angle + k * math.pi / 2)
    disc(frame, x, y - 4 * unit, 4 * unit, rgb("#3b2a20"))


def _sail(frame: U8, x: float, y: float, unit: float, angle: float) -> None:
    cloth = ((18, 0), (92, 0), (92, 17), (18, 13))
    figure(frame, x, y, unit, rgb("#fff7e6"), *cloth, roll=angle)
    for r in range(18, 93, 12):
        stroke(frame, shape(x, y, unit, (r, 0), (r, 16), roll=angle), rgb("#8a6a4a"), unit)
    stroke(frame, shape(x, y, unit, (0, 0), (94, 0), roll=angle), rgb("#5a4030"), 2.4 * unit)
