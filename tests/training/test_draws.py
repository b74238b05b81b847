"""Randomness by lookup: what is drawn at a place, and orders that are computed."""

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.draws import Draws, Permutation, Purpose

SEEDS = st.integers(0, 2**63 - 1)


def order(size: int, seed: int, epoch: int = 0) -> list[int]:
    permutation = Permutation(size, Draws(seed, Purpose.SAMPLE_ORDER, epoch))
    return [permutation[k] for k in range(size)]


@settings(deadline=None)
@given(st.integers(1, 300), SEEDS)
def test_an_order_holds_everything_once(size: int, seed: int) -> None:
    assert sorted(order(size, seed)) == list(range(size))


@settings(deadline=None)
@given(st.integers(300, 10**12), SEEDS, st.data())
def test_large_orders_are_one_to_one_where_one_looks(
    size: int, seed: int, data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=20, unique=True))
    permutation = Permutation(size, Draws(seed, Purpose.SAMPLE_ORDER, 0))
    found = [permutation[place] for place in places]
    assert len(set(found)) == len(places)
    assert all(0 <= value < size for value in found)


def test_all_orders_of_four_things_are_about_equally_likely() -> None:
    seen = Counter(tuple(order(4, seed)) for seed in range(4800))
    assert set(seen) == set(itertools.permutations(range(4)))
    assert max(abs(count - 200) for count in seen.values()) < 5 * np.sqrt(200)


def test_neighbours_are_torn_apart_and_epochs_differ() -> None:
    first, second = np.array(order(1000, 7, 0)), np.array(order(1000, 7, 1))
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.15
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    assert np.mean(np.abs(np.diff(first)) == 1) < 0.02


@settings(deadline=None)
@given(SEEDS, st.integers(0, 2**40), st.integers(0, 2**20))
def test_a_place_always_draws_the_same_and_no_two_places_do(seed: int, slot: int, row: int) -> None:
    def words(*place: int, purpose: Purpose = Purpose.MASK) -> list[int]:
        draws = Draws(seed, purpose, *place)
        return [draws.word() for _ in range(4)]

    assert words(slot, row) == words(slot, row)
    others = [words(slot, row + 1), words(slot + 1, row), words(slot, row, purpose=Purpose.WINDOW)]
    drawn = [*words(slot, row), *itertools.chain.from_iterable(others)]
    assert len(set(drawn)) == len(drawn)


def test_numbers_are_uniform() -> None:
    draws = Draws(3, Purpose.TIME, 1)
    numbers = np.array([draws.uniform() for _ in range(20_000)])
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert abs(numbers.mean() - 0.5) < 5 / np.sqrt(12 * 20_000)
    whole = Counter(draws.below(7) for _ in range(7_000))
    assert set(whole) == set(range(7))
    assert max(abs(count - 1000) for count in whole.values()) < 5 * np.sqrt(1000)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), SEEDS)
def test_subsets_are_of_distinct_things(a: int, b: int, seed: int) -> None:
    chosen, count = sorted((a, b))
    subset = Draws(seed, Purpose.MASK).subset(chosen, count).tolist()
    assert len(subset) == chosen
    assert subset == sorted(set(subset))
    assert set(subset) <= set(range(count))


def test_every_thing_is_in_a_subset_equally_often() -> None:
    seen = Counter(
        thing for seed in range(2000) for thing in Draws(seed, Purpose.MASK).subset(3, 10).tolist()
    )
    assert max(abs(seen[thing] - 600) for thing in range(10)) < 5 * np.sqrt(600 * 0.7)
