"""How sure a mean over generated videos is: intervals and differences, prompt by prompt.

Videos of one prompt are alike, so prompts are what is drawn: seeds of a prompt are averaged first,
a bootstrap (Efron 1979) draws whole prompts with replacement, and one set of draws serves every
metric and the total made of them. Percentile intervals are plain and never leave the scale; with a
handful of prompts they are too narrow, so a difference counts as resolved only where a sign-flip
test (Fisher 1935), which small numbers cannot fool, agrees: five prompts never resolve anything.

Values are percent here; `percent` brings raw ones there.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from evaluation.score import total_score

F64 = npt.NDArray[np.float64]
ByPrompt = Mapping[str, float]
"""Prompt -> mean over its seeds, percent."""

LEVEL = 0.95
RESAMPLES = 9999
SEED = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over prompts, percent."""

    mean: float
    low: float
    high: float
    """The interval; both are the mean where one prompt tells nothing of others."""
    standard_error: float
    prompts: int

    @property
    def has_interval(self) -> bool:
        """Whether the interval says anything: a single prompt cannot tell how others differ."""
        return self.prompts > 1


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """The second mean less the first, over the prompts that both have."""

    estimate: Estimate
    p_value: float
    """How often signs drawn by chance give so large a difference, if there is none."""
    level: float

    @property
    def resolved(self) -> bool:
        """Whether there is a difference at all, by the interval and by the test."""
        apart = self.estimate.low > 0.0 or self.estimate.high < 0.0
        return apart and self.p_value <= 1.0 - self.level


class Draws:
    """Draws of prompts with replacement, the same for everything that is asked of them.

    Args:
        prompts: their ids, at least one.
        level: share of intervals that hold the truth.
        resamples: how many draws.
        seed: of the draws.

    Raises:
        ValueError: no prompt, one named twice, or settings out of range.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        level: float = LEVEL,
        resamples: int = RESAMPLES,
        seed: int = SEED,
    ) -> None:
        if not prompts or len(set(prompts)) < len(prompts):
            raise ValueError(f"{len(prompts)} prompts: give at least one, each once")
        if not 0.0 < level < 1.0:
            raise ValueError(f"level = {level}: give a share between 0 and 1, e.g. 0.95")
        if resamples < 1:
            raise ValueError(f"resamples = {resamples}: give at least 1, e.g. {RESAMPLES}")
        self.level = level
        self._prompts, self._seed = list(prompts), seed
        count = len(prompts)
        # [R,P] how often each prompt stands in each draw.
        self._times = np.random.default_rng(seed).multinomial(
            count, np.full(count, 1.0 / count), size=resamples
        )

    def means(self, values: ByPrompt) -> F64:
        """The mean of each draw, `[R]`; NaN in a draw that holds none of these prompts.

        Raises:
            ValueError: a prompt that is not drawn from.
        """
        self._check(values)
        there = np.array([prompt in values for prompt in self._prompts], np.float64)
        filled = np.array([values.get(prompt, 0.0) for prompt in self._prompts])
        held = self._times @ there
        means: F64 = np.divide(
            self._times @ filled, held, out=np.full(len(held), np.nan), where=held > 0
        )
        return means

    def estimate(self, values: ByPrompt) -> Estimate:
        """The mean of some prompts' values and its interval."""
        return self._of_draws(_mean(values), self.means(values), len(values))

    def estimate_of(
        self, metrics: Mapping[str, ByPrompt], combine: Callable[[Mapping[str, float]], float]
    ) -> Estimate:
        """A number made of several metrics' means, and its interval.

        Args:
            metrics: by name; they may be of different prompts.
            combine: makes the number of one mean per name, e.g. `total_score`. It is asked once
                for each draw.
        """
        drawn = {name: self.means(values) for name, values in metrics.items()}
        whole = [
            {name: float(means[draw]) for name, means in drawn.items()}
            for draw in np.flatnonzero(np.all([~np.isnan(m) for m in drawn.values()], axis=0))
        ]
        combined = np.array([combine(means) for means in whole])
        mean = combine({name: _mean(values) for name, values in metrics.items()})
        prompts = {prompt for values in metrics.values() for prompt in values}
        return self._of_draws(mean, combined, len(prompts))

    def total(self, metrics: Mapping[str, ByPrompt]) -> Estimate:
        """VBench's total.

        Raises:
            ValueError: the metrics are not its six dimensions; surrogates have no total.
        """
        return self.estimate_of(metrics, total_score)

    def difference(self, first: ByPrompt, second: ByPrompt) -> Difference:
        """The second less the first, prompt by prompt, over the prompts that both have.

        Raises:
            ValueError: they share no prompt.
        """
        shared = [prompt for prompt in self._prompts if prompt in first and prompt in second]
        if not shared:
            raise ValueError("the two share no prompt: there is nothing to compare")
        gaps = {prompt: second[prompt] - first[prompt] for prompt in shared}
        return Difference(
            self.estimate(gaps), sign_flip_p(np.array(list(gaps.values())), self._seed), self.level
        )

    def _of_draws(self, mean: float, draws: F64, prompts: int) -> Estimate:
        tail = 50.0 * (1.0 - self.level)
        low, high = np.nanpercentile(draws, (tail, 100.0 - tail))
        return Estimate(mean, float(low), float(high), float(np.nanstd(draws)), prompts)

    def _check(self, values: ByPrompt) -> None:
        unknown = set(values) - set(self._prompts)
        if unknown or not values:
            raise ValueError(
                f"values of {len(values)} prompts, {len(unknown)} of them not among the "
                f"{len(self._prompts)} that are drawn from"
            )


def sign_flip_p(gaps: F64, seed: int = SEED) -> float:
    """How likely a mean so far from 0 is if each gap might as well have the other sign.

    Exact up to 13 gaps, then by `RESAMPLES` random flips; the least it can be is 2 / 2^n.

    Args:
        gaps: one per prompt.
        seed: of the flips.
    """
    if len(gaps) < 2:
        return 1.0  # either sign is as likely, and scipy asks for two
    found = stats.permutation_test(
        (gaps,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def percent(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Raw values of each prompt's seeds to one percentage per prompt.

    Raises:
        ValueError: a prompt without a value.
    """
    empty = [prompt for prompt, seeds in values.items() if not len(seeds)]
    if empty:
        raise ValueError(f"no value for {', '.join(empty)}; leave such prompts out")
    return {prompt: 100.0 * float(np.mean(seeds)) for prompt, seeds in values.items()}


def _mean(values: ByPrompt) -> float:
    return float(np.mean(list(values.values())))
