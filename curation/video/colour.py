"""What a decoded frame's numbers mean: matrix and range, and the way to full-range BGR.

Measurements are made on full-range 8-bit values, because the luma range alone moves a Laplacian
variance by (255/219)² = 1.36.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

# ITU-T H.273 code points.
_MATRICES = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}
_TRANSFER_PQ, _TRANSFER_HLG = 16, 18
_RANGE_FULL = 2
_LUMA_WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114), "bt2020": (0.2627, 0.0593)}
_HD_HEIGHT = 720


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

    def luma_table(self) -> npt.NDArray[np.uint8]:
        """Lookup table [256] from coded luma to full-range 8-bit luma."""
        code = np.arange(256.0)
        scale = 1.0 if self.full_range else 255 / 219
        return np.clip(np.rint((code - self.black) * scale), 0, 255).astype(np.uint8)


def colour_space_of(frame: VideoFrame) -> ColourSpace:
    """Read a frame's matrix and range; what is untagged is taken as players take it.

    Untagged films are BT.709 from 720 lines on and BT.601 below; the range is limited unless the
    pixel format says otherwise.
    """
    guess = "bt709" if frame.height >= _HD_HEIGHT else "bt601"
    full = frame.color_range == _RANGE_FULL or frame.format.name.startswith("yuvj")
    return ColourSpace(matrix=_MATRICES.get(int(frame.colorspace), guess), full_range=full)


def is_hdr(frame: VideoFrame) -> bool:
    """True for the PQ and HLG transfer curves."""
    return int(frame.color_trc) in (_TRANSFER_PQ, _TRANSFER_HLG)
