"""Turn a decoded frame into the picture a viewer would see: cropped, square pixels, right side up.

The result stays 4:2:0 with its own colour matrix and limited range; a frame that needs nothing is
passed on untouched. Scaling is swscale's Lanczos, bit-exact, so that it gives the same bytes on
every processor.
"""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from curation.video.film import FilmInfo, Frame
from curation.video.geometry import Box
from curation.video.orientation import upright

_SCALER = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def conform(frame: Frame, info: FilmInfo, box: Box, size: tuple[int, int]) -> VideoFrame:
    """Crop, scale, rotate and bring to limited range.

    Args:
        frame: a decoded frame.
        info: its film.
        box: the part of the coded picture that is kept; even.
        size: what `packed_size` gave.

    Returns:
        A yuv420p frame of `size`.
    """
    picture = frame.raw
    if (box.width, box.height) != (picture.width, picture.height):
        picture = _crop(frame, box)
    coded_size = size[::-1] if info.rotation in (90, 270) else size
    if (picture.width, picture.height) != coded_size or info.colour.full_range:
        picture = picture.reformat(
            width=coded_size[0],
            height=coded_size[1],
            format="yuv420p",
            interpolation=_SCALER,
            src_color_range="JPEG" if info.colour.full_range else "MPEG",
            dst_color_range="MPEG",
            threads=1,
        )
    if info.rotation or info.mirrored:
        picture = _turn(picture, info)
    return picture


def _crop(frame: Frame, box: Box) -> VideoFrame:
    half = Box(box.x // 2, box.y // 2, box.width // 2, box.height // 2)
    parts = [
        plane[part.y : part.y + part.height, part.x : part.x + part.width]
        for plane, part in zip(frame.planes(), (box, half, half), strict=True)
    ]
    return _from_planes(parts)


def _turn(picture: VideoFrame, info: FilmInfo) -> VideoFrame:
    planes = Frame(index=0, pts=0, key=False, raw=picture).planes()
    return _from_planes([upright(plane, info.rotation, info.mirrored) for plane in planes])


def _from_planes(planes: "list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]]") -> VideoFrame:
    height, width = planes[0].shape
    packed = np.concatenate([np.ascontiguousarray(plane).ravel() for plane in planes])
    return VideoFrame.from_ndarray(packed.reshape(height * 3 // 2, width), format="yuv420p")
