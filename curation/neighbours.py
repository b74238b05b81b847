"""Pairs of vectors that lie within a radius of each other, found by the library usearch.

Up to `EXACT_BELOW` vectors every pair is looked at; beyond, a graph (HNSW) is walked that misses a
few pairs, for a time that hardly grows. The graph is built by one thread in the order of the
vectors, so the same vectors give the same pairs: the trade-off for its speed.
"""

import numpy as np
import numpy.typing as npt
from usearch.index import BatchMatches, Index

I64 = npt.NDArray[np.int64]

EXACT_BELOW = 20_000
_FIRST, _GROWTH, MOST = 16, 8, 4096
"""Neighbours that are asked for; more while the last of them lies within the radius. Whatever has
more than `MOST` is joined to its nearest."""


def close_bits(bits: npt.NDArray[np.uint8], radius: int) -> I64:
    """Pairs of bit vectors that differ in at most `radius` bits.

    Args:
        bits: [n, b], eight bits to a byte.
        radius: Hamming distance.

    Returns:
        [p, 2], the lower index first, each pair once, in order.
    """
    return _close(bits, "hamming", "b1", 8 * bits.shape[1], radius)


def close_directions(vectors: npt.NDArray[np.float32], cosine: float) -> I64:
    """Pairs of vectors whose cosine is at least `cosine`.

    Args:
        vectors: [n, d], each of length 1.
        cosine: of the angle between them.

    Returns:
        [p, 2], the lower index first, each pair once, in order.
    """
    return _close(vectors, "cos", "f32", vectors.shape[1], 1.0 - cosine)


def _close(
    vectors: npt.NDArray[np.generic],
    metric: str,
    kind: str,
    dimensions: int,
    radius: float,
) -> I64:
    count = len(vectors)
    if count < 2:
        return np.empty((0, 2), np.int64)
    index = Index(ndim=dimensions, metric=metric, dtype=kind)
    index.add(np.arange(count), vectors, threads=1)
    pairs = []
    pending = np.arange(count)
    wanted = min(_FIRST, count)
    while pending.size:
        found = index.search(vectors[pending], wanted, exact=count <= EXACT_BELOW)
        assert isinstance(found, BatchMatches)
        within = np.less_equal(found.distances, np.float32(radius))
        within &= np.arange(wanted) < np.asarray(found.counts)[:, None]
        more = within[:, -1] & (wanted < min(count, MOST))
        row, place = np.nonzero(within & ~more[:, None])
        pairs.append(np.stack([pending[row], found.keys[row, place].astype(np.int64)], axis=1))
        pending = pending[more]
        wanted = min(wanted * _GROWTH, count, MOST)
    together = np.sort(np.concatenate(pairs), axis=1)
    distinct: I64 = np.unique(together[together[:, 0] < together[:, 1]], axis=0)
    return distinct
