"""Which way up a coded picture is shown, from the display matrix that travels with its frames.

Phones turn pictures by quarters and front cameras mirror them. Whatever else a matrix can say
(skewed or odd angles) is rounded to the nearest quarter: scaling and shearing would cost sharpness
and no camera asks for it.
"""

import math
from typing import cast

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

U8 = npt.NDArray[np.uint8]


def orientation_of(frame: VideoFrame) -> tuple[int, bool]:
    """How to turn the coded picture right side up.

    Returns:
        degrees clockwise (0, 90, 180 or 270), and whether to flip it left to right before that.
    """
    try:
        side_data = cast("SideDataContainer", frame.side_data)  # PyAV's stub knows one kind only
    except ValueError:  # PyAV lists none of it when FFmpeg attached a kind that it does not know
        return round(-frame.rotation / 90) * 90 % 360, False
    if Type.DISPLAYMATRIX not in side_data:
        return 0, False
    # Row vectors: (x, y) goes to (a x + c y, b x + d y), y pointing down.
    a, b, _, c, d = (
        int(v) for v in np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)[:5]
    )
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, mirrored


def upright(picture: U8, rotation: int, mirrored: bool) -> U8:
    """Turn a picture or plane [H, W, ...] as `orientation_of` says."""
    flipped = picture[:, ::-1] if mirrored else picture
    return np.ascontiguousarray(np.rot90(flipped, -rotation // 90))
