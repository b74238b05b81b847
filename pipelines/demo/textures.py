"""What is painted once per shot: fractal fields, colour ramps, skies, ridges and relief.

Noise is made by shaping the spectrum of white noise, so that it tiles and has the falling spectrum
of natural pictures. That is slow, which is why it happens before the first frame only; frames are
views of these plates (`pipelines.demo.canvas`).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Stops = Sequence[tuple[float, str]]
"""Positions in [0, 1], ascending, and the colour ``#rrggbb`` at each."""

_SPREAD = 5.2  # standard deviations between 0 and 1: hardly anything is clipped


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of ``#rrggbb``, each 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def fractal(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    slope: float = 1.6,
    largest: float = 200.0,
    stretch: float = 1.0,
) -> F32:
    """A tiling fractal field [height, width] in [0, 1] with mean 0.5.

    Args:
        rng: source of the noise.
        width: columns.
        height: rows.
        slope: how fast amplitude falls with frequency; 1 is a natural picture, 2 is soft smoke.
        largest: features beyond this many pixels get no stronger.
        stretch: how many times longer than high features are.
    """
    across = np.fft.rfftfreq(width)[None, :] * stretch
    down = np.fft.fftfreq(height)[:, None]
    frequency = np.maximum(np.hypot(across, down), 1.0 / largest)
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) * frequency**-slope
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray(np.clip(0.5 + field / (_SPREAD * field.std()), 0.0, 1.0), np.float32)


def ridged(field: F32) -> F32:
    """Sharp crests where a field crosses its mean, as mountains and cracked rock have them."""
    return np.asarray(1.0 - np.abs(2.0 * field - 1.0), np.float32)


def as_bytes(field: F32) -> U8:
    """A field in [0, 1] as 8-bit numbers."""
    return np.asarray(field * 255, np.uint8)


def contrast(field: F32, gain: float) -> F32:
    """Stretch a field about 0.5 and clip it."""
    return np.asarray(np.clip(0.5 + (field - 0.5) * gain, 0.0, 1.0), np.float32)


def ramp(field: F32, stops: Stops) -> U8:
    """Colour a field in [0, 1]: [H, W] becomes [H, W, 3]."""
    positions = [position for position, _ in stops]
    steps = np.linspace(0.0, 1.0, 1024)
    table = np.stack(
        [np.interp(steps, positions, [rgb(c)[channel] for _, c in stops]) for channel in range(3)],
        axis=1,
    )
    index = np.clip(field * 1023.0, 0, 1023).astype(np.int32)
    return np.asarray(table[index], np.uint8)


def colour_table(stops: Stops) -> U8:
    """The colours of 256 values [256, 1, 3], for `pipelines.demo.canvas.coloured`."""
    return ramp(np.linspace(0, 1, 256, dtype=np.float32)[:, None], stops)


def gradient(width: int, height: int, stops: Stops) -> U8:
    """A picture [height, width, 3] whose colour runs from top to bottom."""
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    return np.repeat(ramp(rows, stops), width, axis=1)


def mixed(bottom: U8, top: U8 | tuple[int, int, int], weight: F32) -> U8:
    """Blend a picture or a plain colour over a picture; `weight` is [H, W] or broadcasts to it."""
    lower = bottom.astype(np.float32)
    upper = np.asarray(top, np.float32)
    return np.asarray(lower + (upper - lower) * weight[..., None], np.uint8)


def lit(picture: U8, relief: F32, strength: float = 0.2, azimuth: float = 0.6) -> U8:
    """Shade a picture as if `relief` were its height, with light from one side.

    Args:
        picture: [H, W, 3].
        relief: height [H, W], in any unit.
        strength: standard deviation of the shading, as a share of the picture's own light.
        azimuth: direction of the light, radians from the left edge towards the top.
    """
    across = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3)
    slope = across * np.cos(azimuth) + down * np.sin(azimuth)
    light = np.clip(1.0 + slope * (strength / max(float(slope.std()), 1e-6)), 0.4, 1.5)
    return dappled(picture, np.asarray(light, np.float32))


def grain(rng: np.random.Generator, picture: U8, amount: float = 0.12) -> U8:
    """Fine natural texture, which keeps plain areas from looking like plastic."""
    height, width = picture.shape[:2]
    field = fractal(rng, width, height, slope=0.6, largest=40.0)
    return dappled(picture, 1.0 + amount * 4 * (field - 0.5))


def dappled(picture: U8, light: F32) -> U8:
    """Multiply a picture [H, W, 3] by a light [H, W]."""
    return np.asarray(np.clip(picture * light[..., None], 0, 255), np.uint8)


def radial(width: int, height: int, x: float, y: float, radius: float, power: float = 2.0) -> F32:
    """A soft light [height, width]: 1 at (x, y), falling to 0 at `radius` pixels."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(columns - x, rows - y) / radius
    return np.asarray(np.clip(1.0 - distance, 0.0, 1.0) ** power, np.float32)


def cloudy(
    rng: np.random.Generator,
    width: int,
    height: int,
    sky: Stops,
    *,
    cloud: str = "#ffffff",
    shade: str = "#9fb0c4",
    cover: float = 0.5,
) -> U8:
    """A sky with clouds, lit from above [height, width, 3].

    Args:
        rng: source of the clouds.
        width: columns.
        height: rows.
        sky: colours from the zenith to the horizon.
        cloud: colour of their lit side.
        shade: colour of their shadow side.
        cover: how much of the sky they fill, 0 to 1.
    """
    field = fractal(rng, width, height, slope=1.75, largest=height * 0.55, stretch=2.2)
    thickness = np.clip((field - 0.72 + 0.42 * cover) * 5.0, 0.0, 1.0)
    above = np.roll(thickness, max(2, height // 28), axis=0)
    body = ramp(np.clip(0.35 + 1.1 * (thickness - above) + 0.4 * field, 0, 1), [
        (0.0, shade), (0.7, cloud), (1.0, cloud),
    ])  # fmt: skip
    return mixed(gradient(width, height, sky), body, np.asarray(thickness * 0.95, np.float32))


def ridge(
    rng: np.random.Generator, width: int, base: float, height: float, *, slope: float = 1.5
) -> F32:
    """The row of a ridge in each column [width]; its crests stand `height` above row `base`."""
    profile = fractal(rng, width, 1, slope=slope, largest=width / 3)[0]
    profile = (profile - profile.min()) / (profile.max() - profile.min())
    return np.asarray(base - height * profile, np.float32)


def below(profile: F32, height: int) -> tuple[F32, F32]:
    """Depth under a ridge [height, W] in pixels, and its anti-aliased mask in [0, 1]."""
    depth = np.arange(height, dtype=np.float32)[:, None] - profile[None, :]
    return depth, np.clip(depth + 0.5, 0.0, 1.0).astype(np.float32)


def layer(picture: U8, alpha: F32) -> U8:
    """Put colour [H, W, 3] and opacity [H, W] together: [H, W, 4], colour not premultiplied."""
    return np.dstack([picture, (np.clip(alpha, 0, 1) * 255).astype(np.uint8)])
