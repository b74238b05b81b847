"""What passes through several scenes: birds and firs."""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import (
    U8,
    polygon,
    shape,
    stroke,
)
from pipelines.demo.textures import rgb


def birds(frame: U8, t: float, unit: float, lead: tuple[float, float], count: int = 7) -> None:
    """A flock in a V, its wings beating, led by a bird at `lead`."""
    for k in range(count):
        arm = (k + 1) // 2 * (1 if k % 2 else -1)
        x = lead[0] + abs(arm) * 17 * unit + 3 * unit * math.sin(1.3 * t + k)
        y = lead[1] + arm * 9 * unit + 3 * unit * math.sin(1.7 * t + 2 * k)
        beat = math.sin(11 * t + 0.9 * k) * 5 * unit
        span = 9 * unit
        stroke(frame, [(x - span, y - beat), (x - span / 2, y - beat * 0.7 - unit), (x, y),
                       (x + span / 2, y - beat * 0.7 - unit), (x + span, y - beat)],
               rgb("#2a2430"), 1.6 * unit)  # fmt: skip


def firs(
    rng: np.random.Generator,
    width: int,
    height: int,
    colours: tuple[str, str] = ("#12211d", "#2a5a46"),
    *,
    tall: float = 0.2,
) -> U8:
    """A row of firs at the lower edge, [height, width, 4], in colours between the two given."""
    big = np.zeros((height * 2, width * 2, 4), np.uint8)
    dark, light = np.asarray(rgb(colours[0]), float), np.asarray(rgb(colours[1]), float)
    big[..., :3] = rgb(colours[0])
    for x in np.sort(rng.uniform(0, width * 2, round(width / (35 * tall)))):
        rise = rng.uniform(0.55, 1.1) * tall * height * 2
        foot = height * 2 * rng.uniform(0.99, 1.06)
        shade = rng.uniform(0, 0.5)
        for tier in np.linspace(0.0, 0.72, 5):
            tone = dark + (light - dark) * shade * (1.2 - tier)
            half = 0.07 + 0.2 * tier
            polygon(
                big,
                shape(x, foot - rise * (1 - tier), rise, (0, 0), (half, 0.3), (-half, 0.3)),
                (int(tone[0]), int(tone[1]), int(tone[2])),
            )
    return np.asarray(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
