"""What a decoded frame's numbers mean: matrix and range, and the way to full-range BGR.

Measurements are made on full-range 8-bit values, because the luma range alone moves a Laplacian
variance by (255/219)² = 1.36.
"""

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

# ITU-T H.273 code points.
_MATRICES = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_TRANSFER_PQ, _TRANSFER_HLG = 16, 18
_UNSPECIFIED = 2
# FFmpeg's, not H.273's
_RANGE_UNSPECIFIED, _RANGE_FULL = 0, 2
_LUMA_WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114), "bt2020": (0.2627, 0.0593)}
_SD_WIDTH, _SD_HEIGHT = 1280, 576


@dataclasses.dataclass(frozen=True, slots=True)
class ColourSpace:
    """How Y, Cb and Cr become red, green and blue."""

    matrix: str
    """'bt601', 'bt709' or 'bt2020'."""
    full_range: bool

    @property
    def black(self) -> int:
        """The luma code of black."""
        return 0 if self.full_range else 16

    @functools.cache  # noqa: B019 - asked for every frame; there are six colour spaces in all
    def to_bgr(self) -> npt.NDArray[np.float64]:
        """The 3x4 matrix for `cv2.transform` from 8-bit (Y, Cb, Cr) to full-range (B, G, R)."""
        kr, kb = _LUMA_WEIGHTS[self.matrix]
        kg = 1.0 - kr - kb
        luma = 1.0 if self.full_range else 255 / 219
        chroma = 1.0 if self.full_range else 255 / 224
        linear = np.array(
            [
                [luma, 2 * (1 - kb) * chroma, 0.0],
                [luma, -2 * kb * (1 - kb) / kg * chroma, -2 * kr * (1 - kr) / kg * chroma],
                [luma, 0.0, 2 * (1 - kr) * chroma],
            ]
        )
        zero = np.array([self.black, 128.0, 128.0])
        return np.hstack([linear, -(linear @ zero)[:, None]])

    @functools.cache  # noqa: B019 - as above
    def luma_table(self) -> npt.NDArray[np.uint8]:
        """Lookup table [256] from coded luma to full-range 8-bit luma."""
        code = np.arange(256.0)
        scale = 1.0 if self.full_range else 255 / 219
        return np.clip(np.rint((code - self.black) * scale), 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True, slots=True)
class ColourTags:
    """What a container, or a frame, says of its colours: code points, perhaps unspecified."""

    matrix: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    value_range: int = _RANGE_UNSPECIFIED

    @classmethod
    def of(cls, source: VideoFrame | VideoCodecContext) -> "ColourTags":
        """Read the tags of a frame, or those of a container from a decoder that has not begun."""
        return cls(int(source.colorspace), int(source.color_trc), int(source.color_range))

    def or_else(self, other: "ColourTags") -> "ColourTags":
        """These tags, and the other's where these say nothing."""
        return ColourTags(
            other.matrix if self.matrix == _UNSPECIFIED else self.matrix,
            other.transfer if self.transfer == _UNSPECIFIED else self.transfer,
            other.value_range if self.value_range == _RANGE_UNSPECIFIED else self.value_range,
        )


def is_rgb(frame: VideoFrame) -> bool:
    """True for red, green and blue samples, palettes and bilevel pictures."""
    layout = frame.format
    return layout.is_rgb or layout.has_palette or layout.name.startswith("mono")


def colour_space_of(frame: VideoFrame, container: ColourTags | None = None) -> ColourSpace:
    """The colour space of a frame's picture once it is 8-bit 4:2:0 (`planar.Planar`).

    The frame's own tags come before the container's. What neither says is taken as players take
    it: BT.709 for pictures larger than standard definition and BT.601 up to it, limited range
    unless the pixel format says otherwise. Gray pictures are full range whatever their tag, as
    FFmpeg has it. Red, green and blue become that same guess, limited range.
    """
    sd = frame.width < _SD_WIDTH and frame.height <= _SD_HEIGHT
    guess = "bt601" if sd else "bt709"
    if is_rgb(frame):
        return ColourSpace(guess, full_range=False)
    tags = ColourTags.of(frame).or_else(container or ColourTags())
    full = tags.value_range == _RANGE_FULL or frame.format.name.startswith(("yuvj", "gray", "ya"))
    return ColourSpace(_MATRICES.get(tags.matrix, guess), full)


def is_hdr(frame: VideoFrame, container: ColourTags | None = None) -> bool:
    """True for the PQ and HLG transfer curves."""
    tags = ColourTags.of(frame).or_else(container or ColourTags())
    return tags.transfer in (_TRANSFER_PQ, _TRANSFER_HLG)
