"""Is validation kept apart from training? Look-alikes across the two sides.

The split is by film, and pictures find their way around that: re-uploads, trailers, a title
sequence. Clips are compared by the perceptual hashes of a few evidence frames, which survive coding
and scaling, but not cropping or mirroring; two different shots of one set may look alike. So a pair
is a question to a person, who sees both strips, and never a verdict.
"""

import collections

import cv2
import numpy as np
import numpy.typing as npt

from curation.report.document import Leakage, Pair
from curation.report.tables import VersionTables
from curation.scoring.frames import tells_something
from curation.scoring.technical import perceptual_hash

FRAMES_PER_CLIP = 3
MAX_CLIPS = 2000
"""Clips per side that are compared; of more, a random draw."""
MAX_PAIRS = 24
MAX_DISTANCE = 0.125
"""Share of bits by which the frames of a pair differ at most. Unrelated pictures differ by half."""
_PER_BLOCK = 256

Hashes = npt.NDArray[np.uint8]
"""[FRAMES_PER_CLIP, bytes]"""


def frame_hash(jpeg: bytes) -> bytes:
    """Perceptual hash of an evidence frame; empty when it is too flat to be told from others."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, "evidence frames are JPEGs of ours"
    pixels = picture.astype(np.uint8, copy=False)
    return perceptual_hash(pixels).tobytes() if tells_something(pixels) else b""


def clip_hash(frames: list[bytes]) -> Hashes | None:
    """Hashes of frames through a clip; None when all are too flat to tell.

    Args:
        frames: hashes of its frames in order; empty ones are passed over.
    """
    telling = [frame for frame in frames if frame]
    if not telling:
        return None
    places = (np.arange(FRAMES_PER_CLIP) + 0.5) * len(telling) / FRAMES_PER_CLIP
    chosen = [np.frombuffer(telling[int(place)], np.uint8) for place in places]
    return np.stack(chosen)


def sides(version: VersionTables) -> dict[str, list[str]]:
    """Side -> its clips, each once, in the order of their ids."""
    clips: dict[str, set[str]] = {"train": set(), "val": set()}
    for row in version.samples.select(["split", "clip_ids"]).to_pylist():
        clips[row["split"]].update(row["clip_ids"])
    return {side: sorted(ids) for side, ids in clips.items()}


def to_compare(version: VersionTables) -> dict[str, list[str]]:
    """Side -> clips whose frames have to be hashed: all, or as many as are compared.

    Clip ids are hashes, so the first of them are a random draw, and the same one each time.
    """
    return {side: ids[:MAX_CLIPS] for side, ids in sides(version).items()}


def leakage(version: VersionTables, hashes: dict[str, Hashes]) -> Leakage:
    """Hold both sides of a version against each other.

    Args:
        version: the version.
        hashes: clip_id -> `clip_hash`, for the clips of `to_compare` that have one.
    """
    everything = sides(version)
    train, val = ([clip for clip in ids if clip in hashes] for ids in to_compare(version).values())
    pairs = look_alikes(
        {clip: hashes[clip] for clip in train}, {clip: hashes[clip] for clip in val}
    )
    return Leakage(
        films_on_both_sides=_films_on_both_sides(version),
        compared_train=len(train),
        compared_val=len(val),
        total_train=len(everything["train"]),
        total_val=len(everything["val"]),
        pairs=tuple(pairs[:MAX_PAIRS]),
        pairs_found=len(pairs),
    )


def look_alikes(train: dict[str, Hashes], val: dict[str, Hashes]) -> list[Pair]:
    """Pairs whose frames differ by at most `MAX_DISTANCE`, the closest first.

    Each frame of the validation clip is matched with its nearest frame of the training clip.
    """
    if not train or not val:
        return []
    names, others = list(train), list(val)
    of_train = np.stack([train[name] for name in names])
    bits = 8 * of_train.shape[2]
    found = []
    for other in others:
        for first in range(0, len(names), _PER_BLOCK):
            block = of_train[first : first + _PER_BLOCK]
            differing = np.bitwise_count(block[:, :, None] ^ val[other][None, None]).sum(axis=3)
            distances = np.median(differing.min(axis=1), axis=1) / bits
            found += [
                Pair(names[first + int(row)], other, float(distances[row]))
                for row in np.flatnonzero(distances <= MAX_DISTANCE)
            ]
    return sorted(found, key=lambda pair: (pair.distance, pair.val, pair.train))


def _films_on_both_sides(version: VersionTables) -> tuple[str, ...]:
    found: dict[str, set[str]] = collections.defaultdict(set)
    for row in version.samples.select(["video_id", "split"]).to_pylist():
        found[row["video_id"]].add(row["split"])
    return tuple(sorted(film for film, both in found.items() if len(both) > 1))
