"""An endless plane in perspective: a floor, a road, the sea.

Which texel each pixel shows is worked out once; a frame shifts those places and reads the texture
again. Rows far away read a smaller copy of it, and copies are not blended into each other: a
faint seam where the size changes is the price of one read per pixel.
"""

import math

import cv2
import numpy as np

from pipelines.demo.canvas import U8, Size


class Ground:
    """An endless textured plane seen from above it, down from the horizon of the frame.

    The camera stands one unit above the plane. Rows near the horizon read smaller copies of the
    texture, as else they would glitter.

    Args:
        texture: one tile, [h, w] or [h, w, 3]; its sides are powers of two.
        size: of the frame.
        horizon: row of the frame where the plane ends.
        texels: texture pixels in one unit.
        focal: focal length as a share of the frame's height.
        bend: sideways bend of far rows (a winding road), in units per squared unit of depth.
    """

    def __init__(
        self,
        texture: U8,
        size: Size,
        horizon: float,
        *,
        texels: float = 64.0,
        focal: float = 1.0,
        bend: float = 0.0,
    ) -> None:
        self.top = math.ceil(horizon + 1)
        self.size = size
        self.texels = texels
        self._bend = bend
        self._horizon = horizon
        self._period = texture.shape[0]
        rows = np.arange(self.top, size.height, dtype=np.float32) + 0.5 - horizon
        self._length = length = focal * size.height
        self.depth = np.minimum(length / rows, 200.0)
        columns = (np.arange(size.width, dtype=np.float32) + 0.5 - size.width / 2) / length
        self._across = columns[None, :] * self.depth[:, None] + bend * self.depth[:, None] ** 2
        footprint = texels * self.depth / length * np.sqrt(self.depth)
        levels = np.clip(np.floor(np.log2(np.maximum(footprint, 1.0))), 0, 5).astype(int)
        # Runs of rows that read the same copy: first row, end, level; levels fall towards us.
        starts = np.flatnonzero(np.diff(levels, prepend=-1)).tolist()
        ends = [*starts[1:], len(levels)]
        self._bands = [(a, b, int(levels[a])) for a, b in zip(starts, ends, strict=True)]
        self._mips = [texture]
        for _ in range(int(levels.max())):
            half = (self._mips[-1].shape[1] // 2, self._mips[-1].shape[0] // 2)
            small = cv2.resize(self._mips[-1], half, interpolation=cv2.INTER_AREA)
            self._mips.append(np.asarray(small, np.uint8))

    def view(self, forward: float, side: float = 0.0) -> U8:
        """The plane's rows of the frame [H - top, W(, 3)] after moving that many units."""
        ahead = forward * self.texels % self._period
        aside = side * self.texels % self._mips[0].shape[1]
        parts = []
        for first, last, level in self._bands:
            share = 0.5**level
            columns = (self._across[first:last] * self.texels + aside) * share
            rows = (-self.depth[first:last] * self.texels - ahead) * share
            part = cv2.remap(
                self._mips[level],
                columns,
                np.repeat(rows[:, None], self.size.width, axis=1),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
            parts.append(np.asarray(part, np.uint8))
        return np.concatenate(parts)

    def project(self, side: float, height: float, depth: float) -> tuple[float, float, float]:
        """Where a point of the world stands in the frame: column, row and pixels in one unit.

        Args:
            side: units to the right of the camera.
            height: units above the plane.
            depth: units ahead of the camera.
        """
        pixels = self._length / depth
        across = side - self._bend * depth**2
        return self.size.width / 2 + across * pixels, self._horizon + (1 - height) * pixels, pixels
