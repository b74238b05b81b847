"""Exposure and borders: how light a clip is, and where inside the frame its picture lies.

Scan half: `exposure_of`, a picture → `ExposureSample`; `content_box`, a few whole frames → the
picture without its letterbox or pillarbox bars, and `lit_sides`, which says when to stop looking.
Derive half: `clip_exposure`.

The border finder is biased towards doing nothing. A bar that stays costs some picture quality; a
crop that is wrong changes the composition of every frame of the film, and nobody sees it happen.
So a border goes only where all of this holds: its lines are near-black and flat in every frame
looked at; it ends at a straight edge with clear picture behind it; the opposite border is as wide,
because a picture is centred when it is fitted into a frame; and enough picture is left. A dark
sky, a black frame, a night film, a title card, subtitles or a logo inside a bar fail one of these,
and the frame stays whole.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

NO_SAMPLE = "no_sample_inside_clip"

SHADOW_LEVEL, HIGHLIGHT_LEVEL = 4, 251
"""Full-range luma at and beyond which a pixel counts as clipped; encoders do not hit 0 and 255."""

# Borders; levels are luma codes above black, of the brightest that any frame shows at a pixel.
_BAR_LEVEL = 12  # coding noise and ringing inside a bar stay below
_BAR_MEAN = 6.0  # a bar is black on the whole, not merely dark
_STRAY_SHARE = 0.01  # of a bar's line may be lighter: hot pixels, ringing at its ends
_PICTURE_LEVEL = 16  # more than a bar could be
_EDGE_SHARE = 0.5  # of a line behind the edge must be picture
_EDGE_WITHIN = 0.01  # of the side: rescaling and coding blur an edge
_CENTRED_WITHIN = 0.02  # of the side
_CROPPED_MAX = 0.7  # of the area: an upright film in a 16:9 frame loses 68 %


@dataclasses.dataclass(frozen=True, slots=True)
class ExposureSample:
    """Of one picture, full-range luma 0 to 255."""

    luma_mean: float
    luma_std: float
    """Standard deviation over the picture: its contrast."""
    shadows_clipped: float
    """Share of pixels at `SHADOW_LEVEL` or below."""
    highlights_clipped: float
    """Share of pixels at `HIGHLIGHT_LEVEL` or above."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClipExposure:
    """Means of a clip's `ExposureSample`s, named as in `curation.records.ClipRow`."""

    luma_mean: float
    luma_std: float
    shadows_clipped: float
    highlights_clipped: float


def exposure_of(luma: U8) -> ExposureSample:
    """Measure one picture.

    Args:
        luma: [h, w], full-range 8 bit, content borders cut off.
    """
    counts = cv2.calcHist([luma], [0], None, [256], [0.0, 256.0]).ravel().astype(np.int64)
    # Sums of integers: exact, in whatever order they are added.
    level = np.arange(256)
    pixels, total = luma.size, int((counts * level).sum())
    squares = int((counts * level * level).sum())
    return ExposureSample(
        luma_mean=total / pixels,
        luma_std=math.sqrt(squares * pixels - total * total) / pixels,
        shadows_clipped=int(counts[: SHADOW_LEVEL + 1].sum()) / pixels,
        highlights_clipped=int(counts[HIGHLIGHT_LEVEL:].sum()) / pixels,
    )


def clip_exposure(samples: Mapping[str, F64]) -> ClipExposure | None:
    """A clip's exposure.

    Args:
        samples: the fields of `ExposureSample` of the frames sampled inside the clip, by name.

    Returns:
        None (`NO_SAMPLE`) when there is no sample.
    """
    if samples["luma_mean"].size == 0:
        return None
    return ClipExposure(
        **{
            field.name: float(samples[field.name].mean())
            for field in dataclasses.fields(ClipExposure)
        }
    )


def content_box(lumas: Sequence[U8], black: int) -> tuple[int, int, int, int]:
    """Find the picture inside letterbox and pillarbox bars.

    Args:
        lumas: luma planes [h, w] as coded, all of one size, from frames spread over the film.
        black: the luma code of black: 0 in full range, 16 in limited range.

    Returns:
        x, y, width and height of the picture; offsets and sizes are even (4:2:0), rounded into the
        picture so that no dark line remains. The whole frame where there is any doubt.
    """
    assert lumas
    brightest = np.maximum.reduce(lumas)
    height, width = brightest.shape
    # Bars along one side lie inside the lines of the other, so each side is judged without them.
    columns = _between_bars(brightest.T, black)
    rows = _between_bars(brightest[:, columns], black)
    if not _is_fitted(brightest[:, columns], rows, black):
        rows = slice(0, height)
    if not _is_fitted(brightest[rows].T, columns, black):
        columns = slice(0, width)
    (x, box_width), (y, box_height) = _even(columns), _even(rows)
    # Dark all around, and seen only once: that may be a title card.
    card = x > 0 and y > 0 and all(np.array_equal(luma, lumas[0]) for luma in lumas[1:])
    if card or box_width * box_height < (1 - _CROPPED_MAX) * width * height:
        return 0, 0, width // 2 * 2, height // 2 * 2
    return x, y, box_width, box_height


def lit_sides(luma: U8, black: int) -> npt.NDArray[np.bool_]:
    """[4] whether the outermost line at the top, bottom, left and right is no part of a bar.

    A bar is dark in every frame, so once frames have lit all four sides between them, `content_box`
    gives the whole frame whatever else is looked at.
    """
    rows, columns = luma[[0, -1]], luma[:, [0, -1]].T
    return np.concatenate([_lit(rows, black), _lit(columns, black)])


def _lit(lines: U8, black: int) -> npt.NDArray[np.bool_]:
    """[n] whether each of n lines is too light for a bar."""
    stray = np.mean(lines > black + _BAR_LEVEL, axis=1)
    level = lines.mean(axis=1, dtype=np.float64)
    return np.asarray((stray > _STRAY_SHARE) | (level > black + _BAR_MEAN))


def _between_bars(brightest: U8, black: int) -> slice:
    """The rows between the dark flat ones at either end; all of them when all are dark."""
    (picture,) = np.nonzero(_lit(brightest, black))
    if picture.size == 0:
        return slice(0, brightest.shape[0])
    return slice(int(picture[0]), int(picture[-1]) + 1)


def _is_fitted(brightest: U8, rows: slice, black: int) -> bool:
    """Whether these rows are what was fitted between two bars: centred, with straight edges."""
    height = brightest.shape[0]
    before, after = rows.start, height - rows.stop
    if abs(before - after) > max(2, _CENTRED_WITHIN * height):
        return False
    lit = np.mean(brightest[rows] > black + _PICTURE_LEVEL, axis=1)
    near = max(2, round(_EDGE_WITHIN * height))
    return bool(min(lit[:near].max(), lit[-near:].max()) >= _EDGE_SHARE)


def _even(span: slice) -> tuple[int, int]:
    """Start and length of a span, rounded inwards to even numbers."""
    start, stop = (span.start + 1) // 2 * 2, span.stop // 2 * 2
    return start, max(0, stop - start)
