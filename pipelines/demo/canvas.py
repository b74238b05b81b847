"""Put a frame together: views of plates, layers, sprites, shapes and light.

Everything here runs for every frame, so it works on 8-bit pictures and leaves the inner loops to
OpenCV; what is slow belongs into `pipelines.demo.textures` and is done once per shot. Positions are
in pixels with fractions, because motion in whole pixels would judder.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

_SHIFT = 4  # cv2 draws with this many fractional bits
_SUPERSAMPLING = 4


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def unit(self) -> float:
        """Scenes are designed 360 pixels high; multiply their lengths by this."""
        return min(self) / 360


Painter = Callable[[float], U8]
"""From seconds since the shot began to a picture [H, W, 3], RGB."""
Scene = Callable[[Size, np.random.Generator], Painter]
"""Paints what lasts (plates, sprites), and returns what paints a frame of it."""


def _placing(
    source: tuple[float, float], target: tuple[float, float], zoom: float, roll: float
) -> npt.NDArray[np.float64]:
    """The 2x3 matrix that brings point `source` to `target`, magnified and turned (radians)."""
    cos, sin = zoom * math.cos(roll), zoom * math.sin(roll)
    return np.array(
        [
            [cos, -sin, target[0] - cos * source[0] + sin * source[1]],
            [sin, cos, target[1] - sin * source[0] - cos * source[1]],
        ]
    )


def window(
    plate: U8, size: Size, x: float, y: float, *, zoom: float = 1.0, roll: float = 0.0
) -> U8:
    """A frame-sized view [H, W, C] of a plate.

    Args:
        plate: the picture to look at, [H', W', C].
        size: of the view.
        x: column of the plate in the middle of the view.
        y: row of the plate in the middle of the view.
        zoom: magnification.
        roll: clockwise turn of the picture in radians.
    """
    matrix = _placing((x, y), (size.width / 2, size.height / 2), zoom, roll)
    view = cv2.warpAffine(plate, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(view, np.uint8)


def over(frame: U8, layer: U8) -> U8:
    """A layer [H, W, 4] (colour not premultiplied) over a frame [H, W, 3] of the same size."""
    alpha = layer[..., 3].astype(np.float32) * (1 / 255)
    return np.asarray(cv2.blendLinear(frame, _colours(layer), 1.0 - alpha, alpha), np.uint8)


def _colours(layer: U8) -> U8:
    return np.asarray(cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), np.uint8)


def crossed(first: U8, second: U8, weight: float) -> U8:
    """Linear blend: all `first` at weight 0, all `second` at 1."""
    return np.asarray(cv2.addWeighted(first, 1.0 - weight, second, weight, 0.0), np.uint8)


def coloured(field: U8, table: U8) -> U8:
    """Colour an 8-bit field [H, W] through a table of `pipelines.demo.textures.colour_table`."""
    return np.asarray(cv2.applyColorMap(field, table), np.uint8)


def dimmed(frame: U8, gain: float) -> U8:
    """A frame multiplied by a gain."""
    return np.asarray(cv2.convertScaleAbs(frame, alpha=gain), np.uint8)


class Sprite:
    """A small picture with transparency, kept at several sizes so that it may be shown small.

    Args:
        picture: [H, W, 4], colour not premultiplied, with a transparent margin.
    """

    def __init__(self, picture: U8) -> None:
        self.levels = [picture]
        while min(self.levels[-1].shape[:2]) >= 8:
            self.levels.append(_halved(self.levels[-1]))
        self.height, self.width = picture.shape[:2]

    def place(self, frame: U8, x: float, y: float, *, zoom: float = 1.0, roll: float = 0.0) -> None:
        """Draw it into a frame, its middle at (x, y)."""
        level = min(max(0, math.floor(-math.log2(max(zoom, 1e-6)) + 0.3)), len(self.levels) - 1)
        picture = self.levels[level]
        height, width = picture.shape[:2]
        zoom = zoom * self.width / width
        reach = math.ceil(0.5 * math.hypot(width, height) * zoom) + 1
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        region = frame[top : max(0, math.ceil(y + reach)), left : max(0, math.ceil(x + reach))]
        if region.size == 0:
            return
        matrix = _placing(((width - 1) / 2, (height - 1) / 2), (x - left, y - top), zoom, roll)
        region[:] = over(
            np.ascontiguousarray(region),
            np.asarray(
                cv2.warpAffine(picture, matrix, (region.shape[1], region.shape[0])), np.uint8
            ),
        )


def _halved(picture: U8) -> U8:
    """Half the size; colours are averaged by how opaque they are."""
    alpha = picture[..., 3:].astype(np.float32) + 1e-3
    size = (max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2))
    colour = cv2.resize(picture[..., :3] * alpha, size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return np.dstack([colour / weight[..., None], weight]).astype(np.uint8)


def drawn(width: float, height: float, ground: Colour, draw: Callable[[U8, float], None]) -> Sprite:
    """Make a sprite by drawing it four times too large.

    Args:
        width: of the sprite in pixels.
        height: of the sprite in pixels.
        ground: colour that its soft edges run into.
        draw: paints into a picture [H, W, 4], scaled by its second argument; colours drawn with
            a fourth component of 255 are opaque.
    """
    scale = _SUPERSAMPLING
    big = np.zeros((math.ceil(height) * scale, math.ceil(width) * scale, 4), np.uint8)
    big[..., :3] = ground
    draw(big, float(scale))
    return Sprite(_halved(_halved(big)))


def shape(
    x: float, y: float, unit: float, *corners: tuple[float, float], roll: float = 0.0
) -> list[tuple[float, float]]:
    """Corners given in units about (x, y), turned clockwise by `roll`, as points of the frame."""
    cos, sin = unit * math.cos(roll), unit * math.sin(roll)
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in corners]


def box(frame: U8, x: float, y: float, width: float, height: float, colour: Colour) -> None:
    """Fill an upright rectangle whose top left corner is (x, y)."""
    polygon(frame, shape(x, y, 1, (0, 0), (width, 0), (width, height), (0, height)), colour)


def polygon(
    frame: U8, points: Sequence[tuple[float, float]] | npt.NDArray[np.floating], colour: Colour
) -> None:
    """Fill a polygon [N, 2] with smooth edges."""
    corners = np.rint(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(frame, [corners], _ink(frame, colour), cv2.LINE_AA, _SHIFT)


def figure(
    frame: U8,
    x: float,
    y: float,
    unit: float,
    colour: Colour,
    *corners: tuple[float, float],
    roll: float = 0.0,
) -> None:
    """Fill a polygon whose corners are given as for `shape`."""
    polygon(frame, shape(x, y, unit, *corners, roll=roll), colour)


def around(x: float, y: float, reach: float, angle: float) -> tuple[float, float]:
    """The point at a distance and a clockwise angle from (x, y)."""
    return x + reach * math.cos(angle), y + reach * math.sin(angle)


def disc(frame: U8, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a circle with smooth edges."""
    ellipse(frame, x, y, (radius, radius), colour)


