"""Works that turn: a pendulum clock, gears."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    Colour,
    Painter,
    Size,
    Sprite,
    around,
    disc,
    drawn,
    ellipse,
    polygon,
    shape,
    stroke,
    window,
)
from pipelines.demo.textures import (
    contrast,
    dappled,
    fractal,
    gradient,
    grain,
    mixed,
    radial,
    ramp,
    rgb,
)


def clock(size: Size, rng: np.random.Generator) -> Painter:
    """A pendulum clock on a papered wall; the camera moves in and sways."""
    width, height = size
    unit = size.unit
    paper = _wallpaper(rng, width + round(260 * unit), height + round(200 * unit), unit)
    middle = (paper.shape[1] / 2, paper.shape[0] / 2)
    case = _clock_case(rng, unit)
    bob = drawn(60 * unit, 60 * unit, rgb("#d8a83a"), lambda big, s: _bob(big, s * unit))

    def paint(t: float) -> U8:
        zoom = 1.0 + 0.045 * t
        roll = 0.07 * math.sin(0.9 * t)
        pan, tilt = 46 * unit * math.sin(0.8 * t), 6 * unit * t
        frame = window(paper, size, middle[0] + pan, middle[1] + tilt, zoom=zoom, roll=roll)
        x, y = width / 2 - pan * zoom, height * 0.4 - tilt
        swing = 0.34 * math.sin(2 * math.pi * t / 1.6) + roll
        tip = around(x, y, 175 * unit * zoom, swing + math.pi / 2)
        stroke(frame, [(x, y), tip], rgb("#b8862a"), 5 * unit * zoom)
        bob.place(frame, *tip, zoom=zoom, roll=swing)
        case.place(frame, x, y, zoom=zoom, roll=roll)
        _hands(frame, x, y, unit * zoom, t, roll)
        return frame

    return paint


def _wallpaper(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    paper = gradient(width, height, [(0, "#2f5a50"), (1, "#2a4c48")])
    pitch = 54 * unit
    for row in range(round(height / pitch) + 2):
        for column in range(round(width / pitch) + 2):
            x, y = (column + 0.5 * (row % 2)) * pitch, row * pitch
            for k in range(6):
                angle = k * math.pi / 3
                petal = around(x, y, 11 * unit, angle)
                ellipse(paper, *petal, (9 * unit, 4 * unit), rgb("#7fae8c"), roll=angle)
            disc(paper, x, y, 5 * unit, rgb("#e6c66a"))
            stroke(paper, shape(x, y, unit, (0, 20), (5, 30), (0, 40)), rgb("#a9c49a"), 2 * unit)
    light = radial(width, height, width * 0.36, height * 0.3, height * 1.2, 1.2)
    return mixed(grain(rng, paper, 0.22), rgb("#fff0c8"), light * 0.28)


def _clock_case(rng: np.random.Generator, unit: float) -> Sprite:
    veins = contrast(fractal(rng, 128, 512, slope=1.2, largest=60, stretch=0.1), 1.8)
    wood = ramp(veins, [(0, "#3a1c10"), (0.5, "#7a4220"), (1, "#b87a42")])

    def draw(big: U8, scale: float) -> None:
        s = scale * unit
        x = y = 120 * s
        disc(big, x, y, 112 * s, rgb("#7a4220"))
        rim = big[..., 3] > 0
        big[rim, :3] = cv2.resize(wood, (big.shape[1], big.shape[0]))[rim]
        disc(big, x, y, 97 * s, rgb("#c9962e"))
        disc(big, x, y, 92 * s, rgb("#f7efdc"))
        _dial(big, x, y, s)

    return drawn(240 * unit, 240 * unit, rgb("#7a4220"), draw)


def _dial(big: U8, x: float, y: float, s: float) -> None:
    for k in range(60):
        inner, thick = (76, 4.0) if k % 5 == 0 else (84, 1.5)
        mark = [around(x, y, reach * s, k * math.pi / 30) for reach in (inner, 89)]
        stroke(big, mark, rgb("#2a2420"), thick * s)
    font, height, thickness = cv2.FONT_HERSHEY_DUPLEX, 0.62 * s, round(1.6 * s)
    for hour in range(1, 13):
        middle = around(x, y, 61 * s, (hour - 3) * math.pi / 6)
        (wide, tall), _ = cv2.getTextSize(str(hour), font, height, thickness)
        foot = (round(middle[0] - wide / 2), round(middle[1] + tall / 2))
        ink = (42, 36, 32, 255)
        cv2.putText(big, str(hour), foot, font, height, ink, thickness, cv2.LINE_AA)


def _bob(big: U8, s: float) -> None:
    disc(big, 30 * s, 30 * s, 26 * s, rgb("#b8862a"))
    disc(big, 30 * s, 30 * s, 21 * s, rgb("#e8bc4a"))
    disc(big, 23 * s, 23 * s, 8 * s, rgb("#fff0b8"))


def _hands(frame: U8, x: float, y: float, unit: float, t: float, roll: float) -> None:
    seconds = 6 * t  # time flies on this clock: a turn of the thin hand takes ten seconds
    for angle, length, thick, colour in (
        (0.9 + seconds * 0.009, 46, 6.0, "#1c1815"),
        (4.1 + seconds * math.pi / 360, 70, 4.0, "#1c1815"),
        (seconds * math.pi / 30, 82, 1.8, "#c0281c"),
    ):
        hand = shape(x, y, unit, (0, 12), (0, -length), roll=angle + roll)
        stroke(frame, hand, rgb(colour), thick * unit)
    disc(frame, x, y, 5 * unit, rgb("#c9962e"))


def gears(size: Size, rng: np.random.Generator) -> Painter:
    """Brass and steel wheels mesh and turn; the camera slides along the works."""
    width, height = size
    unit = size.unit
    wide, tall = width + round(420 * unit), height + round(160 * unit)
    plate = _works_plate(rng, wide, tall, unit)
    wheels = _meshed(rng, (130 * unit, 285 * unit), 7.4 * unit)

    def paint(t: float) -> U8:
        look = (width / 2 + 44 * unit * t, height / 2 + (60 + 26 * math.sin(0.6 * t)) * unit)
        frame = window(plate, size, *look)
        shift = (width / 2 - look[0], height / 2 - look[1])
        for x, y, _, _, wheel in wheels:
            cast = (x + shift[0] + 6 * unit, y + shift[1] + 8 * unit)
            disc(frame, *cast, wheel.width * 0.47, rgb("#1a1c20"))
        for x, y, phase, rate, wheel in wheels:
            wheel.place(frame, x + shift[0], y + shift[1], roll=phase + 15 * rate * t)
        return frame

    return paint


def _meshed(
    rng: np.random.Generator, start: tuple[float, float], module: float
) -> list[tuple[float, float, float, float, Sprite]]:
    """A chain of wheels that fit: middle, phase, turns against each other, and the picture."""
    wheels = []
    (x, y), phase, rate, before = start, 0.0, 1 / 20, 0
    for teeth, metal, heading in (
        (20, "#c8963a", 0.0), (13, "#8f9aa6", -0.8), (26, "#b5703a", 0.75), (12, "#c8963a", -0.75),
        (22, "#98a4ae", 0.8), (14, "#d0a850", -0.9), (24, "#8a6a4a", 0.6), (12, "#9aa6b2", -0.7),
    ):  # fmt: skip
        if before:
            reach = module * (before + teeth) / 2
            x, y = x + reach * math.cos(heading), y + reach * math.sin(heading)
            # Where the wheel before shows a tooth, this one must show a gap.
            cycle = (heading - phase) * before / (2 * math.pi)
            phase = heading + math.pi - (0.5 - cycle) * 2 * math.pi / teeth
            rate *= -before / teeth
        wheels.append((x, y, phase, rate, _gear(rng, teeth, module, metal)))
        before = teeth
    return wheels


def _works_plate(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    brushed = fractal(rng, width, height, slope=0.9, largest=70, stretch=6)
    rust = fractal(rng, width, height, slope=1.6, largest=150)
    plate = ramp(contrast(brushed, 1.2), [(0, "#2f3a44"), (0.6, "#55636e"), (1, "#8f9ca6")])
    plate = mixed(plate, rgb("#6a4a36"), np.clip((rust - 0.55) * 3, 0, 0.7))
    for x in range(0, width, round(70 * unit)):
        for y in range(0, height, round(70 * unit)):
            disc(plate, x + 1.5 * unit, y + 2 * unit, 5 * unit, rgb("#1f262c"))
            disc(plate, x, y, 5 * unit, rgb("#8a97a2"))
            disc(plate, x - 1.5 * unit, y - 1.5 * unit, 2 * unit, rgb("#c8d2da"))
    return plate


def _gear(rng: np.random.Generator, teeth: int, module: float, metal: str) -> Sprite:
    radius = module * teeth / 2
    side = 2 * (radius + module * 1.2) + 4
    base = rgb(metal)
    dark: Colour = (base[0] * 3 // 5, base[1] * 3 // 5, base[2] * 3 // 5)
    pale: Colour = (min(255, base[0] + 45), min(255, base[1] + 45), min(255, base[2] + 45))
    texture = fractal(rng, 256, 256, slope=1.1, largest=60)
    holes = 5 if teeth > 20 else 3

    def draw(big: U8, scale: float) -> None:
        x = y = big.shape[0] / 2
        r, m = radius * scale, module * scale
        outline = [
            around(x, y, r + reach * m, 2 * math.pi * (k + share) / teeth)
            for k in range(teeth)
            for share, reach in ((-0.27, -1.15), (-0.14, 1.0), (0.14, 1.0), (0.27, -1.15))
        ]
        polygon(big, outline, base)
        disc(big, x, y, r - 2.6 * m, dark)
        disc(big, x, y, r - 3.3 * m, pale)
        for k in range(holes):
            disc(big, *around(x, y, r * 0.46, 2 * math.pi * k / holes), r * 0.2, rgb("#23282e"))
        disc(big, x, y, r * 0.2, dark)
        disc(big, x, y, r * 0.12, pale)
        light = 0.7 + 0.6 * cv2.resize(texture, (big.shape[1], big.shape[0]))
        big[..., :3] = dappled(big[..., :3], np.asarray(light, np.float32))

    return drawn(side, side, base, draw)
