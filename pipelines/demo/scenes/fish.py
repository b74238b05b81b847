"""Fish: a coral reef from the side, a pond of koi from above."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.demo.canvas import (
    U8,
    Colour,
    Painter,
    Size,
    around,
    coloured,
    crossed,
    disc,
    ellipse,
    figure,
    over,
    polygon,
    stroke,
    window,
)
from pipelines.demo.ground import Ground
from pipelines.demo.textures import (
    Stops,
    as_bytes,
    colour_table,
    contrast,
    dappled,
    fractal,
    gradient,
    layer,
    mixed,
    ramp,
    rgb,
    ridged,
)

_SCALES = (
    ("#ffb02e", "#fff4d0"),
    ("#ff6f4a", "#fff0e0"),
    ("#ffe34d", "#26303a"),
    ("#c9f0ff", "#2a5a9a"),
)
"""Body and stripes of each kind."""


def reef(size: Size, rng: np.random.Generator) -> Painter:
    """Under water: fish over a coral reef, bubbles rise, light dances on the sand."""
    width, height = size
    unit = size.unit
    wide = width + round(360 * unit)
    depths: Stops = [(0, "#58c8d8"), (0.4, "#1a86b4"), (0.75, "#0f5a8c"), (1, "#0d4a78")]
    murk = fractal(rng, wide, height, slope=1.4, largest=120)
    deep = dappled(gradient(wide, height, depths), 0.8 + 0.4 * murk)
    sand = Ground(_caustics(rng), size, height * 0.62, texels=70)
    bed = colour_table([(0, "#3d6a72"), (0.45, "#8fae9a"), (0.7, "#dfe6b8"), (1, "#ffffff")])
    haze = np.clip(1.1 - np.arange(height - sand.top) / (70 * unit), 0, 1).astype(np.float32)
    coral = _corals(rng, wide, height, unit)
    school = rng.uniform(0, 1, (34, 4))
    bubbles = rng.uniform(0, 1, (26, 3))

    def paint(t: float) -> U8:
        x = width / 2 + 40 * unit * t
        frame = window(deep, size, x * 0.5 + width * 0.25, height / 2)
        light = crossed(sand.view(0.1 * t, 0.35 * t), sand.view(-0.1 * t, 0.15 * t + 2.0), 0.5)
        frame[sand.top :] = mixed(coloured(light, bed), rgb("#1670a0"), haze[:, None])
        frame = over(frame, window(coral, size, x, height / 2))
        for k, (across, down, pace, big) in enumerate(school):
            left = ((across * 1.4 - (0.07 + 0.09 * pace) * t) % 1.4 - 0.2) * width
            y = (0.12 + 0.6 * down) * height + 9 * unit * math.sin(1.4 * t + 6 * across)
            beat = 9 * t * (0.6 + pace) + k
            _fish(frame, left, y, (0.5 + 0.9 * big) * unit, beat, _SCALES[k % 4])
        for across, phase, big in bubbles:
            left = across * width + 6 * unit * math.sin(5 * t + 9 * phase)
            up = (1 - (phase + 0.22 * t * (0.6 + big)) % 1) * height
            disc(frame, left, up, (1.5 + 3 * big) * unit, rgb("#c8f0f4"))
        return frame

    return paint


def _caustics(rng: np.random.Generator) -> U8:
    """Bright lines where light focuses: a tile 512 x 512, one channel."""
    lines = ridged(contrast(fractal(rng, 512, 512, slope=1.8, largest=70), 1.6))
    dots = fractal(rng, 512, 512, slope=0.8, largest=30)
    return as_bytes(np.clip(0.2 + 0.75 * lines**3 + 0.35 * (dots - 0.4), 0, 1).astype(np.float32))


def _corals(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    picture = np.zeros((height * 2, width * 2, 4), np.uint8)
    picture[..., :3] = rgb("#7a3a58")
    colours = [rgb(c) for c in ("#e05a7a", "#f2994a", "#a45ad0", "#5ac8a0", "#f2c94c")]
    foot = height * 2.0
    for x in np.arange(0.02, 1, 0.045):
        root = (x + rng.uniform(-0.02, 0.02)) * width * 2
        colour = colours[rng.integers(len(colours))]
        length = rng.uniform(24, 52) * unit * 2
        _branch(rng, picture, (root, foot), -math.pi / 2, length, 9 * unit, colour)
        for _ in range(5):
            side, stone = rng.uniform(-60, 60) * unit, rng.uniform(8, 30) * unit
            red, green, blue = rng.integers(60, 110, 3).tolist()
            radii = (stone * 1.5, stone)
            ellipse(picture, root + side, foot - stone * 0.3, radii, (red, green, blue))
    small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    texture = fractal(rng, width, height, slope=0.9, largest=30)
    return np.dstack([dappled(small[..., :3], 0.6 + 0.8 * texture), small[..., 3]])


def _branch(
    rng: np.random.Generator,
    picture: U8,
    root: tuple[float, float],
    heading: float,
    length: float,
    thickness: float,
    colour: Colour,
) -> None:
    tip = around(*root, length, heading)
    stroke(picture, [root, tip], colour, thickness)
    disc(picture, *tip, thickness / 2, colour)
    if length > 12:
        for turn in (-0.5, 0.5):
            bent = heading + turn + rng.uniform(-0.25, 0.25)
            _branch(rng, picture, tip, bent, length * 0.68, max(2.0, thickness * 0.72), colour)


def _fish(frame: U8, x: float, y: float, unit: float, beat: float, inks: tuple[str, str]) -> None:
    body, stripe = rgb(inks[0]), rgb(inks[1])
    wag = 5 * math.sin(beat)
    tail = ((13.0, 0.0), (27.0, wag - 10), (23.0, 0.6 * wag), (27.0, wag + 10))
    figure(frame, x, y, unit, body, *tail)
    figure(frame, x, y, unit, body, (-6, -7), (9, -7), (3, -14))
    ellipse(frame, x, y, (17 * unit, 9 * unit), body, roll=0.05 * math.sin(beat))
    for shift in (-5, 5):
        ellipse(frame, x + shift * unit, y, (2.2 * unit, 7.4 * unit), stripe)
    disc(frame, x - 12 * unit, y - 2 * unit, 1.8 * unit, rgb("#101418"))


def koi(size: Size, rng: np.random.Generator) -> Painter:
    """A pond from above: koi glide under drifting lily pads, ripples bend the pebbles."""
    width, height = size
    unit = size.unit
    wide, tall = width + round(200 * unit), height + round(200 * unit)
    pebbles = _pebbles(rng, wide, tall, unit)
    ripples = _Ripples(rng, size)
    shoal = np.stack(
        [rng.uniform(0.7, 1.2, 8), rng.uniform(0, 6.3, 8), rng.uniform(0.16, 0.34, 8)], axis=1
    )
    pads = rng.uniform(0, 1, (13, 4))
    shine = fractal(rng, wide, tall, slope=1.6, largest=120)
    sheen = np.full((tall, wide, 3), (190, 225, 235), np.uint8)
    gleam = layer(sheen, np.clip((shine - 0.6) * 0.9, 0, 0.3))

    def paint(t: float) -> U8:
        drift = (26 * unit * t, 12 * unit * t)
        frame = ripples.seen(pebbles, drift, t)
        for kind, path in enumerate(shoal):
            _koi(frame, t, size, path, kind)
        glint = window(gleam, size, width / 2 + 55 * unit * t, height / 2 + 26 * unit * t)
        frame = over(frame, glint)
        for x, y, big, turn in pads:
            left = (x * 1.3 - 0.05) * width - drift[0] * 1.25
            top = (y * 1.3 - 0.05) * height - drift[1] * 1.25
            sway = 6.3 * turn + 0.1 * math.sin(t + 9 * turn)
            _pad(frame, left, top, (20 + 22 * big) * unit, sway, blooming=turn > 0.62)
        return frame

    return paint


class _Ripples:
    """Moving water that bends what lies under it."""

    def __init__(self, rng: np.random.Generator, size: Size) -> None:
        surface = fractal(rng, 512, 512, slope=2.0, largest=70)
        slope = [cv2.Sobel(surface, cv2.CV_32F, 1, 0), cv2.Sobel(surface, cv2.CV_32F, 0, 1)]
        self._bend = np.dstack(slope) * (5.0 * size.unit / np.abs(slope).max())
        self._size = size
        self._rows, self._columns = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)

    def seen(self, floor: U8, drift: tuple[float, float], t: float) -> U8:
        """A frame-sized view of the floor from `drift` on, through the water."""
        bend = np.roll(self._bend, (-round(40 * t), -round(62 * t)), (0, 1))
        side = round(1.05 * max(self._size))
        bend = cv2.resize(bend, (side, side))[: self._size.height, : self._size.width]
        columns, rows = self._columns + drift[0], self._rows + drift[1]
        return np.asarray(
            cv2.remap(
                floor,
                columns + bend[..., 0],
                rows + bend[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            np.uint8,
        )


def _pebbles(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    mud = fractal(rng, width, height, slope=1.2, largest=80)
    floor = ramp(contrast(mud, 1.3), [(0, "#12363a"), (1, "#3f7a70")])
    for x, y, big, tone in rng.uniform(0, 1, (900, 4)):
        radii = ((3 + 8 * big) * unit, (2.3 + 6 * big) * unit)
        light = 0.5 + 0.75 * tone
        colour = (int(122 * light), int(164 * light), int(150 * light))
        ellipse(floor, x * width + 2, y * height + 3, radii, (14, 34, 36), roll=6 * tone)
        ellipse(floor, x * width, y * height, radii, colour, roll=6 * tone)
    return floor


def _koi(frame: U8, t: float, size: Size, path: npt.NDArray[np.float64], kind: int) -> None:
    unit = size.unit
    pace, phase, ring = path
    white, patch = rgb("#fff6ea"), rgb(("#f2622a", "#e8412a", "#f7a23a", "#2a2a30")[kind % 4])
    centre = (size.width * (0.2 + 0.2 * (kind % 4)), size.height * (0.32 + 0.36 * (kind % 2)))
    radius = ring * size.height * 1.4
    for k in range(13, -1, -1):  # from the tail to the head
        past = phase + pace * 0.55 * (t - 0.06 * k) * (1 if kind % 2 else -1)
        wave = 2.6 * unit * math.sin(7 * pace * t - 0.55 * k) * k / 8
        x = centre[0] + (radius + wave) * math.cos(past) * 1.3
        y = centre[1] + (radius + wave) * math.sin(past)
        girth = (14 - abs(k - 3) * 1.25) * unit if k < 12 else 6 * unit
        disc(frame, x, y, max(girth, 2 * unit), patch if k in (0, 1, 4, 5, 8, 12, 13) else white)


def _pad(frame: U8, x: float, y: float, radius: float, turn: float, *, blooming: bool) -> None:
    shadow = (x + radius * 0.12, y + radius * 0.16)
    ellipse(frame, *shadow, (radius, radius * 0.92), rgb("#0c2620"), roll=turn)
    ellipse(frame, x, y, (radius, radius * 0.92), rgb("#3f8a3c"), roll=turn)
    ellipse(frame, x, y, (radius * 0.86, radius * 0.78), rgb("#5aa64a"), roll=turn)
    for k in range(9):
        vein = around(x, y, radius * 0.8, turn + k * 2 * math.pi / 9)
        stroke(frame, [(x, y), vein], rgb("#2f6f34"), 1)
    notch = [around(x, y, radius * 1.02, turn + side) for side in (-0.18, 0.18)]
    polygon(frame, [(x, y), *notch], rgb("#16383a"))
    if not blooming:
        return
    for reach, colour in ((0.31, "#f7a8c8"), (0.21, "#fbd0e2")):
        for k in range(8):
            angle = turn + k * math.pi / 4 + reach
            petal = around(x, y, radius * reach, angle)
            ellipse(frame, *petal, (radius * reach, radius * 0.16), rgb(colour), roll=angle)
    disc(frame, x, y, radius * 0.13, rgb("#ffe27a"))
