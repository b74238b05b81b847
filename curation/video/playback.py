"""A film as somebody would see it on a screen of one size at 24 frames per second.

For work on pictures (conditioning a generation), not for curation: nothing is measured and nothing
is recorded. The picture fills the screen, and what does not fit is cut off evenly on both sides.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from curation.video.colour import ColourSpace
from curation.video.conform import conform
from curation.video.film import Film, FilmInfo
from curation.video.geometry import Box
from curation.video.retime import PACKED_RATE

_SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_MATRICES = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}


def played(
    film: Film, width: int, height: int, *, rate: int = PACKED_RATE, threads: int = 1
) -> Iterator[VideoFrame]:
    """Frames of a constant rate and one size, limited-range yuv420p in the film's own matrix.

    Frame k shows the source frame with the greatest PTS <= t0 + k / rate, as in packed samples.

    Args:
        film: to play.
        width: of the screen, even.
        height: of the screen, even.
        rate: frames per second.
        threads: decoder threads; one gives the same frames of a damaged film each time.

    Raises:
        FilmError: the film cannot be read on.
    """
    info, box = film.info, _filling(film.info, width, height)
    shown: VideoFrame | None = None
    first = last = emitted = 0
    for frame in film.frames(threads=threads):
        first = frame.pts if shown is None else first
        while shown is not None and Fraction(emitted, rate) < (frame.pts - first) * info.time_base:
            yield shown
            emitted += 1
        last = frame.pts
        # A copy: the decoder may use the picture's memory for the next.
        picture = conform(frame, info, box, (width, height)).to_ndarray(format="yuv420p")
        shown = VideoFrame.from_ndarray(picture, format="yuv420p")
    end = (last - first) * info.time_base + 1 / info.nominal_fps
    while shown is not None and Fraction(emitted, rate) < end:
        yield shown
        emitted += 1


def rgb_of(frame: VideoFrame, colour: ColourSpace) -> npt.NDArray[np.uint8]:
    """A frame of `played` as full-range red, green and blue `[H,W,3]`."""
    picture = frame.reformat(
        format="rgb24",
        interpolation=_SCALER,
        src_colorspace=_MATRICES[colour.matrix],
        dst_colorspace=_MATRICES[colour.matrix],
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    return picture.to_ndarray().astype(np.uint8, copy=False)


def _filling(info: FilmInfo, width: int, height: int) -> Box:
    """The largest centred part of the coded picture that has the screen's shape."""
    whole = info.whole
    shape = Fraction(width, height)
    if info.rotation in (90, 270):
        shape = 1 / shape
    coded = shape / info.sample_aspect
    wide = min(whole.width, int(whole.height * coded)) // 2 * 2
    high = min(whole.height, int(whole.width / coded)) // 2 * 2
    wide, high = max(wide, 2), max(high, 2)
    return Box((whole.width - wide) // 4 * 2, (whole.height - high) // 4 * 2, wide, high)
