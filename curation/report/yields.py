"""What a set of clips is worth for training: hours, and frames at each rate and size.

The page counts the same in JavaScript (`templates/whatif.js`) as thresholds move; a test holds the
two against each other.
"""

import numpy as np
import numpy.typing as npt

from curation.report.document import FRAME_RATES, Amount, Bucket
from curation.video.retime import PACKED_RATE

Mask = npt.NDArray[np.bool_]

_ASPECTS = {"21:9": 21 / 9, "16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16}
_LINES = (2160, 1080, 720, 480, 360, 240, 0)


def amount(seconds: npt.NDArray[np.float64], mask: Mask | None = None) -> Amount:
    """How many clips a mask marks, and how long they are."""
    marked = seconds if mask is None else seconds[mask]
    return Amount(len(marked), float(marked.sum()) / 3600)


def usable_frames(frame_count: npt.NDArray[np.int64], rate: int) -> npt.NDArray[np.int64]:
    """[n] frames of each clip that training can use at a frame rate.

    At rate r every (24 / r)-th frame is shown, the first among them; the latent codec takes 4n+1
    frames (TempoMaster §3.1), so up to three at the end are left over.
    """
    stride = PACKED_RATE // rate
    shown = (frame_count - 1) // stride
    usable: npt.NDArray[np.int64] = np.where(frame_count > 0, shown // 4 * 4 + 1, 0)
    return usable


def size_names(width: npt.NDArray[np.int64], height: npt.NDArray[np.int64]) -> list[str]:
    """[n] size bucket of each clip: nearest aspect and the standard lines that it reaches."""
    names = list(_ASPECTS)
    ratios = np.log(np.asarray(list(_ASPECTS.values())))
    nearest = np.abs(np.log(width / height)[:, None] - ratios).argmin(axis=1)
    short = np.minimum(width, height)
    reached = np.argmax(short[:, None] >= np.asarray(_LINES), axis=1)
    labels = [f"{lines}p" if lines else "<240p" for lines in _LINES]
    return [f"{names[a]} {labels[k]}" for a, k in zip(nearest, reached, strict=True)]


def size_order(names: set[str]) -> list[str]:
    """Size buckets in reading order: larger pictures first, wide before tall."""
    aspects = list(_ASPECTS)

    def place(name: str) -> tuple[int, int]:
        aspect, lines = name.split(" ", 1)
        known = lines.removesuffix("p")
        return (-int(known) if known.isdigit() else 0, aspects.index(aspect))

    return sorted(names, key=place)


def usable(frame_count: npt.NDArray[np.int64], mask: Mask) -> dict[str, int]:
    """Frames of the marked clips that training can use, by frame rate."""
    marked = frame_count[mask]
    return {str(rate): int(usable_frames(marked, rate).sum()) for rate in FRAME_RATES}


def buckets(
    names: list[str],
    seconds: npt.NDArray[np.float64],
    frame_count: npt.NDArray[np.int64],
    mask: Mask,
) -> tuple[Bucket, ...]:
    """The yield of each size that any clip has, kept or not."""
    of_clip = np.asarray(names)
    found = []
    for name in size_order(set(names)):
        here = mask & (of_clip == name)
        found.append(Bucket(name, amount(seconds, here), usable(frame_count, here)))
    return tuple(found)
