"""Clarity: how much fine detail a clip shows (Appendix B: the Laplacian operator).

The variance of a picture's Laplacian grows with detail, but with noise and overlaid text too: the
trade-off for a number that costs a millisecond and needs no model. Every picture is brought
to the same size first, because the resize alone moves the number by a quarter and more. Films that
are smaller than that are not enlarged and score high for it: a bound on size comes first.

Scan half: `clarity_of`. Derive half: `clip_clarity`. The unit is squared grey levels of full-range
8-bit luma; the range is 0 (flat) to 1020² = 1 040 400 (a checkerboard of black and white pixels).
"""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

NO_SAMPLE = "no_sample_inside_clip"


@dataclasses.dataclass(frozen=True, slots=True)
class ClipClarity:
    """A clip's clarity over its samples, named as in `curation.records.ClipRow`."""

    clarity_mean: float
    clarity_min: float
    clarity_p10: float
    """10th percentile, interpolated linearly between the two nearest samples."""


def clarity_of(luma: npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of one picture.

    With L(x, y) = I(x+1, y) + I(x-1, y) + I(x, y+1) + I(x, y-1) - 4 I(x, y) at every pixel that has
    four neighbours (at the rim they would be made up), clarity = mean L² - (mean L)².

    Args:
        luma: [h, w], full-range 8 bit, content borders cut off, area-averaged to a short side of
            480 or smaller by itself; at least 3 x 3.
    """
    assert min(luma.shape) >= 3
    # The kernel for ksize 1 needs 11 bits; in 16-bit integers both sums below are exact, so the
    # result does not depend on the order in which a library adds.
    laplacian = cv2.Laplacian(luma, cv2.CV_16S, ksize=1)[1:-1, 1:-1]
    _, deviation = cv2.meanStdDev(laplacian)
    return float(deviation[0, 0]) ** 2


def clip_clarity(samples: npt.NDArray[np.float64]) -> ClipClarity | None:
    """A clip's clarity.

    Args:
        samples: `clarity_of` the frames sampled inside the clip.

    Returns:
        None (`NO_SAMPLE`) when there is no sample.
    """
    if samples.size == 0:
        return None
    return ClipClarity(
        clarity_mean=float(samples.mean()),
        clarity_min=float(samples.min()),
        clarity_p10=float(np.percentile(samples, 10, method="linear")),
    )
