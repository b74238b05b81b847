"""Sizes and boxes: from the coded picture to what a viewer sees. Pure arithmetic."""

import dataclasses
from fractions import Fraction

from curation.errors import FilmError
from curation.records import VideoRow


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the coded picture, in pixels; offsets and sizes are even (4:2:0)."""

    x: int
    y: int
    width: int
    height: int


def display_size(box: Box, sample_aspect: Fraction, rotation: int) -> tuple[int, int]:
    """Width and height in square pixels, right side up, of a box in the coded picture.

    The side that the sample aspect would shrink keeps its lines and the other is stretched, so that
    no resolution is thrown away.
    """
    width, height = box.width, box.height
    if sample_aspect >= 1:
        width = max(1, round(width * sample_aspect))
    else:
        height = max(1, round(height / sample_aspect))
    return (height, width) if rotation in (90, 270) else (width, height)


def packed_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Even size of a packed picture.

    Args:
        width: displayed width.
        height: displayed height.
        short_side: shrink the shorter side to this; never enlarges. None keeps the size.
    """
    if short_side is not None and min(width, height) > short_side:
        scale = short_side / min(width, height)
        width, height = round(width * scale), round(height * scale)
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


def content_box(video: VideoRow) -> Box:
    """The part of the coded picture inside a film's borders.

    Raises:
        FilmError: ``not_scanned``, the row is of a film that was quarantined.
    """
    x, y, width, height = video.crop_x, video.crop_y, video.crop_width, video.crop_height
    if x is None or y is None or width is None or height is None:
        raise FilmError(
            "not_scanned",
            f"the row of film {video.video_id} is {video.status} and knows no picture; curate the "
            "film again with --retry",
            transient=True,
        )
    return Box(x, y, width, height)


def content_size(video: VideoRow) -> tuple[int, int]:
    """Even displayed size of a film's content, its own resolution kept.

    Raises:
        FilmError: as `content_box`.
    """
    box = content_box(video)
    assert video.sample_aspect is not None
    assert video.rotation is not None
    numerator, denominator = video.sample_aspect.split(":")
    aspect = Fraction(int(numerator), int(denominator))
    return packed_size(*display_size(box, aspect, video.rotation), None)
