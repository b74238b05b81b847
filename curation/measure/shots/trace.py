"""What shot detection needs of a frame, measured while the film is decoded, and never a verdict.

A frame leaves six numbers and a thumbnail of 32x18 luma values, 600 bytes in all. The thumbnail is
what lets fades, dissolves, flashes and pans be told apart later without decoding; it costs 50 MB
an hour at 24 fps before compression, and a hundredth of a millisecond a frame.
"""

import dataclasses
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

THUMB_HEIGHT = 18
THUMB_WIDTH = 32
THUMB_BYTES = THUMB_HEIGHT * THUMB_WIDTH

NUMBERS = ("delta_hue", "delta_sat", "delta_lum", "luma_mean", "luma_std", "sharpness")
"""The scalar columns, all float32; `ShotTrace` says what each holds."""

FRAME_TRACE_SCHEMA = pa.schema(
    [pa.field(name, pa.float32(), nullable=False) for name in NUMBERS]
    + [pa.field("thumbnail", pa.binary(THUMB_BYTES), nullable=False)]
)


@dataclasses.dataclass(frozen=True, slots=True)
class ShotTrace:
    """The traces of all N frames of a film, in presentation order."""

    delta_hue: F32
    """[N] Mean absolute difference to the previous frame of 8-bit OpenCV hue (0..179, not
    circular), as PySceneDetect's ContentDetector has it; 0 for the first frame."""
    delta_sat: F32
    """[N] The same of HSV saturation, 0..255."""
    delta_lum: F32
    """[N] The same of HSV value, 0..255."""
    luma_mean: F32
    """[N] Mean luma (BT.601 weights, full range), 0..255."""
    luma_std: F32
    """[N] Standard deviation of luma."""
    sharpness: F32
    """[N] Variance of the Laplacian (ksize 1) of the small picture's luma. Comparable only within
    one film: it depends on the picture's size."""
    thumbnail: U8
    """[N, 18, 32] Area-averaged luma, the whole picture squeezed to this shape."""

    def __len__(self) -> int:
        return len(self.thumbnail)

    @classmethod
    def from_table(cls, table: pa.Table) -> "ShotTrace":
        """Read the columns of `FRAME_TRACE_SCHEMA` out of a table that may have others too."""
        columns = {name: table.column(name).to_numpy() for name in NUMBERS}
        chunks = [_thumbnails(chunk) for chunk in table.column("thumbnail").chunks]
        empty = np.empty((0, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)
        return cls(**columns, thumbnail=np.concatenate([empty, *chunks]))


def _thumbnails(chunk: pa.FixedSizeBinaryArray) -> U8:
    data = np.frombuffer(chunk.buffers()[1], np.uint8)
    first = chunk.offset * THUMB_BYTES
    rows = data[first : first + len(chunk) * THUMB_BYTES]
    return rows.reshape(-1, THUMB_HEIGHT, THUMB_WIDTH)


class FrameTracer:
    """Measures frames one by one; holds only the rows that were not yet taken.

    Args:
        capacity: rows for which memory is set aside at once; more are held if nobody takes them.
    """

    def __init__(self, capacity: int = 1024) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: set aside memory for at least one frame")
        self._capacity = capacity
        self._hsv: U8 | None = None
        self._spare: U8 | None = None
        self._reset()

    def __len__(self) -> int:
        """Rows measured and not yet taken."""
        return self._rows

    def measure(self, bgr: U8) -> None:
        """Measure the next frame.

        Args:
            bgr: uint8 [H, W, 3], full range, borders cropped; the same size for the whole film.
        """
        if self._rows == len(self._numbers):
            self._grow()
        hsv = cast("U8", cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV, dst=self._spare))
        luma = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
        mean, std = cv2.meanStdDev(luma)
        _, edges = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
        row = self._numbers[self._rows]
        row[:3] = self._deltas(hsv)
        row[3:] = mean[0, 0], std[0, 0], edges[0, 0] ** 2
        self._thumbnails[self._rows] = cv2.resize(
            luma, (THUMB_WIDTH, THUMB_HEIGHT), interpolation=cv2.INTER_AREA
        )
        self._rows += 1

    def take(self) -> dict[str, pa.Array]:
        """Hand over the rows held, as one Arrow array per field of `FRAME_TRACE_SCHEMA`."""
        rows, numbers, thumbnails = self._rows, self._numbers, self._thumbnails
        self._reset()
        columns = {
            name: pa.array(np.ascontiguousarray(numbers[:rows, i]))
            for i, name in enumerate(NUMBERS)
        }
        columns["thumbnail"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(THUMB_BYTES), rows, [None, pa.py_buffer(thumbnails[:rows])]
        )
        return columns

    def _deltas(self, hsv: U8) -> tuple[float, float, float]:
        previous, self._hsv = self._hsv, hsv
        if previous is None:
            return 0.0, 0.0, 0.0
        # The difference overwrites the frame before, whose memory then takes the next frame.
        self._spare = cast("U8", cv2.absdiff(hsv, previous, dst=previous))
        sums = cv2.sumElems(self._spare)
        pixels = hsv.shape[0] * hsv.shape[1]
        return sums[0] / pixels, sums[1] / pixels, sums[2] / pixels

    def _reset(self) -> None:
        self._rows = 0
        self._numbers = np.empty((self._capacity, len(NUMBERS)), np.float32)
        self._thumbnails = np.empty((self._capacity, THUMB_HEIGHT, THUMB_WIDTH), np.uint8)

    def _grow(self) -> None:
        self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
        self._thumbnails = np.concatenate([self._thumbnails, np.empty_like(self._thumbnails)])
