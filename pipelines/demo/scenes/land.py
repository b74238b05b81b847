"""Landscapes: mountains, dunes, an autumn wood."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    Painter,
    Size,
    Sprite,
    drawn,
    ellipse,
    over,
    shape,
    stroke,
    window,
)
from pipelines.demo.scenes.extras import birds, firs
from pipelines.demo.textures import (
    Stops,
    below,
    cloudy,
    contrast,
    fractal,
    layer,
    lit,
    mixed,
    radial,
    ramp,
    rgb,
    ridge,
    ridged,
)


def mountains(size: Size, rng: np.random.Generator) -> Painter:
    """Snowy ranges behind each other at sunset; the camera pans right, birds cross."""
    width, height = size
    unit = size.unit
    wide = width + round(560 * unit)
    sky = cloudy(
        rng, wide, height,
        [(0.0, "#2f4d86"), (0.3, "#7d7fb0"), (0.5, "#f2a56b"), (0.62, "#ffd79a"), (1.0, "#ffe3b8")],
        cloud="#ffd9b0", shade="#8d6f8f", cover=0.42,
    )  # fmt: skip
    sun = radial(wide, height, width * 0.75, height * 0.5, height * 0.8, 3.0)
    sky = mixed(sky, rgb("#fff3cf"), sun * 0.9)
    ranges = [
        _range(rng, wide, height, 0.62, 0.38, "#7a7394", snow=0.9, haze=0.62),
        _range(rng, wide, height, 0.74, 0.30, "#54607f", snow=0.55, haze=0.35),
        _range(rng, wide, height, 0.88, 0.22, "#31473f", snow=0.0, haze=0.1),
        firs(rng, wide, height),
    ]

    def paint(t: float) -> U8:
        frame = window(sky, size, width / 2 + 12 * unit * t, height / 2)
        for plate, speed in zip(ranges, (24, 38, 56, 84), strict=True):
            frame = over(frame, window(plate, size, width / 2 + speed * unit * t, height / 2))
        birds(frame, t, unit, (width * 0.9 - 60 * unit * t, height * 0.28))
        return frame

    return paint


def _range(
    rng: np.random.Generator,
    width: int,
    height: int,
    base: float,
    rise: float,
    rock: str,
    *,
    snow: float,
    haze: float,
) -> U8:
    profile = ridge(rng, width, base * height, rise * height, slope=1.35)
    depth, mask = below(profile, height)
    relief = ridged(fractal(rng, width, height, slope=1.7, largest=height * 0.35, stretch=0.7))
    fine = fractal(rng, width, height, slope=1.3, largest=60)
    stops: Stops = [(0.0, "#f4f6ff"), (0.3, "#e3e6f4"), (0.42, rock), (1.0, "#2b3a33")]
    snowline = depth / height * 2.6 + (1.0 - snow) * 0.5 + (relief - 0.5) * 0.5 + (fine - 0.5) * 0.4
    picture = lit(ramp(np.clip(snowline, 0, 1), stops), relief + 0.25 * fine, 0.26, 0.5)
    return layer(mixed(picture, rgb("#d9b3a0"), np.full_like(mask, haze)), mask)


def dunes(size: Size, rng: np.random.Generator) -> Painter:
    """Rippled dunes under a low sun; a caravan walks while the camera follows it."""
    width, height = size
    unit = size.unit
    wide = width + round(660 * unit)
    sky = cloudy(rng, wide, height, [(0, "#3f7fc0"), (0.5, "#a8cbe0"), (1, "#f7e3b5")], cover=0.3)
    far, middle, near = (
        _dune(rng, wide, height, span, colour, ripple)
        for span, colour, ripple in (
            ((0.56, 0.16), "#dba868", 5.0),
            ((0.76, 0.22), "#e2a45a", 8.0),
            ((1.0, 0.24), "#c98542", 13.0),
        )
    )
    camels = [_camel(unit, shade) for shade in ("#4a2c1c", "#5a3520", "#3d2417")]

    def paint(t: float) -> U8:
        frame = window(sky, size, width / 2 + 14 * unit * t, height / 2)
        frame = over(frame, window(far, size, width / 2 + 30 * unit * t, height / 2))
        frame = over(frame, window(middle, size, width / 2 + 62 * unit * t, height / 2))
        for k in range(6):
            step = 6 * t + 1.7 * k
            x = width * 0.2 + k * 66 * unit + 13 * unit * t
            y = height * 0.67 - 8 * unit * math.sin(x / (90 * unit)) + 1.5 * unit * math.sin(step)
            _legs(frame, x, y, unit, step)
            camels[k % 3].place(frame, x, y, roll=0.03 * math.sin(step))
        return over(frame, window(near, size, width / 2 + 104 * unit * t, height / 2))

    return paint


def _dune(
    rng: np.random.Generator,
    width: int,
    height: int,
    span: tuple[float, float],
    colour: str,
    coarse: float,
) -> U8:
    profile = ridge(rng, width, span[0] * height, span[1] * height, slope=2.0)
    depth, mask = below(profile, height)
    warp = fractal(rng, width, height, slope=2.2, largest=height * 0.6, stretch=1.8)
    phase = (depth * 0.7 + warp * height * 0.9) * (2 * math.pi / coarse)
    ripple = np.sin(phase + 0.8 * np.sin(phase)).astype(np.float32)
    fine = fractal(rng, width, height, slope=1.0, largest=30)
    shades: Stops = [(0, "#6b3a22"), (0.4, colour), (0.7, colour), (1, "#f7cf8e")]
    crest = np.asarray(0.6 * np.clip(1 - depth / (14 * height / 360), 0, 1), np.float32)
    light = mixed(ramp(contrast(warp, 1.3), shades), rgb("#ffe2ac"), crest)
    relief = ripple * np.clip(warp * 2 - 0.4, 0, 1) + 0.8 * fine
    return layer(lit(light, np.asarray(relief, np.float32), 0.13, 0.9), mask)


def _camel(unit: float, shade: str) -> Sprite:
    colour = rgb(shade)

    def draw(big: U8, scale: float) -> None:
        s = scale * unit
        ellipse(big, 26 * s, 26 * s, (15 * s, 8 * s), colour)
        ellipse(big, 21 * s, 19 * s, (6 * s, 7 * s), colour)
        ellipse(big, 31 * s, 19 * s, (6 * s, 7 * s), colour)
        stroke(big, shape(0, 0, s, (39, 26), (46, 24), (48, 10)), colour, 5 * s)
        ellipse(big, 51 * s, 9 * s, (6 * s, 3 * s), colour)
        ellipse(big, 26 * s, 17 * s, (6 * s, 7 * s), rgb("#b6312c"))

    return drawn(60 * unit, 40 * unit, colour, draw)


def _legs(frame: U8, x: float, y: float, unit: float, step: float) -> None:
    for k, root in enumerate((-14, -10, 4, 8)):
        swing = 5 * math.sin(step + k * math.pi * 0.6)
        leg = ((root, 6), (root + swing * 0.4, 16), (root + swing, 26))
        stroke(frame, shape(x, y, unit, *leg), rgb("#3d2417"), 2.4 * unit)


def wood(size: Size, rng: np.random.Generator) -> Painter:
    """An autumn wood: the camera tracks sideways past trunks, leaves fall."""
    width, height = size
    unit = size.unit
    wide = width + round(520 * unit)
    far = _foliage(rng, wide, height)
    rows = [_trunks(rng, wide, height, *row) for row in (
        (20, 0.022, "#a07c58", 0.78), (11, 0.04, "#735440", 0.86), (4, 0.075, "#4a3628", 1.02),
    )]  # fmt: skip
    rows.insert(2, _canopy(rng, wide, height))
    leaves = rng.uniform(0, 1, (46, 5))
    inks = [rgb(c) for c in ("#e8a02c", "#d1571f", "#f3c94a", "#a93a1c")]

    def paint(t: float) -> U8:
        frame = window(far, size, width / 2 + 12 * unit * t, height / 2)
        for plate, speed in zip(rows, (22, 38, 50, 68), strict=True):
            frame = over(frame, window(plate, size, width / 2 + speed * unit * t, height / 2))
        for k, (x, y, fall, sway, big) in enumerate(leaves):
            turn = 3 * t * (0.5 + sway) + 6 * x
            drift = (x * 1.3 - 0.1 * t * (0.4 + big)) % 1.3 - 0.15
            left = drift * width + 22 * unit * math.sin(turn)
            down = ((y + (0.1 + 0.14 * fall) * t) % 1.1 - 0.05) * height
            radii = ((2.5 + 4 * big) * unit, (1.5 + 2.5 * big) * unit * (0.4 + abs(math.sin(turn))))
            ellipse(frame, left, down, radii, inks[k % 4], roll=turn)
        return frame

    return paint


def _foliage(rng: np.random.Generator, width: int, height: int) -> U8:
    leaf = fractal(rng, width, height, slope=1.1, largest=60)
    tone = fractal(rng, width, height, slope=1.9, largest=220)
    picture = ramp(contrast(0.55 * leaf + 0.45 * tone, 1.9), [
        (0, "#5c5a22"), (0.3, "#a8661f"), (0.55, "#dc8f2c"), (0.8, "#f0bd4c"), (1, "#fff0b8"),
    ])  # fmt: skip
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.2 * height / 360), np.uint8)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    floor = ramp(contrast(fractal(rng, width, height, slope=1.2, largest=50, stretch=2), 1.4), [
        (0, "#1e120c"), (0.5, "#5e3014"), (0.8, "#a05a20"), (1, "#d09a48"),
    ])  # fmt: skip
    light = radial(width, height, width * 0.4, height * 0.2, height * 1.1, 1.6)
    picture = mixed(picture, floor, np.repeat(np.clip((rows - 0.72) * 14, 0, 1), width, axis=1))
    return mixed(picture, rgb("#fff2c4"), light * 0.45)


def _canopy(rng: np.random.Generator, width: int, height: int) -> U8:
    """Dark leaves hanging in from above: [height, width, 4]."""
    leaf = fractal(rng, width, height, slope=1.3, largest=50)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    colour = ramp(
        contrast(leaf, 1.4), [(0, "#1c120a"), (0.5, "#54280f"), (0.85, "#a8541c"), (1, "#e0a040")]
    )
    return layer(colour, np.clip((0.34 - rows + 0.5 * (leaf - 0.5)) * 14, 0, 1))


def _trunks(
    rng: np.random.Generator,
    width: int,
    height: int,
    count: int,
    girth: float,
    bark: str,
    foot: float,
) -> U8:
    places = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count * width
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    alpha = np.zeros((height, width), np.float32)
    across = np.zeros((height, width), np.float32)
    for place in places:
        half = girth * height * rng.uniform(0.7, 1.3) * (0.8 + 0.35 * (rows / height) ** 3)
        middle = place + rng.uniform(-0.12, 0.12) * (rows - height * 0.5)
        offset = (columns - middle) / half
        inside = np.clip((1 - np.abs(offset)) * half + 0.5, 0, 1)
        inside *= np.clip(foot * height + rng.uniform(-0.03, 0.03) * height - rows, 0, 1)
        across = np.where(inside > alpha, offset, across)
        alpha = np.maximum(alpha, inside)
    texture = fractal(rng, width, height, slope=1.25, largest=60, stretch=0.22)
    picture = ramp(contrast(texture, 1.1), [(0, "#1c130e"), (0.5, bark), (1, "#c8a880")])
    rounding = np.clip(1.05 - 0.75 * np.abs(across + 0.35), 0.25, 1.1)[..., None]
    return layer(np.clip(picture * rounding, 0, 255).astype(np.uint8), alpha)
