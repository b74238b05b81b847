"""Towns: a skyline at dusk, a steam train on a viaduct, a village in the snow."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.demo.canvas import (
    F32,
    U8,
    Painter,
    Size,
    add_light,
    box,
    disc,
    ellipse,
    glow,
    over,
    polygon,
    shape,
    stroke,
    window,
)
from pipelines.demo.scenes.extras import firs
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


def skyline(size: Size, rng: np.random.Generator) -> Painter:
    """A city at nightfall across a river: lit windows, their reflection, cars on the bank."""
    width, height = size
    unit = height / 360
    shore = round(height * 0.7)
    wide = width + round(560 * unit)
    sky = cloudy(
        rng, wide, shore,
        [(0, "#1d2560"), (0.45, "#6a3f8c"), (0.75, "#d8688a"), (1, "#ffb27a")],
        cloud="#e58aa0", shade="#4a3a78", cover=0.5,
    )  # fmt: skip
    stars = rng.uniform(0, 1, (90, 2)) * (wide, shore * 0.5)
    for x, y in stars:
        disc(sky, x, y, 0.8 * unit, rgb("#fff6e0"))
    rows = [
        _blocks(rng, wide, shore, tall * height, broad * unit, colour, lamps)
        for tall, broad, colour, lamps in (
            (0.40, 44, "#5f4f8a", 0.2), (0.46, 58, "#3c3768", 0.34), (0.28, 76, "#262648", 0.45),
        )
    ]  # fmt: skip
    moon = glow(70 * unit, (90, 84, 70), 1.6)
    cars = [(x, -1 if k % 2 else 1, k) for k, x in enumerate(rng.uniform(0, 1, 14))]
    lamps = [glow(13 * unit, (255, 235, 180), 2.0), glow(11 * unit, (255, 60, 40), 2.0)]
    lower = Size(width, height - shore)
    columns, lines = np.meshgrid(np.arange(width), np.arange(lower.height))
    mirror = (columns.astype(np.float32), (shore - 1 - lines * 1.6).astype(np.float32))

    def paint(t: float) -> U8:
        upper = Size(width, shore)
        view = window(sky, upper, width / 2 + 10 * unit * t, shore / 2)
        add_light(view, moon, width * 0.8 - 6 * unit * t, height * 0.16)
        disc(view, width * 0.8 - 6 * unit * t, height * 0.16, 17 * unit, rgb("#fff4d8"))
        for plate, speed in zip(rows, (24, 46, 78), strict=True):
            view = over(view, window(plate, upper, width / 2 + speed * unit * t, shore / 2))
        for x, way, k in cars:
            place = ((x + way * (0.09 + 0.01 * k) * t) % 1.2 - 0.1) * width
            add_light(view, lamps[way < 0], place, shore - (7 if way > 0 else 13) * unit)
        return np.vstack([view, _mirrored(view, mirror, t, unit)])

    return paint


def _blocks(
    rng: np.random.Generator,
    width: int,
    height: int,
    tall: float,
    broad: float,
    colour: str,
    lamps: float,
) -> U8:
    """A row of tower blocks with lit windows: [height, width, 4]."""
    body = np.asarray(rgb(colour), float)
    plate = np.zeros((height, width, 4), np.uint8)
    plate[..., :3] = rgb(colour)
    lights = [rgb(c) for c in ("#e8bc74", "#e0cfa0", "#d89a5a", "#9abcdc")]
    pane = max(2, round(broad / 15))
    x = 0.0
    while x < width:
        wide = round(broad * rng.uniform(0.7, 1.3))
        top = round(height - tall * rng.uniform(0.35, 1.0))
        left = round(x)
        shade = tuple(int(c) for c in np.clip(body * rng.uniform(0.8, 1.2), 0, 255))
        plate[top:, left : left + wide] = (*shade, 255)
        if rng.random() < 0.4:
            mast = left + wide // 2
            plate[max(0, top - round(tall * 0.12)) : top, mast : mast + 2] = (*shade, 255)
        for row in range(top + 2 * pane, height - 2 * pane, 3 * pane):
            for column in range(left + pane, left + wide - 2 * pane, 2 * pane + 1):
                if rng.random() < lamps:
                    light = lights[rng.integers(4)]
                    plate[row : row + 2 * pane - 1, column : column + pane] = (*light, 255)
        x += wide + (rng.uniform(0, broad * 0.25) if rng.random() < 0.5 else 0)
    return plate


def _mirrored(view: U8, mirror: tuple[F32, F32], t: float, unit: float) -> U8:
    """What calm water shows of the picture above it."""
    columns, rows = mirror
    down = rows[0, 0] - rows
    wave = np.sin(down * (0.55 / unit) + 3.1 * t) + np.sin(down * (0.23 / unit) - 2.3 * t)
    wave += np.sin(columns * (0.03 / unit) + down * (0.9 / unit) + 4 * t)
    shift = (1.0 + down * 0.03) * wave * unit
    calm = cv2.blur(view, (2, 3))  # the mirrored rows are read at a larger step
    seen = cv2.remap(calm, columns + shift, rows + shift, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
    return np.asarray(cv2.addWeighted(seen, 0.62, np.full_like(seen, 40), 0.5, 0.0), np.uint8)


def train(size: Size, rng: np.random.Generator) -> Painter:
    """A steam train crosses a viaduct, the camera keeps up with it."""
    width, height = size
    unit = height / 360
    wide = width + round(700 * unit)
    sky = cloudy(rng, wide, height, [(0, "#4a8ac8"), (0.6, "#d8e6e0"), (1, "#f5e4c0")], cover=0.55)
    hills = [_hill(rng, wide, height, *hill) for hill in (
        (0.5, 0.2, "#5a7a8a", "#a8bfb8"), (0.64, 0.18, "#3f6a3a", "#a4b85a"),
    )]  # fmt: skip
    rail = height * 0.66
    course = max(2, round(8.6 * unit))
    arches = _viaduct(rng, width, height, rail, course)
    span = 14 * course
    puffs = rng.uniform(-1, 1, (40, 2))

    def paint(t: float) -> U8:
        frame = window(sky, size, width / 2 + 20 * unit * t, height / 2)
        for plate, speed in zip(hills, (36, 84), strict=True):
            frame = over(frame, window(plate, size, width / 2 + speed * unit * t, height / 2))
        nose = width * 0.72 + 26 * unit * math.sin(0.5 * t)
        _smoke(frame, t, (nose - 26 * unit, rail - 62 * unit), unit, puffs)
        travelled = 230 * unit * t
        for k, colour in enumerate(("#8f2a2a", "#2a5a8f", "#8f2a2a", "#2f6f4a", "#8f2a2a")):
            _coach(frame, nose - (190 + 112 * k) * unit, rail, unit, colour, travelled)
        _engine(frame, nose, rail, unit, travelled)
        return over(frame, window(arches, size, width / 2 + travelled % span, height / 2))

    return paint


def _hill(
    rng: np.random.Generator, width: int, height: int, base: float, rise: float, low: str, high: str
) -> U8:
    _, mask = below(ridge(rng, width, base * height, rise * height, slope=1.8), height)
    relief = fractal(rng, width, height, slope=1.25, largest=60)
    return layer(lit(ramp(contrast(relief, 1.5), [(0, low), (1, high)]), relief, 0.18), mask)


def _viaduct(rng: np.random.Generator, width: int, height: int, rail: float, course: int) -> U8:
    """Arches of brick; each is 14 courses wide and like its neighbours, so that it may scroll."""
    span = 14 * course
    stone = fractal(rng, span, height, slope=1.1, largest=40)
    picture = ramp(contrast(stone, 1.3), [(0, "#6a5a48"), (1, "#d0b890")])
    rows, columns = np.mgrid[0:height, 0:span].astype(np.float32)
    staggered = columns + course * (rows // course % 2)
    joints = (rows % course < 1.2) | (staggered % (2 * course) < 1.2)
    picture[joints] = picture[joints] * 0.72
    across = np.abs(columns - span / 2) / (span * 0.39)
    bow = span * 0.39 * (1 - np.sqrt(np.clip(1 - across**2, 0, 1)))
    arch = (across < 1) & (rows > rail + 34 * height / 360 + bow)
    picture[(rows > rail) & (rows < rail + 5 * height / 360)] = rgb("#4a4038")
    pier = layer(picture, ((rows > rail) & ~arch).astype(np.float32))
    return np.tile(pier, (1, math.ceil(width / span) + 2, 1))


def _smoke(
    frame: U8,
    t: float,
    mouth: tuple[float, float],
    unit: float,
    puffs: npt.NDArray[np.float64],
) -> None:
    for k in range(len(puffs) - 1, -1, -1):
        born = math.floor(t * 9) - k
        age = t - born / 9
        drift = puffs[born % len(puffs)]
        tone = min(250, round(190 + 18 * age))
        disc(frame, mouth[0] - 128 * unit * age + drift[0] * 5 * unit,
             mouth[1] - (26 * age**0.7 + drift[1] * 5) * unit, (6 + 9 * age) * unit,
             (tone, tone, min(255, tone + 3)))  # fmt: skip


def _coach(frame: U8, x: float, rail: float, unit: float, colour: str, travelled: float) -> None:
    box(frame, x, rail - 48 * unit, 104 * unit, 38 * unit, rgb(colour))
    box(frame, x - 2 * unit, rail - 53 * unit, 108 * unit, 6 * unit, rgb("#3a3a40"))
    box(frame, x, rail - 22 * unit, 104 * unit, 3 * unit, rgb("#f0d890"))
    for k in range(6):
        box(
            frame, x + (6 + 16.5 * k) * unit, rail - 42 * unit, 11 * unit, 14 * unit, rgb("#fff0c0")
        )
    box(frame, x + 104 * unit, rail - 16 * unit, 9 * unit, 4 * unit, rgb("#2a2a2e"))
    for at in (16, 34, 70, 88):
        _wheel(frame, x + at * unit, rail, 8 * unit, travelled)


def _engine(frame: U8, x: float, rail: float, unit: float, travelled: float) -> None:
    dark, green = rgb("#24282c"), rgb("#1f5a3c")
    box(frame, x - 78 * unit, rail - 60 * unit, 34 * unit, 50 * unit, green)
    box(frame, x - 82 * unit, rail - 66 * unit, 42 * unit, 7 * unit, dark)
    box(frame, x - 70 * unit, rail - 53 * unit, 18 * unit, 16 * unit, rgb("#ffe9a8"))
    box(frame, x - 46 * unit, rail - 46 * unit, 60 * unit, 27 * unit, green)
    for band in (-36, -16, 4):
        box(frame, x + band * unit, rail - 46 * unit, 3 * unit, 27 * unit, rgb("#d8b04a"))
    ellipse(frame, x + 14 * unit, rail - 32.5 * unit, (5 * unit, 14 * unit), dark)
    polygon(
        frame,
        shape(x - 4 * unit, rail - 45 * unit, unit, (0, 0), (-3, -22), (15, -22), (12, 0)),
        dark,
    )
    disc(frame, x - 24 * unit, rail - 46 * unit, 7 * unit, rgb("#d8b04a"))
    box(frame, x - 80 * unit, rail - 20 * unit, 98 * unit, 8 * unit, rgb("#8f2a2a"))
    polygon(frame, shape(x + 16 * unit, rail - 14 * unit, unit, (0, 0), (16, 13), (-4, 13)), dark)
    hubs = [x - 66 * unit, x - 38 * unit, x - 10 * unit]
    for hub in hubs:
        _wheel(frame, hub, rail, 13 * unit, travelled)
    turn = travelled / (13 * unit)
    crank = (7 * unit * math.cos(turn), 7 * unit * math.sin(turn) + rail - 13 * unit)
    stroke(frame, [(hub + crank[0], crank[1]) for hub in hubs], rgb("#d8d8d8"), 3.4 * unit)


def _wheel(frame: U8, x: float, rail: float, radius: float, travelled: float) -> None:
    y, turn = rail - radius, travelled / radius
    disc(frame, x, y, radius, rgb("#1c1c20"))
    disc(frame, x, y, radius * 0.78, rgb("#a83a32"))
    for k in range(4):
        angle = turn + k * math.pi / 4
        spoke = shape(x, y, radius * 0.8, (-1, 0), (1, 0), roll=angle)
        stroke(frame, spoke, rgb("#1c1c20"), max(1.0, radius * 0.12))


def village(size: Size, rng: np.random.Generator) -> Painter:
    """A village on a winter evening: snow falls, windows glow, the camera moves in."""
    width, height = size
    unit = size.unit
    scale = 1.35
    plate = _snowy_village(rng, round(width * scale), round(height * scale), unit * scale)
    flakes = rng.uniform(0, 1, (260, 4))
    wood = firs(rng, round(width * 1.7), height, ("#1c2c44", "#dfe8f4"), tall=0.5)

    def paint(t: float) -> U8:
        zoom = (0.76 + 0.045 * t) / 1.0
        middle = (width * scale / 2 + 7 * unit * t, height * scale * (0.52 + 0.004 * t))
        frame = window(plate, size, *middle, zoom=zoom)
        near = window(wood, size, width * 0.75 + 62 * unit * t, height * (0.36 - 0.01 * t))
        frame = over(frame, near)
        for x, y, big, sway in flakes:
            drift = 14 * unit * math.sin(1.6 * t + 9 * sway)
            left = ((x - (0.03 + 0.05 * big) * t) % 1) * width + drift
            down = ((y + (0.1 + 0.26 * big**2) * t) % 1) * height
            disc(frame, left, down, (0.8 + 2.6 * big**2) * unit, rgb("#f4f8ff"))
        return frame

    return paint


def _snowy_village(rng: np.random.Generator, width: int, height: int, unit: float) -> U8:
    picture = gradient(
        width, height, [(0, "#27376a"), (0.4, "#6a78a8"), (0.6, "#d8b0b0"), (1, "#c0c8e0")]
    )
    for x, y in rng.uniform(0, 1, (80, 2)):
        disc(picture, x * width, y * height * 0.4, 0.9 * unit, rgb("#f4f4ff"))
    for base, rise, low in ((0.52, 0.22, "#5a6a9a"), (0.62, 0.12, "#8a9ac4")):
        _, mask = below(ridge(rng, width, base * height, rise * height, slope=1.7), height)
        relief = fractal(rng, width, height, slope=1.5, largest=70)
        slope = lit(ramp(contrast(relief, 1.4), [(0, low), (1, "#e4ecfa")]), relief, 0.16)
        picture = mixed(picture, slope, mask)
    drift = fractal(rng, width, height, slope=1.5, largest=80, stretch=3)
    _, mask = below(ridge(rng, width, 0.66 * height, 0.03 * height, slope=2.0), height)
    snow = lit(ramp(contrast(drift, 1.3), [(0, "#8fa0cc"), (1, "#f2f6ff")]), drift, 0.12)
    picture = mixed(picture, snow, mask)
    for foot, x in sorted((rng.uniform(0.64, 0.84), x) for x in np.arange(0.05, 1.0, 0.093)):
        _cottage(rng, picture, x * width, foot * height, unit * (0.5 + 1.3 * (foot - 0.5)))
    return grain(rng, picture, 0.1)


def _cottage(rng: np.random.Generator, picture: U8, x: float, y: float, unit: float) -> None:
    light = glow(60 * unit, (110, 70, 20), 1.5)
    wall = rgb(("#6a4632", "#7a5a44", "#54403c")[rng.integers(3)])
    add_light(picture, light, x, y)
    box(picture, x - 38 * unit, y - 42 * unit, 76 * unit, 44 * unit, wall)
    for row in range(6):
        box(
            picture, x - 38 * unit, y - (42 - 8 * row) * unit, 76 * unit, 1.4 * unit, rgb("#40281e")
        )
    roof = shape(x, y - 40 * unit, unit, (-48, 2), (48, 2), (0, -46))
    polygon(picture, roof, rgb("#eef4ff"))
    polygon(picture, shape(x, y - 40 * unit, unit, (0, -46), (48, 2), (16, 2)), rgb("#b8c6e4"))
    box(picture, x + 18 * unit, y - 82 * unit, 10 * unit, 26 * unit, rgb("#6a3a30"))
    box(picture, x + 16 * unit, y - 86 * unit, 14 * unit, 6 * unit, rgb("#f4f8ff"))
    for at in (-26, 10):
        box(picture, x + at * unit, y - 32 * unit, 16 * unit, 16 * unit, rgb("#ffd978"))
        box(picture, x + (at + 7) * unit, y - 32 * unit, 2 * unit, 16 * unit, rgb("#5a3a20"))
        box(picture, x + at * unit, y - 25 * unit, 16 * unit, 2 * unit, rgb("#5a3a20"))
    box(picture, x - 6 * unit, y - 26 * unit, 13 * unit, 28 * unit, rgb("#8a2f2a"))
