"""The study's statistics against published examples and against other ways of computing them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.study import statistics
from evaluation.study.paper import TABLE_2
from evaluation.study.statistics import Table, table

NAN = np.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: 4 observers, 12
# units, missing data. He prints 0.815 for ordinal data.
EXAMPLE_C = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
])  # fmt: skip


def test_alpha_is_krippendorffs() -> None:
    found = statistics.alpha(EXAMPLE_C, range(1, 6), seed=0)
    assert found.value == pytest.approx(0.815, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.815 < found.high <= 1


def test_alpha_of_agreement_of_chance_and_of_nothing() -> None:
    agreed = np.tile(np.array([1.0, 3, 5, 2, 4, 3]), (3, 1))
    assert statistics.alpha(agreed, range(1, 6), seed=0).value == pytest.approx(1)
    chance = np.random.default_rng(1).integers(1, 6, (20, 400)).astype(float)
    assert statistics.alpha(chance, range(1, 6), seed=0, number=50).value == pytest.approx(
        0, abs=0.01
    )
    assert statistics.alpha(np.full((3, 4), 3.0), range(1, 6), seed=0).value is None
    apart = np.array([[1.0, NAN], [NAN, 2.0]])
    assert statistics.alpha(apart, range(1, 6), seed=0).value is None
    assert statistics.alpha(np.zeros((0, 0)), range(1, 6), seed=0).value is None


def test_signed_rank_is_the_textbooks() -> None:
    """Wilcoxon (1945), Darwin's fifteen pairs of plants: T = 24, p = 0.041 (both sides)."""
    darwin = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], float)
    statistic, p = statistics.signed_rank(darwin)
    assert statistic == 24
    ranks = stats.rankdata(np.abs(darwin))
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=15)
    ]
    exact = 2 * np.mean(np.array(sums) <= 24)
    assert p == pytest.approx(exact)
    assert p == pytest.approx(0.041, abs=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_signed_rank_with_ties_is_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    for size in (6, 20):
        differences = random.integers(-3, 4, size).astype(float)
        peer = stats.wilcoxon(differences)
        found = statistics.signed_rank(differences)
        assert found == pytest.approx((peer.statistic, peer.pvalue))


def test_signed_rank_without_differences() -> None:
    assert statistics.signed_rank(np.zeros(9)) == (None, 1.0)
    assert statistics.signed_rank(np.array([NAN, NAN])) == (None, 1.0)
    assert statistics.signed_rank(np.array([0.1 + 0.2 - 0.3, 0.0])) == (None, 1.0)
    assert statistics.signed_rank(np.zeros(0)) == (None, 1.0)


def test_holm_is_the_published_example() -> None:
    """Holm's steps by hand: 4, 3, 2, 1 times the ordered p-values, never falling."""
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


def test_the_fewest_items_that_can_tell_systems_apart() -> None:
    """Five tests of two systems: seven items in full agreement are too few, eight are enough."""
    for items, enough in ((7, False), (8, True)):
        _, p = statistics.signed_rank(np.arange(1.0, items + 1))
        assert p == pytest.approx(2.0 ** (1 - items))
        assert (statistics.holm([p] * 5)[0] < 0.05) is enough


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662."""
    found = statistics.share(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.share(0, 0).value is None


def test_the_paper_prints_means_of_four() -> None:
    for row in TABLE_2:
        assert len(row.scores) == 4
        assert np.mean(list(row.scores.values())) == pytest.approx(row.total, abs=0.00501)


def crossed(values: np.ndarray) -> Table:
    """Every rater answers about every item of every group: [raters, items, groups]."""
    where = list(np.ndindex(values.shape))
    return table(
        [r for r, _, _ in where],
        [i for _, i, _ in where],
        [g for _, _, g in where],
        values.reshape(-1, 1),
        values.shape[2],
    )


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_means_are_means(raters: int, items: int, groups: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(1, 6, (raters, items, groups)).astype(float)
    known = random.random(values.shape) < 0.7
    where = np.argwhere(known)
    found = table(
        where[:, 0].tolist(), where[:, 1].tolist(), where[:, 2].tolist(),
        values[known].reshape(-1, 1), groups,
    )  # fmt: skip
    gaps = np.where(known, values, np.nan)
    for group in range(groups):
        seen = gaps[..., group][known[..., group]]
        expected = seen.mean() if seen.size else np.nan
        np.testing.assert_allclose(found.means()[group, 0], expected)
        for item in range(found.counts.shape[1]):
            column = gaps[:, item, group]
            told = column[np.isfinite(column)]
            mean = told.mean() if told.size else np.nan
            np.testing.assert_allclose(found.item_means()[item, group, 0], mean)


def test_draws_weigh_answers_by_their_rater_and_item() -> None:
    """Against drawing answers out of the array by hand, in distribution."""
    random = np.random.default_rng(3)
    values = random.normal(size=(6, 9, 1)) + random.normal(size=(6, 1, 1))
    drawn = crossed(values).draws(seed=1, number=6000)[:, 0, 0]
    by_hand = [
        values[random.integers(0, 6, 6)][:, random.integers(0, 9, 9)].mean() for _ in range(6000)
    ]
    assert stats.ks_2samp(drawn, by_hand).pvalue > 0.01
    assert np.array_equal(drawn, crossed(values).draws(seed=1, number=6000)[:, 0, 0])


def test_one_item_is_the_plain_bootstrap_of_raters() -> None:
    """Then only raters are drawn, and scipy's percentile bootstrap says the same."""
    values = np.random.default_rng(5).normal(size=(25, 1, 1))
    drawn = crossed(values).draws(seed=2, number=8000)[:, 0, 0]
    found = statistics.interval(float(values.mean()), drawn)
    peer = stats.bootstrap(
        (values.ravel(),), np.mean, n_resamples=8000, method="percentile", rng=9
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.03)


def test_intervals_cover_what_single_answers_would_miss() -> None:
    """Strict raters and hard items: the truth is covered about as often as the interval says."""
    random = np.random.default_rng(11)
    covered = naive = 0
    rounds = 120
    for number in range(rounds):
        values = (
            random.normal(0, 0.6, (12, 1, 1))
            + random.normal(0, 0.6, (1, 20, 1))
            + random.normal(0, 0.5, (12, 20, 1))
        )
        drawn = crossed(values).draws(seed=number, number=400)[:, 0, 0]
        found = statistics.interval(float(values.mean()), drawn)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
        half = 1.96 * values.std() / np.sqrt(values.size)
        naive += abs(values.mean()) <= half
    assert covered / rounds > 0.87
    assert naive / rounds < 0.6


def test_an_interval_of_nothing() -> None:
    assert statistics.interval(np.nan, np.zeros(9)).value is None
    lonely = statistics.interval(2.0, np.array([np.nan]))
    assert (lonely.value, lonely.low) == (2.0, None)
    assert not lonely.excludes_zero
