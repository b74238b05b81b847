"""Concept balance: clips that show the same kind of thing, counted and capped.

Embeddings are clustered by k-means. A cluster has no name, and its borders are soft: the cap is a
blunt tool against a library that is nine tenths talking heads, not a quota of concepts. Off unless
a recipe asks for it; cluster sizes are reported either way where clusters are asked for.
"""

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_FITTED_ON = 100_000
"""Clips that centres are fitted to: the first in the order of their ids, which is a fair draw."""


@dataclasses.dataclass(frozen=True, slots=True)
class BalanceConfig:
    """How many clusters, and how much of each.

    Attributes:
        clusters: how many at most; 0: nothing is clustered.
        per_cluster: clips that are kept of each, the best scores first; None: all.
        seed: of the clustering.
    """

    clusters: int = 0
    per_cluster: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clusters < 0:
            raise ValueError(f"balance.clusters = {self.clusters}: give 0 or more")
        if self.per_cluster is not None and self.per_cluster < 1:
            raise ValueError(f"balance.per_cluster = {self.per_cluster}: give at least 1, or none")


def cluster(embeddings: F32, config: BalanceConfig) -> I64:
    """The cluster of each clip.

    Args:
        embeddings: [n, d], each of length 1, in the order of the clips' ids; a clip without one has
            zeros.
        config: how many clusters.

    Returns:
        [n] from 0; -1 where there is no embedding. Numbers go by size, the largest cluster first.
    """
    labels = np.full(len(embeddings), -1)
    has_one = np.flatnonzero(embeddings.any(axis=1))
    fitted_on = np.unique(embeddings[has_one[:_FITTED_ON]], axis=0)
    if not config.clusters or not len(fitted_on):
        return labels
    from scipy.cluster.vq import kmeans2, vq  # a quarter of a second that few runs need

    random = np.random.default_rng(config.seed)
    with warnings.catch_warnings():
        # An empty cluster is one cluster fewer, which is nobody's concern.
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        number = min(config.clusters, len(fitted_on))
        centres, _ = kmeans2(fitted_on, number, minit="++", rng=random)
    nearest, _ = vq(embeddings[has_one], centres)
    sizes = np.bincount(nearest, minlength=len(centres))
    place = np.empty(len(centres), np.int64)
    place[np.lexsort((np.arange(len(centres)), -sizes))] = np.arange(len(centres))
    labels[has_one] = place[nearest]
    return labels


def over_cap(labels: I64, score: F32, config: BalanceConfig) -> npt.NDArray[np.bool_]:
    """[n] True for a clip that its cluster has no room for: the best by score stay, then by id.

    Args:
        labels: [n] clusters; -1 is none, and is not capped.
        score: [n]; NaN comes last.
        config: the cap.
    """
    dropped = np.zeros(len(labels), np.bool_)
    if config.per_cluster is None or not len(labels):
        return dropped
    order = np.lexsort((np.arange(len(labels)), -np.nan_to_num(score, nan=-np.inf), labels))
    ordered = labels[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    dropped[order] = (rank >= config.per_cluster) & (ordered >= 0)
    return dropped
