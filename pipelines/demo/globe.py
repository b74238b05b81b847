"""A turning ball with a picture wrapped round it, lit from one side.

Where each pixel of the disc lies on the ball is worked out once; a frame turns those places and
reads the picture there, which costs little more than pasting it.
"""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import F32, U8, over


class Globe:
    """A textured ball.

    Args:
        skin: longitude by latitude picture [h, w, 4], colour not premultiplied.
        radius: of the ball in pixels.
        light: direction towards the light, (right, down, towards the viewer).
        ambient: brightness of the side in shadow.
        gloss: strength of the highlight.
    """

    def __init__(
        self,
        skin: U8,
        radius: float,
        *,
        light: tuple[float, float, float],
        ambient: float = 0.16,
        gloss: float = 0.0,
    ) -> None:
        reach = math.ceil(radius) + 1
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32) / radius
        distance = np.hypot(rows, columns)
        shrink = np.where(distance > 1, 1 / np.maximum(distance, 1e-6), 1)
        self._x, self._y = columns * shrink, rows * shrink
        self._z = np.sqrt(np.clip(1 - self._x**2 - self._y**2, 0, 1))
        self._skin = skin
        self._reach = reach
        towards = np.asarray(light) / np.linalg.norm(light)
        facing = self._x * towards[0] + self._y * towards[1] + self._z * towards[2]
        self._shade = (ambient + (1 - ambient) * np.clip(facing, 0, 1)).astype(np.float32)
        middle = towards + np.asarray((0.0, 0.0, 1.0))
        middle /= np.linalg.norm(middle)
        mirror = self._x * middle[0] + self._y * middle[1] + self._z * middle[2]
        self._gloss = (255 * gloss * np.clip(mirror, 0, 1) ** 60).astype(np.float32)
        self._alpha = np.clip((1 - distance) * radius + 0.5, 0, 1).astype(np.float32)

    def place(
        self, frame: U8, x: float, y: float, turn: float, *, tilt: float = 0.0, pitch: float = 0.0
    ) -> None:
        """Draw it, its middle at the whole pixel nearest to (x, y).

        Args:
            frame: to draw into.
            x: column.
            y: row.
            turn: rotation about its axis in radians.
            tilt: clockwise lean of the axis in radians.
            pitch: rotation towards the viewer in radians (a ball that rolls).
        """
        left, top = round(x) - self._reach, round(y) - self._reach
        side = 2 * self._reach + 1
        rows = slice(max(0, top), max(0, min(frame.shape[0], top + side)))
        columns = slice(max(0, left), max(0, min(frame.shape[1], left + side)))
        region = frame[rows, columns]
        if region.size == 0:
            return
        part = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        seen = self._seen(part, turn, tilt, pitch)
        region[:] = over(np.ascontiguousarray(region), seen)

    def _seen(self, part: tuple[slice, slice], turn: float, tilt: float, pitch: float) -> U8:
        x, y, z = self._x[part], self._y[part], self._z[part]
        x, y = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
        y, z = y * math.cos(pitch) - z * math.sin(pitch), z * math.cos(pitch) + y * math.sin(pitch)
        height, width = self._skin.shape[:2]
        longitude: F32 = np.asarray(np.arctan2(x, z) - turn, np.float32)
        latitude: F32 = np.asarray(np.arcsin(np.clip(y, -1, 1)), np.float32)
        skin = cv2.remap(
            self._skin,
            longitude % (2 * math.pi) * (width / (2 * math.pi)),
            (latitude / math.pi + 0.5) * (height - 1),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        colour = skin[..., :3] * self._shade[part][..., None] + self._gloss[part][..., None]
        alpha = skin[..., 3] * self._alpha[part]
        return np.dstack([np.minimum(colour, 255), alpha]).astype(np.uint8)
