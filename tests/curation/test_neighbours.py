"""Close pairs against comparing everything with everything, exactly and through the graph."""

import numpy as np
import pytest

from curation import neighbours
from curation.neighbours import close_bits, close_directions


def everything(close: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in np.argwhere(np.triu(close, 1))}


def found(pairs: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> set[tuple[int, int]]:
    assert len(pairs) == len({(a, b) for a, b in pairs.tolist()})
    return {(a, b) for a, b in pairs.tolist()}


def test_bits() -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 256, (400, 4), dtype=np.uint8)
    wide = np.unpackbits(bits, axis=1)
    distance = (wide[:, None] != wide[None]).sum(axis=-1)
    for radius in (0, 6, 10):
        assert found(close_bits(bits, radius)) == everything(distance <= radius)


def test_directions_with_more_neighbours_than_are_asked_for_at_first() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(500, 8)).astype(np.float32)
    vectors[:300] = vectors[0] + vectors[:300] * 0.05  # a crowd
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    assert not np.isclose(cosines, 0.97, atol=1e-6).any()
    assert found(close_directions(vectors, 0.97)) == everything(cosines >= 0.97)


def test_the_graph_finds_nearly_all_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    bits = np.repeat(random.integers(0, 256, (300, 18), dtype=np.uint8), 2, axis=0)
    bits[1::2, 0] ^= 1
    exact = found(close_bits(bits, 8))
    assert len(exact) == 300
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 0)
    walked = [close_bits(bits, 8) for _ in range(2)]
    assert walked[0].tolist() == walked[1].tolist()
    assert len(found(walked[0]) & exact) >= 0.98 * len(exact)


def test_none_and_one() -> None:
    assert close_bits(np.empty((0, 4), np.uint8), 3).shape == (0, 2)
    assert close_directions(np.ones((1, 4), np.float32), 0.5).shape == (0, 2)
