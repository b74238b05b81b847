"""How alike two thumbnails are, in ways that light, and things that move, do not upset.

A cut replaces the scene: the texture of nearly every part of the picture is another one afterwards.
A flash changes the brightness and leaves the texture, an overlay changes a part of the picture, and
a passing object uncovers what it hid. So thumbnails are compared tile by tile, each tile by
the correlation of its texture. The price: a cut between two views that share most of their picture
(a jump cut in one framing) looks like one shot.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Int = npt.NDArray[np.intp]
Bool = npt.NDArray[np.bool_]

TILE_HEIGHT = 3
TILE_WIDTH = 4
TEXTURED = 3.0
"""Standard deviation (8-bit levels) from which a tile has texture. Coding noise, averaged over the
pixels behind a thumbnail's value, stays under 1."""
SAME_TEXTURE = 0.7
"""Correlation from which a tile shows the same texture as before."""
GHOST = 0.15
"""Contrast, relative to the other thumbnail's, below which a tile does not show the texture."""
SAME_PATTERN = 0.75
"""Correlation of whole thumbnails, shifted as fits best, from which they show one scene. Measured
between shots of one film at most 0.62, within shots five frames apart mostly above 0.83."""
MAX_RIGHT, MAX_DOWN = 3, 2
"""How far thumbnails are shifted at most (pixels of the thumbnail)."""
FLAT_SHIFT = 12.0
"""Change of a flat tile's level (8-bit) that counts as a change of what it shows."""
BLANK = 2.0
"""Standard deviation of a whole thumbnail below which it shows nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Survival:
    """What became of the tiles between two thumbnails; one value for each of M pairs."""

    share: F32
    """[M] Tiles that survived among those that show something before or after: 0..1. 1 where both
    thumbnails are blank and equally bright."""
    before: F32
    """[M] The same among the tiles that show something before; 0 where none does."""
    after: F32
    """[M] The same among the tiles that show something after; 0 where none does."""


def survival(before: U8, after: U8) -> Survival:
    """Compare M pairs of thumbnails tile by tile.

    Args:
        before: uint8 [M, 18, 32].
        after: uint8 [M, 18, 32].
    """
    level_a, texture_a = _tiles(before)
    level_b, texture_b = _tiles(after)
    std_a = np.sqrt((texture_a**2).mean(-1))
    std_b = np.sqrt((texture_b**2).mean(-1))
    correlation = (texture_a * texture_b).mean(-1) / np.maximum(std_a * std_b, 1e-3)
    shows_a, shows_b = std_a >= TEXTURED, std_b >= TEXTURED
    moved = ~shows_a & ~shows_b & (np.abs(level_a - level_b) >= FLAT_SHIFT)
    # A trace of the old texture below this contrast is the rest of a transition, or a ghost.
    strong = np.minimum(std_a, std_b) >= GHOST * np.maximum(std_a, std_b)
    alive = (shows_a | shows_b) & strong & (correlation >= SAME_TEXTURE)
    return Survival(
        share=_share(alive, shows_a | shows_b | moved, none=1.0),
        before=_share(alive, shows_a | moved, none=0.0),
        after=_share(alive, shows_b | moved, none=0.0),
    )


def same_scene(before: U8, after: U8, min_survival: float) -> bool:
    """Whether two thumbnails [18, 32] show the same scene, light and a small camera move aside.

    Args:
        before: a thumbnail.
        after: another.
        min_survival: share of tiles that must keep their texture; else the whole pictures must
            resemble each other when one is shifted by up to a tenth.
    """
    if survival(before[None], after[None]).share[0] >= min_survival:
        return True
    return any(
        correlation(*_shifted(before, after, right, down))[0] >= SAME_PATTERN
        for right in range(-MAX_RIGHT, MAX_RIGHT + 1)
        for down in range(-MAX_DOWN, MAX_DOWN + 1)
    )


def _shifted(a: U8, b: U8, right: int, down: int) -> tuple[U8, U8]:
    """The parts [1, h, w] of two thumbnails that lie on each other after a shift of the first."""
    return _part(a, -right, -down)[None], _part(b, right, down)[None]


def _part(thumbnail: U8, left: int, top: int) -> U8:
    height, width = thumbnail.shape
    return thumbnail[max(0, top) : height + min(0, top), max(0, left) : width + min(0, left)]


def correlation(before: U8, after: U8) -> F32:
    """Correlation of the luma patterns of M pairs, -1..1; blind to brightness and contrast.

    A blank thumbnail has no pattern: 0 against a picture, 1 against another blank one.

    Args:
        before: uint8 [M, h, w], whole thumbnails or parts.
        after: uint8 [M, h, w].
    """
    a, b = _centred(before), _centred(after)
    std_a, std_b = np.sqrt((a**2).mean(-1)), np.sqrt((b**2).mean(-1))
    # The floor under the deviations keeps rounding noise in a nearly blank picture from counting.
    values = (a * b).mean(-1) / np.maximum(std_a, BLANK) / np.maximum(std_b, BLANK)
    return np.where((std_a < BLANK) & (std_b < BLANK), np.float32(1), values).astype(np.float32)


def off_line(
    thumbnails: U8, first: Int, last: Int, offsets: Int, patterns: bool = False
) -> tuple[F32, F32]:
    """How the frames between two frames lie on the straight line from the one to the other.

    A linear blend of the two lies on it; what moves does not.

    Args:
        thumbnails: uint8 [N, 18, 32].
        first: [M] frames where lines begin.
        last: [M] frames where they end.
        offsets: [K] which frames to look at, counted from `first`.
        patterns: look at the patterns alone, brightness taken out.

    Returns:
        [K, M] how far along the line, 0 at `first` and 1 at `last`; and [K, M] the distance from
        the line, as a share of its length.
    """
    vectors = _centred if patterns else flat
    origin = vectors(thumbnails[first])
    line = vectors(thumbnails[last]) - origin
    square = np.maximum((line**2).mean(-1), 1e-6)
    share = np.empty((len(offsets), len(first)), np.float32)
    distance = np.empty_like(share)
    for k, offset in enumerate(offsets):
        moved = vectors(thumbnails[first + offset]) - origin
        share[k] = (moved * line).mean(-1) / square
        rest = moved - share[k][:, None] * line
        distance[k] = np.sqrt((rest**2).mean(-1) / square)
    return share, distance


def flat(thumbnails: U8) -> F32:
    """Thumbnails as vectors: uint8 [M, h, w] to float32 [M, h w]."""
    return thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)


def _centred(thumbnails: U8) -> F32:
    values = flat(thumbnails)
    centred: F32 = values - values.mean(-1, keepdims=True)
    return centred


def _tiles(thumbnails: U8) -> tuple[F32, F32]:
    """Level [M, tiles] and texture [M, tiles, pixels] of each tile."""
    count, height, width = thumbnails.shape
    rows, columns = height // TILE_HEIGHT, width // TILE_WIDTH
    grid = thumbnails.reshape(count, rows, TILE_HEIGHT, columns, TILE_WIDTH)
    tiles = (
        grid.transpose(0, 1, 3, 2, 4)
        .reshape(count, rows * columns, TILE_HEIGHT * TILE_WIDTH)
        .astype(np.float32)
    )
    level = tiles.mean(-1)
    return level, tiles - level[..., None]


def _share(part: Bool, whole: Bool, none: float) -> F32:
    counted = (part & whole).sum(-1)
    total = whole.sum(-1)
    return np.where(total == 0, none, counted / np.maximum(total, 1)).astype(np.float32)
