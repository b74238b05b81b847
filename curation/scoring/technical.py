"""The technical score: four published no-reference measures, for recipes without weights.

It tells a faded, murky or blurred picture from a vivid and sharp one. It is NOT an aesthetic model:
nobody's taste went into it, it knows neither subject nor composition, and noise in bright colours
scores high. It has its own name and column, and is never compared with LAION's score.

Of one picture (evidence: 288 lines; R, G, B and luma Y of 0 to 255):

* colourfulness M (Hasler and Süsstrunk, 2003): with rg = R - G and yb = (R + G) / 2 - B,
  M = sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)² + mean(yb)²); 33 is "moderately colourful".
* contrast C (Peli, 1990): "RMS contrast", the standard deviation of Y / 255; 0 to 0.5.
* exposure E (Mertens, Kautz and Van Reeth, 2007): mean of exp(-(Y/255 - 0.5)² / (2 · 0.2²)), how
  well exposed the pixels are; 0 to 1.
* sharpness S (Pech-Pacheco et al., 2000): variance of the Laplacian of Y.

score = 10 · (M / (M + 33) + C / (C + 0.2) + E + S / (S + 200)) / 4, from 0 to below 10. Each term
lies in [0, 1]; 33, 0.2 and 200 bring an ordinary picture to the middle of its term.
"""

import cv2
import imagehash
import numpy as np
from PIL import Image

from curation.scoring.frames import F32, U8, Judged, tells_something

HALF_COLOUR, HALF_CONTRAST, HALF_SHARPNESS = 33.0, 0.2, 200.0
_WELL_EXPOSED_WIDTH = 0.2

HASH_SIDE = 12
HASH_BITS = HASH_SIDE * HASH_SIDE


class TechnicalScorer:
    """Judges pictures by formula; its hashes find near-duplicates without a model.

    The hashes are pHash of the library imagehash: signs of a DCT's low frequencies about their
    median. They survive coding, scaling and small shifts, and fall to crops, mirrors, rotations
    and overlays.
    """

    def judge(self, pictures: list[U8]) -> Judged:
        """See `curation.scoring.frames.Scorer.judge`."""
        return Judged(
            scores=np.array([technical_score(picture) for picture in pictures], np.float32),
            telling=np.array([tells_something(picture) for picture in pictures], np.bool_),
            hashes=np.stack([perceptual_hash(picture) for picture in pictures]),
        )


def technical_score(picture: U8) -> float:
    """Score of one picture [h, w, 3], BGR: 0 to below 10."""
    luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
    colour, contrast, sharp = colourfulness(picture), float(luma.std()) / 255, sharpness(luma)
    terms = (
        colour / (colour + HALF_COLOUR),
        contrast / (contrast + HALF_CONTRAST),
        well_exposed(luma),
        sharp / (sharp + HALF_SHARPNESS),
    )
    return 10 * sum(terms) / len(terms)


def colourfulness(picture: U8) -> float:
    """Hasler and Süsstrunk's M of a picture [h, w, 3], BGR."""
    blue, green, red = np.moveaxis(picture.astype(np.float32), 2, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(_deviation(rg), _deviation(yb)) + 0.3 * np.hypot(_mean(rg), _mean(yb)))


def well_exposed(luma: U8) -> float:
    """Mean over a picture's luma of Mertens' weight for exposure."""
    level = np.arange(256) / 255
    weight = np.exp(-((level - 0.5) ** 2) / (2 * _WELL_EXPOSED_WIDTH**2))
    counts = np.bincount(luma.ravel(), minlength=256)
    return float(counts @ weight / luma.size)


def sharpness(luma: U8) -> float:
    """Variance of the Laplacian at every pixel that has four neighbours."""
    laplacian = cv2.Laplacian(luma, cv2.CV_16S, ksize=1)[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64))


def perceptual_hash(picture: U8) -> U8:
    """The hash of a picture [h, w, 3], BGR: `HASH_BITS` bits, eight to a byte."""
    rgb = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.packbits(imagehash.phash(rgb, hash_size=HASH_SIDE).hash)


def _mean(values: F32) -> float:
    return float(values.mean(dtype=np.float64))


def _deviation(values: F32) -> float:
    return float(values.std(dtype=np.float64))
