"""Near-duplicates: clips of different films that show the same, and films that share their clips.

A transcode or a re-upload has other bytes, so it is another film by its hash. Left alone it weighs
twice in training, and validates on what was trained on. Two clips are compared by what scoring left
of them: perceptual hashes frame by frame (no model), or one CLIP embedding each.

Clips of one film are not compared unless asked for: a dialogue goes back and forth between two
set-ups, and multi-shot samples need both. The trade-off: repetition inside a film stays.

All functions are pure. Clips are named by their place in a table sorted by clip_id, films by theirs
among the sorted video_ids, so the lower index is the lower id.
"""

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curation.neighbours import close_bits, close_directions

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

HASHES, EMBEDDING = "hashes", "embedding"
COMMON = 256
"""A frame in more clips than these is a test card or a channel's ident: it tells nothing of whose
the film is, and comparing all that show it would cost the square of their number."""


@dataclasses.dataclass(frozen=True, slots=True)
class DuplicateConfig:
    """What counts as a near-duplicate.

    Attributes:
        look: what clips are compared by: 'hashes' (of the technical scorer), 'embedding' (of
            LAION's), or None: nothing is compared, and every film is its own group.
        remove: drop near-duplicates; otherwise they only hold films together in the split.
        hash_distance: share of a hash's bits in which two frames of the same may differ.
        frame_share: share of a clip's frames that the other clip must hold too.
        cosine: of two embeddings of the same.
        film_share: share of a film's clips that another film must hold for the two to be one group.
        within_films: also compare clips of one film.
    """

    look: Literal["hashes", "embedding"] | None = None
    remove: bool = True
    hash_distance: float = 0.08
    frame_share: float = 0.6
    cosine: float = 0.96
    film_share: float = 0.5
    within_films: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.hash_distance < 0.5:
            raise ValueError(
                f"duplicates.hash_distance = {self.hash_distance}: give 0 or more, below 0.5 (the "
                "distance of pictures that have nothing in common)"
            )
        for name in ("frame_share", "cosine", "film_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(
                    f"duplicates.{name} = {getattr(self, name)}: give more than 0, at most 1"
                )


@dataclasses.dataclass(frozen=True, slots=True)
class FrameHashes:
    """The perceptual hashes of n clips' frames; frames that are too flat are left out."""

    clip: I64
    """[m] the clip of each hash."""
    bits: U8
    """[m, b]."""
    frames: I64
    """[n] frames of each clip, flat ones too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Similar:
    """Which clips hold which: what clip ``held[k]`` shows, clip ``by[k]`` shows too.

    Two that hold each other are near-duplicates. A short clip cut out of a long one is held by it
    and does not hold it.
    """

    held: I64
    by: I64


def similar_by_hashes(hashes: FrameHashes, films: I64, config: DuplicateConfig) -> Similar:
    """A clip is held by another when enough of its frames have a near frame there.

    Flat frames count as frames without one, so what is mostly black is held by nothing; and so do
    frames that more than `COMMON` clips show.

    Args:
        hashes: of the clips' frames.
        films: [n] film of each clip.
        config: how near, and how many.
    """
    if len(hashes.clip) == 0:
        return Similar(np.empty(0, np.int64), np.empty(0, np.int64))
    clips = len(films)
    patterns, pattern = np.unique(hashes.bits, axis=0, return_inverse=True)
    # One entry for each (pattern, clip), and how many of the clip's frames show the pattern.
    entry, weight = np.unique(pattern.ravel() * clips + hashes.clip, return_counts=True)
    entry_pattern, entry_clip = np.divmod(entry, clips)
    telling = np.bincount(entry_pattern, minlength=len(patterns))[entry_pattern] <= COMMON
    entry_pattern, entry_clip, weight = entry_pattern[telling], entry_clip[telling], weight[telling]
    radius = int(config.hash_distance * 8 * hashes.bits.shape[1])
    left, right = _meetings(entry_pattern, close_bits(patterns, radius), len(patterns))
    other = entry_clip[left] != entry_clip[right]
    if not config.within_films:
        other &= films[entry_clip[left]] != films[entry_clip[right]]
    # A frame votes once for a clip, however many of its frames are near.
    votes = np.unique(left[other] * clips + entry_clip[right[other]])
    voter, by = np.divmod(votes, clips)
    pair, place = np.unique(entry_clip[voter] * clips + by, return_inverse=True)
    agreed = np.bincount(place, weights=weight[voter], minlength=len(pair))
    held, by = np.divmod(pair, clips)
    enough = agreed >= config.frame_share * hashes.frames[held]
    return Similar(held[enough], by[enough])


def similar_by_embedding(embeddings: F32, films: I64, config: DuplicateConfig) -> Similar:
    """Two clips hold each other when their embeddings point the same way.

    Args:
        embeddings: [n, d], each of length 1; a clip without one has zeros.
        films: [n] film of each clip.
        config: how near.
    """
    has_one = np.flatnonzero(embeddings.any(axis=1))
    pairs = has_one[close_directions(embeddings[has_one], config.cosine)]
    if not config.within_films:
        pairs = pairs[films[pairs[:, 0]] != films[pairs[:, 1]]]
    return Similar(np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate(pairs.T[::-1]))


def film_groups(similar: Similar, films: I64, comparable: Mask, config: DuplicateConfig) -> I64:
    """Films that are transcodes or re-uploads of one another, or cut out of one another.

    Args:
        similar: which clips hold which.
        films: [n] film of each clip.
        comparable: [n] whether a clip has anything to be compared by.
        config: how many clips must be held.

    Returns:
        [films] the lowest film of each film's group.
    """
    count = int(films.max(initial=-1)) + 1
    clips = np.bincount(films[comparable], minlength=count)
    # A clip counts once for each film that holds it.
    held = np.unique(similar.held * count + films[similar.by])
    clip, by = np.divmod(held, count)
    pair, number = np.unique(films[clip] * count + by, return_counts=True)
    film, by = np.divmod(pair, count)
    joined = (film != by) & (number >= config.film_share * clips[film])
    return _lowest_of_component(film[joined], by[joined], count)


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What decides which of several near-duplicates stays; [n] each."""

    films: I64
    short_side: I64
    score: F32
    """NaN where there is none."""
    seconds: npt.NDArray[np.float64]


