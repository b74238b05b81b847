"""Means, intervals, agreement and tests of a study; the formulas are the libraries'.

Answers are not independent: a strict rater is strict everywhere, a hard prompt is hard for all. So
the bootstrap draws raters and items, both with replacement, and an answer weighs the product of how
often its rater and its item were drawn (Owen 2007, The pigeonhole bootstrap). Where raters or items
hardly differ this is a little too wide; it is never much too narrow, which drawing single answers
is.
"""

import dataclasses
import math
from collections.abc import Sequence

import krippendorff
import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats import multitest, proportion

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

DRAWS = 2000
LEVEL = 0.95
_MOST_FLIPPED = 13
"""Pairs whose signs are flipped in all ways (8192 of them)."""
_CHUNK = 100
"""Draws that are weighed at a time: memory stays at 100 x items x groups x outcomes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval; the ends are None where there is no telling."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval is on one side of 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Sums and counts of answers by who, about what, of which group.

    Attributes:
        sums: [raters, items, groups, outcomes].
        counts: [raters, items, groups].
    """

    sums: F64
    counts: F64

    def means(self) -> F64:
        """[groups, outcomes]; NaN where nothing was answered."""
        return _ratio(self.sums.sum((0, 1)), self.counts.sum((0, 1))[:, None])

    def item_means(self) -> F64:
        """[items, groups, outcomes], over raters."""
        return _ratio(self.sums.sum(0), self.counts.sum(0)[..., None])

    def draws(self, seed: int, number: int = DRAWS) -> F64:
        """Bootstrap means [number, groups, outcomes], raters and items drawn."""
        random = np.random.default_rng(seed)
        raters, items = self.counts.shape[:2]
        drawn = []
        for first in range(0, number, _CHUNK):
            size = min(_CHUNK, number - first)
            by_rater = random.multinomial(raters, np.full(raters, 1 / raters), size)
            by_item = random.multinomial(items, np.full(items, 1 / items), size)
            sums = np.einsum("bi,bigo->bgo", by_item, np.tensordot(by_rater, self.sums, 1))
            counts = np.einsum("bi,big->bg", by_item, np.tensordot(by_rater, self.counts, 1))
            drawn.append(_ratio(sums, counts[..., None]))
        return np.concatenate(drawn)


def table(
    raters: Sequence[int],
    items: Sequence[int],
    groups: Sequence[int],
    values: F64,
    group_count: int,
) -> Table:
    """Gather answers.

    Args:
        raters: of each answer, from 0.
        items: of each answer, from 0.
        groups: of each answer: the system, or the pair of systems.
        values: [answers, outcomes].
        group_count: groups that there are, also such as nobody answered about.
    """
    shape = (max(raters, default=-1) + 1, max(items, default=-1) + 1, group_count)
    sums = np.zeros((*shape, values.shape[1]))
    counts = np.zeros(shape)
    where = (np.asarray(raters, int), np.asarray(items, int), np.asarray(groups, int))
    np.add.at(sums, where, values)
    np.add.at(counts, where, 1)
    return Table(sums, counts)


def interval(value: float, draws: F64) -> Interval:
    """Percentile interval of bootstrap draws; draws that hold no answer are left out."""
    known = draws[np.isfinite(draws)]
    if not math.isfinite(value):
        return Interval(None, None, None)
    if len(known) < 2:
        return Interval(value, None, None)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def alpha(ratings: F64, values: Sequence[int], seed: int, number: int = 500) -> Interval:
    """Krippendorff's ordinal alpha: 1 is agreement, 0 what chance gives.

    Args:
        ratings: [raters, units], NaN where a rater did not answer.
        values: what may be answered, in order.
        seed: of the interval, for which units are drawn.
        number: of draws.
    """
    counts = (ratings.T[..., None] == np.asarray(values)).sum(1)
    counts = counts[counts.sum(1) >= 2]
    if not _differs(counts):
        return Interval(None, None, None)
    random = np.random.default_rng(seed)
    drawn = (counts[random.integers(0, len(counts), len(counts))] for _ in range(number))
    spread = np.array([_alpha(units, values) for units in drawn if _differs(units)])
    return interval(_alpha(counts, values), spread)


def signed_rank(differences: F64) -> tuple[float | None, float]:
    """Wilcoxon's signed-rank test of paired differences; pairs that do not differ are left out.

    Few pairs have few signs to flip, and all of them are tried: ties, which whole numbers from 1 to
    5 are full of, then need no approximation. `stats.wilcoxon` would do the same, but ranks again
    for each of the flips, a thousand times slower.

    Returns:
        The statistic, None where no pair differs, and the two-sided p (then 1).
    """
    # Means of the same integers may differ in the last bit, and would count as a difference.
    known = np.round(differences[np.isfinite(differences)], 9)
    known = known[known != 0]
    if not known.size:
        return None, 1.0
    if known.size > _MOST_FLIPPED:
        result = stats.wilcoxon(known)
        return float(result.statistic), float(result.pvalue)
    ranks = np.sign(known) * stats.rankdata(np.abs(known))
    flipped = stats.permutation_test(
        (ranks,), _positive_ranks, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    positive = float(flipped.statistic)
    return min(positive, float(np.abs(ranks).sum()) - positive), float(flipped.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that hold for all tests together."""
    if not p_values:
        return []
    return [float(p) for p in multitest.multipletests(p_values, method="holm")[1]]


def share(count: int, total: int) -> Interval:
    """A share with Wilson's interval."""
    if not total:
        return Interval(None, None, None)
    low, high = proportion.proportion_confint(count, total, alpha=1 - LEVEL, method="wilson")
    return Interval(count / total, float(low), float(high))


def _positive_ranks(ranks: F64, axis: int) -> F64:
    return np.asarray(np.clip(ranks, 0, None).sum(axis))


def _alpha(counts: I64, values: Sequence[int]) -> float:
    return float(
        krippendorff.alpha(
            value_counts=counts, value_domain=list(values), level_of_measurement="ordinal"
        )
    )


def _differs(counts: I64) -> bool:
    """Whether more than one value occurs: agreement beyond chance needs something to differ in."""
    return len(counts) > 0 and int((counts.sum(0) > 0).sum()) > 1


def _ratio(sums: F64, counts: F64) -> F64:
    whole = np.broadcast_to(counts, sums.shape)
    known = np.full(sums.shape, np.nan)
    np.divide(sums, whole, out=known, where=whole > 0)
    return known
