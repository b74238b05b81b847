"""The sky and beyond: a planet, the northern lights, balloons, fireworks."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.demo.canvas import (
    U8,
    Colour,
    Painter,
    Size,
    Sprite,
    add_light,
    box,
    disc,
    drawn,
    ellipse,
    glow,
    over,
    shape,
    stroke,
    window,
)
from pipelines.demo.globe import Globe
from pipelines.demo.scenes.extras import birds, firs
from pipelines.demo.textures import (
    Stops,
    below,
    cloudy,
    contrast,
    fractal,
    gradient,
    layer,
    lit,
    mixed,
    ramp,
    rgb,
    ridge,
)

_GLOW_SECONDS = 2.2
_BALLOONS = (
    (("#e8402c", "#ffd24a"), 0.40, (0.30, 0.62, 58)),
    (("#2a6ac4", "#f4f4f0"), 0.34, (0.78, 0.50, 44)),
    (("#8a3fa8", "#ff9a4a"), 0.24, (0.55, 0.30, 30)),
    (("#1f9a6a", "#f7e04a"), 0.28, (0.16, 0.22, 34)),
    (("#f27a9a", "#fff0f4"), 0.62, (0.70, 0.95, 70)),
    (("#f2a52c", "#b8322c"), 0.88, (0.36, 1.25, 92)),
)
"""Colours and size; then place across and height at the start (shares of the frame), and speed."""


def planet(size: Size, rng: np.random.Generator) -> Painter:
    """A world turns before a nebula; its moon passes in front of it, the camera drifts."""
    width, height = size
    unit = size.unit
    wide = width + round(440 * unit)
    space = _nebula(rng, wide, height + round(60 * unit), unit)
    world, air, moon = (
        Globe(skin, radius * unit, light=(-0.62, -0.38, 0.68))
        for skin, radius in ((_continents(rng), 128), (_weather(rng), 130), (_craters(rng), 24))
    )
    haze = glow(215 * unit, (50, 90, 150), 2.6)

    def paint(t: float) -> U8:
        frame = window(space, size, width / 2 + 40 * unit * t, height / 2 + (20 + 5 * t) * unit)
        x, y = width * 0.56 - 9 * unit * t, height * 0.52
        phase = 2.6 - 0.5 * t
        moon_at = (x + 265 * unit * math.cos(phase), y + 60 * unit * math.sin(phase))
        add_light(frame, haze, x, y)
        if math.sin(phase) < 0:  # behind the world
            moon.place(frame, *moon_at, 0.4 * t)
        world.place(frame, x, y, 0.34 * t, tilt=0.35)
        air.place(frame, x, y, 0.44 * t, tilt=0.35)
        if math.sin(phase) >= 0:
            moon.place(frame, *moon_at, 0.4 * t)
        return frame

    return paint


def _nebula(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    gas = contrast(fractal(rng, width, height, slope=1.6, largest=height * 0.7), 1.6)
    hue = contrast(fractal(rng, width, height, slope=1.9, largest=height * 0.7), 3.0)
    red = ramp(gas, [(0, "#140a2a"), (0.5, "#4a1f5e"), (0.8, "#c04a7a"), (1, "#ffc890")])
    blue = ramp(gas, [(0, "#0a1030"), (0.5, "#1f3f7a"), (0.8, "#3f9ac0"), (1, "#d0fff0")])
    sky = mixed(red, blue, hue)
    for x, y, big in rng.uniform(0, 1, (420, 3)):
        disc(sky, x * width, y * height, (0.5 + 1.3 * big**4) * unit, rgb("#fff8ec"))
    return sky


def _continents(rng: np.random.Generator) -> U8:
    land = fractal(rng, 1024, 512, slope=1.55, largest=260)
    ground = ramp(contrast(land, 1.5), [
        (0, "#0a2f6a"), (0.5, "#1f6aa8"), (0.53, "#d8c88a"), (0.58, "#5f9a3c"), (0.8, "#a08a54"),
        (0.97, "#f4f4f4"), (1, "#ffffff"),
    ])  # fmt: skip
    polar = np.abs(np.linspace(-1, 1, 512, dtype=np.float32))[:, None] + 0.35 * (land - 0.5)
    ground = mixed(ground, rgb("#f4f8ff"), np.clip((polar - 0.84) * 14, 0, 1))
    return layer(lit(ground, land, 0.12), np.ones_like(land))


def _weather(rng: np.random.Generator) -> U8:
    cloud = fractal(rng, 1024, 512, slope=1.5, largest=160, stretch=1.8)
    return layer(np.full((512, 1024, 3), 250, np.uint8), np.clip((cloud - 0.6) * 5, 0, 0.9))


def _craters(rng: np.random.Generator) -> U8:
    dust = ramp(contrast(fractal(rng, 512, 256, slope=1.2), 1.4), [(0, "#5a5550"), (1, "#d8d0c4")])
    for x, y, big in rng.uniform(0, 1, (60, 3)):
        ellipse(dust, x * 512, y * 256, (3 + 12 * big, 3 + 9 * big), rgb("#6a645c"))
        ellipse(dust, x * 512 + 2, y * 256 + 2, (2 + 10 * big, 2 + 7 * big), rgb("#a8a094"))
    return layer(dust, np.ones((256, 512), np.float32))


def aurora(size: Size, rng: np.random.Generator) -> Painter:
    """Northern lights ripple over snowy mountains and a lake; the camera pans."""
    width, height = size
    unit = size.unit
    wide = width + round(340 * unit)
    shore = round(height * 0.74)
    night: Stops = [(0, "#101a3e"), (0.5, "#1c3c66"), (0.75, "#3a6a88"), (1, "#3a6a88")]
    sky = gradient(wide, height, night)
    for x, y, big in rng.uniform(0, 1, (260, 3)):
        disc(sky, x * wide, y * shore, (0.5 + big**3) * unit, rgb("#f4f8ff"))
    _, mask = below(ridge(rng, wide, 0.74 * height, 0.26 * height, slope=1.45), height)
    relief = fractal(rng, wide, height, slope=1.55, largest=80)
    rock = ramp(contrast(relief, 1.6), [(0, "#2a3a5c"), (0.5, "#6a82a4"), (1, "#e4f0fa")])
    peaks = layer(lit(rock, relief, 0.22), mask)
    wood = firs(rng, wide + round(200 * unit), height, ("#0a1622", "#1c3a44"), tall=0.24)
    curtains = _Curtains(rng, Size(width // 2, shore // 2))
    lines, columns = np.mgrid[0 : height - shore, 0:width].astype(np.float32)

    def paint(t: float) -> U8:
        pan = 34 * unit * t
        frame = window(sky, size, width / 2 + 0.4 * pan, height / 2)
        light = cv2.resize(curtains.view(t), (width, shore), interpolation=cv2.INTER_LINEAR)
        frame[:shore] = cv2.add(np.ascontiguousarray(frame[:shore]), light)
        frame = over(frame, window(peaks, size, width / 2 + pan, height / 2))
        wave = np.sin(lines * (0.5 / unit) + 2.6 * t)
        wave = (wave + np.sin(lines * (0.9 / unit) - 1.7 * t + columns * 0.04)) * unit
        mirror = (columns + 1.4 * wave, shore - 2 - 1.6 * lines + wave)
        lake = cv2.remap(frame, *mirror, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        frame[shore:] = cv2.convertScaleAbs(lake, alpha=0.78, beta=6)
        return over(frame, window(wood, size, width / 2 + 1.7 * pan, height / 2))

    return paint


class _Curtains:
    """Folded sheets of light, drawn at half size: they are soft anyway."""

    def __init__(self, rng: np.random.Generator, size: Size) -> None:
        self._size = size
        self._rays = [
            contrast(fractal(rng, 1024, 1, slope=1.1, largest=90)[0], 1.7) ** 1.5 for _ in range(3)
        ]
        self._rows = np.arange(size.height, dtype=np.float32)[:, None]
        self._columns = np.arange(size.width, dtype=np.float32)
        self._tints = [np.asarray(rgb(c), np.float32) for c in ("#38ff9a", "#3ae0c0", "#a070ff")]

    def view(self, t: float) -> U8:
        """The light alone, [H, W, 3]."""
        height = self._size.height
        total = np.zeros((height, self._size.width, 3), np.float32)
        place = self._columns / self._size.width
        for k, (rays, tint) in enumerate(zip(self._rays, self._tints, strict=True)):
            fold = 0.12 * np.sin(4.2 * place + 0.6 * t + 2.1 * k)
            foot = height * (0.72 - 0.14 * k + fold + 0.05 * np.sin(13 * place - 1.1 * t + k))
            shift = 300 * k + 40 * t * (1 if k % 2 else -1) + 30 * np.sin(6 * place + 0.8 * t)
            ray = np.interp((self._columns * 1.3 + shift) % 1024, np.arange(1024), rays)
            above = (foot[None, :] - self._rows) / (height * (0.42 + 0.1 * k))
            fall = np.where(above > 0, np.exp(-2.4 * above), np.exp(30 * np.minimum(above, 0)))
            total += (fall * ray[None, :]).astype(np.float32)[..., None] * tint
        return np.asarray(np.minimum(total * 0.95, 255), np.uint8)


def balloons(size: Size, rng: np.random.Generator) -> Painter:
    """Hot-air balloons rise over a valley in the morning; the camera tilts up with them."""
    width, height = size
    unit = size.unit
    wide, tall = width + round(120 * unit), height + round(300 * unit)
    morning: Stops = [(0, "#2a74c4"), (0.5, "#8ac4ea"), (0.75, "#fbe0c0"), (1, "#fbe0c0")]
    sky = cloudy(rng, wide, tall, morning, cover=0.5)
    land = _valley(rng, wide, tall)
    crafts = [(_balloon(rng, unit * big, inks), *course) for inks, big, course in _BALLOONS]

    def paint(t: float) -> U8:
        tilt = 30 * unit * t
        x = width / 2 + (60 + 8 * math.sin(0.5 * t)) * unit
        frame = window(sky, size, x, tall - height / 2 - 0.55 * tilt - 60 * unit)
        frame = over(frame, window(land, size, x, tall - height / 2 - tilt))
        for craft, place, start, rise in crafts:
            sway = math.sin(0.9 * t + 7 * place)
            left = place * width + 16 * unit * sway
            top = start * height - rise * unit * t + tilt
            craft.place(frame, left, top, roll=0.05 * sway)
        birds(frame, t, unit, (width * 1.1 - 70 * unit * t, height * 0.4), count=5)
        return frame

    return paint


def _valley(rng: np.random.Generator, width: int, height: int) -> U8:
    plate = np.zeros((height, width, 4), np.uint8)
    for base, rise, low, high in (
        (0.74, 0.09, "#6a86a8", "#b4c4cc"),
        (0.80, 0.08, "#4a7a6a", "#a4bc84"),
        (0.88, 0.08, "#3a6a30", "#bccc5a"),
    ):
        _, mask = below(ridge(rng, width, base * height, rise * height, slope=1.8), height)
        relief = fractal(rng, width, height, slope=1.45, largest=60)
        colour = lit(ramp(contrast(relief, 1.5), [(0, low), (1, high)]), relief, 0.16)
        plate[..., :3] = mixed(plate[..., :3], colour, mask)
        plate[..., 3] = np.maximum(plate[..., 3], (mask * 255).astype(np.uint8))
    return plate


def _balloon(rng: np.random.Generator, unit: float, inks: tuple[str, str]) -> Sprite:
    side = 250 * unit
    colours = np.asarray([rgb(ink) for ink in inks], np.float32)
    weave = fractal(rng, 256, 256, slope=0.9, largest=30)

    def draw(big: U8, scale: float) -> None:
        s = scale * unit
        x, y, radius = 125 * s, 92 * s, 86 * s
        rows, columns = np.mgrid[0 : big.shape[0], 0 : big.shape[1]].astype(np.float32)
        down = (rows - y) / radius
        dome = np.sqrt(np.clip(1 - down**2, 0, 1))
        waist = np.where(down < 0, dome, np.cos(np.clip(down, 0, 1.3) * 1.03))
        across = (columns - x) / (radius * np.maximum(waist, 1e-3))
        inside = (np.abs(across) < 1) & (down > -1) & (down < 1.3)
        gore = np.floor((np.arcsin(np.clip(across, -1, 1)) / math.pi + 0.5) * 10).astype(int) % 2
        band = np.floor((down + 1) * 4).astype(int) == 3
        light = 1.12 - 0.5 * np.clip(across * 0.6 + down * 0.35, -0.2, 1)
        light *= 0.9 + 0.2 * cv2.resize(weave, (big.shape[1], big.shape[0]))
        big[inside, :3] = np.clip(colours[gore ^ band] * light[..., None], 0, 255)[inside]
        big[inside, 3] = 255
        for rope in (-14, -5, 5, 14):
            line = shape(x, y, s, (rope * 1.5, 108), (rope, 136))
            stroke(big, line, rgb("#4a3a2a"), 1.6 * s)
        box(big, x - 15 * s, y + 134 * s, 30 * s, 19 * s, rgb("#7a4a2a"))
        box(big, x - 16 * s, y + 132 * s, 32 * s, 5 * s, rgb("#c08a50"))

    return drawn(side, side, rgb(inks[0]), draw)


def fireworks(size: Size, rng: np.random.Generator) -> Painter:
    """Fireworks over dark firs at dusk: shells burst one after another."""
    width, height = size
    unit = size.unit
    dusk: Stops = [(0, "#18204a"), (0.5, "#4a3a78"), (0.8, "#c86a7a"), (1, "#e8a078")]
    sky = cloudy(rng, width, height, dusk, cloud="#8a6a9a", shade="#3a3468", cover=0.5)
    sky = over(sky, firs(rng, width, height, ("#10141c", "#22303a"), tall=0.25))
    inks = [rgb(c) for c in ("#ffcf4a", "#ff5a5a", "#7ad0ff", "#b88aff", "#7dff9a")]
    shells = [(k * 0.34, *rng.uniform(0, 1, 2), inks[k % 5]) for k in range(-6, 24)]
    flights = rng.normal(0, 1, (90, 2))
    flights *= (rng.uniform(0.3, 1, 90) ** 0.6 / np.hypot(*flights.T))[:, None]

    def paint(t: float) -> U8:
        frame = sky.copy()
        for fired, x, y, colour in shells:
            middle = np.asarray(((0.1 + 0.8 * x) * width, (0.12 + 0.34 * y) * height))
            if 0 < t - fired < _GLOW_SECONDS:
                _burst(frame, middle, t - fired, unit, colour, flights)
        return frame

    return paint


def _burst(
    frame: U8,
    middle: npt.NDArray[np.float64],
    age: float,
    unit: float,
    colour: Colour,
    flights: npt.NDArray[np.float64],
) -> None:
    fade = 1 - age / _GLOW_SECONDS
    ink = (int(colour[0] * fade), int(colour[1] * fade), int(colour[2] * fade))
    light = np.zeros_like(frame)
    for head, thick in ((age, 1.9), (max(0.0, age - 0.12), 1.0)):  # each spark trails a thinner one
        tail = max(0.0, head - 0.12)
        for flight in flights:
            spark = [
                middle + flight * 95 * unit * (1 - math.exp(-1.9 * then)) + (0, 26 * unit * then**2)
                for then in (tail, head)
            ]
            stroke(light, np.asarray(spark), ink, thick * unit)
    cv2.add(frame, light, dst=frame)