def ellipse(
    frame: U8,
    x: float,
    y: float,
    radii: tuple[float, float],
    colour: Colour,
    *,
    roll: float = 0.0,
) -> None:
    """Fill an ellipse, turned clockwise by `roll` radians."""
    unit = 1 << _SHIFT
    cv2.ellipse(
        frame,
        (round(x * unit), round(y * unit)),
        (max(1, round(radii[0] * unit)), max(1, round(radii[1] * unit))),
        math.degrees(roll),
        0,
        360,
        _ink(frame, colour),
        -1,
        cv2.LINE_AA,
        _SHIFT,
    )


def stroke(
    frame: U8,
    points: Sequence[tuple[float, float]] | npt.NDArray[np.floating],
    colour: Colour,
    thickness: float = 1.0,
) -> None:
    """Draw a line through points [N, 2]."""
    corners = np.rint(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(
        frame,
        [corners],
        False,
        _ink(frame, colour),
        max(1, round(thickness)),
        cv2.LINE_AA,
        _SHIFT,
    )


def _ink(frame: U8, colour: Colour) -> tuple[int, ...]:
    """Opaque where the picture has a fourth channel."""
    return (*colour, 255) if frame.shape[2] == 4 else colour


def add_light(frame: U8, light: U8, x: float, y: float) -> None:
    """Add a light [h, w, 3] to a frame, its middle at (x, y); saturates."""
    height, width = light.shape[:2]
    left, top = round(x - width / 2), round(y - height / 2)
    region = frame[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    if region.size == 0:
        return
    part = light[max(0, -top) :, max(0, -left) :][: region.shape[0], : region.shape[1]]
    region[:] = cv2.add(np.ascontiguousarray(region), np.ascontiguousarray(part))


def glow(radius: float, colour: Colour, power: float = 2.5) -> U8:
    """A round light [2r, 2r, 3] for `add_light`."""
    reach = max(1, math.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    fall = np.clip(1.0 - np.hypot(rows, columns) / radius, 0.0, 1.0) ** power
    return np.asarray(fall[..., None] * np.asarray(colour), np.uint8)