def representatives(
    similar: Similar, kept: Mask, standing: Standing, config: DuplicateConfig
) -> I64:
    """Which clip stays in place of each.

    Near-duplicates of near-duplicates are one set. Of a set the clips of one film stay, so that its
    neighbouring shots stay together: the film with the larger picture, else with more kept seconds
    (in whole seconds), else with the better mean score, else with the lower id. Its best clip by
    score, then length, then id represents the others.

    Args:
        similar: which clips hold which.
        kept: [n] the clips that the policy keeps; the others neither stay nor drop one.
        standing: of each clip.
        config: whether clips of one film are compared as well.

    Returns:
        [n] the clip that represents a dropped one; of all others, -1.
    """
    count = len(kept)
    both = np.intersect1d(
        similar.held * count + similar.by, similar.by * count + similar.held, assume_unique=True
    )
    left, right = np.divmod(both, count)
    inside = kept[left] & kept[right]
    component = _lowest_of_component(left[inside], right[inside], count)
    members = np.flatnonzero(kept & (np.bincount(component, minlength=count)[component] > 1))
    place_of_film = _film_order(kept, standing)
    score = np.nan_to_num(standing.score[members], nan=-np.inf)
    order = np.lexsort(
        (
            members,
            -standing.seconds[members],
            -score,
            place_of_film[standing.films[members]],
            component[members],
        )
    )
    ordered = members[order]
    first = np.unique(component[ordered], return_index=True)[1]
    best = np.full(count, -1)
    best[component[ordered[first]]] = ordered[first]
    stands_for = best[component[members]]
    stays = members == stands_for
    if not config.within_films:
        stays |= standing.films[members] == standing.films[stands_for]
    chosen: I64 = np.full(count, -1, dtype=np.int64)
    chosen[members[~stays]] = stands_for[~stays]
    return chosen


def _film_order(kept: Mask, standing: Standing) -> I64:
    """[films] the place of each film among all: the one that should stay comes first."""
    count = int(standing.films.max(initial=-1)) + 1
    films = standing.films[kept]
    side = np.zeros(count, np.int64)
    np.maximum.at(side, films, standing.short_side[kept])
    seconds = np.bincount(films, standing.seconds[kept], minlength=count)
    score = np.nan_to_num(standing.score[kept].astype(np.float64))
    mean = np.bincount(films, score, minlength=count) / np.maximum(
        np.bincount(films, minlength=count), 1
    )
    order = np.lexsort((np.arange(count), -mean, -np.round(seconds), -side))
    place: I64 = np.empty(count, np.int64)
    place[order] = np.arange(count)
    return place


def _meetings(entry_pattern: I64, near: I64, patterns: int) -> tuple[I64, I64]:
    """Entries whose patterns are equal or near, as two arrays; each meeting both ways."""
    same = np.arange(patterns)
    left = np.concatenate([same, near[:, 0], near[:, 1]])
    right = np.concatenate([same, near[:, 1], near[:, 0]])
    begin = np.searchsorted(entry_pattern, np.arange(patterns + 1))
    number = np.diff(begin)
    sizes = number[left] * number[right]
    meeting = np.repeat(np.arange(len(left)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row, column = np.divmod(within, number[right][meeting])
    return begin[left][meeting] + row, begin[right][meeting] + column


def _lowest_of_component(left: I64, right: I64, count: int) -> I64:
    """[count] the lowest member of each node's connected component."""
    if count == 0:
        return np.empty(0, np.int64)
    edges = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    _, label = connected_components(edges.tocsr(), directed=False)
    lowest = np.full(int(label.max()) + 1, count)
    np.minimum.at(lowest, label, np.arange(count))
    found: I64 = lowest[label].astype(np.int64)
    return found
