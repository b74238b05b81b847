"""Small pictures of a clip, side by side in one JPEG, made from its evidence frames.

One picture per clip, and not one per frame: a browser decodes it once and the pointer only moves
it. No film is opened; the price is that a strip shows the moments that the scan kept (every 0.5 s).
"""

import dataclasses
import io

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True, slots=True)
class StripSize:
    """How large strips are: smaller ones when there are many."""

    frames: int
    height: int
    """Of each frame, in pixels."""
    quality: int
    """Of the JPEG."""


_LADDER = (StripSize(8, 162, 74), StripSize(6, 126, 68), StripSize(5, 96, 62))
_BYTES_PER_PIXEL = 0.16
"""A rough measure of detailed pictures at these qualities; the page's limit is kept besides."""


@dataclasses.dataclass(frozen=True, slots=True)
class Strip:
    """The frames of a clip in one picture."""

    jpeg: bytes
    frames: int
    width: int
    """Of one frame, in pixels."""
    height: int


def strip_size(clips: int, budget: int) -> StripSize:
    """The largest size at which this many strips fit into a number of bytes, by estimate."""
    for size in _LADDER:
        pixels = size.frames * size.height**2 * 16 / 9
        if clips * pixels * _BYTES_PER_PIXEL <= budget:
            return size
    return _LADDER[-1]


def spread(frames: list[int], count: int) -> list[int]:
    """At most `count` of the frames, evenly through the list, the first and last half a step in."""
    if len(frames) <= count:
        return frames
    places = (np.arange(count) + 0.5) * len(frames) / count
    return [frames[int(place)] for place in places]


def strip_of(jpegs: list[bytes], size: StripSize) -> Strip:
    """Put evidence frames side by side, shrunk to the strip's height.

    Args:
        jpegs: the frames, all of one size, at least one.
        size: how large.
    """
    pictures = [_shrunk(jpeg, size.height) for jpeg in jpegs]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * len(pictures), height))
    for place, picture in enumerate(pictures):
        sheet.paste(picture.resize((width, height)), (place * width, 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=size.quality, optimize=True, progressive=False)
    return Strip(buffer.getvalue(), len(pictures), width, height)


def _shrunk(jpeg: bytes, height: int) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as picture:
        aspect = picture.width / picture.height
        picture.draft("RGB", (height * 2, height * 2))
        whole = picture.convert("RGB")
    return whole.resize((max(1, round(height * aspect)), height), Image.Resampling.LANCZOS)
