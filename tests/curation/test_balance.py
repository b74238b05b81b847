"""Clusters: what belongs together is together, and caps keep the best."""

import numpy as np
import numpy.typing as npt
import pytest

from curation.balance import BalanceConfig, cluster, over_cap


def crowds(
    sizes: list[int], seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Unit vectors about well separated directions, shuffled, and which crowd each is of."""
    random = np.random.default_rng(seed)
    crowd = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(16)[crowd] + random.normal(size=(len(crowd), 16)) * 0.05
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), crowd


def test_crowds_are_found_and_numbered_by_size() -> None:
    embeddings, crowd = crowds([60, 30, 10])
    labels = cluster(embeddings, BalanceConfig(clusters=3))
    assert (labels == crowd).all()
    again = cluster(embeddings, BalanceConfig(clusters=3))
    assert (labels == again).all()


def test_clips_without_an_embedding_are_in_no_cluster() -> None:
    embeddings, _ = crowds([5, 5])
    embeddings[3] = 0
    labels = cluster(embeddings, BalanceConfig(clusters=2))
    assert np.flatnonzero(labels < 0).tolist() == [3]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_clips_than_clusters(count: int) -> None:
    embeddings = np.eye(4, dtype=np.float32)[:count]
    assert sorted(cluster(embeddings, BalanceConfig(clusters=9))) == list(range(count))


def test_equal_embeddings_are_one_cluster() -> None:
    labels = cluster(np.ones((7, 4), np.float32) / 2, BalanceConfig(clusters=3))
    assert labels.tolist() == [0] * 7


def test_a_cap_keeps_the_best_scores_and_then_the_lower_ids() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, -1, -1, -1])
    score = np.array([1, 5, 5, np.nan, 2, 3, 0, 0, 0], np.float32)
    dropped = over_cap(labels, score, BalanceConfig(clusters=2, per_cluster=2))
    assert np.flatnonzero(dropped).tolist() == [0, 3]
    dropped = over_cap(labels, score, BalanceConfig(clusters=2, per_cluster=1))
    assert np.flatnonzero(dropped).tolist() == [0, 2, 3, 4]
    assert not over_cap(labels, score, BalanceConfig(clusters=2)).any()
