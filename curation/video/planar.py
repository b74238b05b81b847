"""Bring any decoded picture to 8-bit 4:2:0 of one size, the form that everything else works on.

Most films are in that form already and pass untouched. The others go through swscale, bit-exact, so
that they give the same bytes on every processor; what 10-bit and 4:4:4 films hold beyond 8-bit
4:2:0 is given up here, since the packed samples could not carry it.
"""

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from curation.errors import FilmError
from curation.video.colour import ColourSpace, is_rgb

_SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_MATRICES = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}


class Planar:
    """Converts the frames of one film.

    Args:
        width: of every picture that comes out; frames of another size are scaled to it.
        height: likewise.
        colour: what the samples that come out mean.
    """

    def __init__(self, width: int, height: int, colour: ColourSpace) -> None:
        self._size = width, height
        self._matrix = _MATRICES[colour.matrix]
        self._range = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
        self._ready = ("yuv420p", "yuvj420p") if colour.full_range else ("yuv420p",)
        self._scaler = VideoReformatter()

    def convert(self, raw: VideoFrame) -> VideoFrame:
        """The picture as yuv420p (or yuvj420p), `width` x `height`.

        Raises:
            FilmError: ``pixels_unsupported``: no conversion from this frame's pixel format.
        """
        width, height = self._size
        if (raw.width, raw.height) == self._size and raw.format.name in self._ready:
            return raw
        try:
            return self._scaler.reformat(
                raw,
                width=width,
                height=height,
                format="yuv420p",
                interpolation=_SCALER,
                # Both sides are named: a frame's own tags may say less than was made of them, and
                # without a name swscale takes BT.601 for red, green and blue of any size.
                src_colorspace=self._matrix,
                dst_colorspace=self._matrix,
                src_color_range=ColorRange.JPEG if is_rgb(raw) else self._range,
                dst_color_range=self._range,
                threads=1,
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise FilmError(
                "pixels_unsupported", f"{raw.format.name} frames cannot be converted: {error}"
            ) from error
