"""From single videos to rows of a table: means over prompts, VBench's total, differences.

Seeds of one prompt are averaged first, so that a prompt counts once; intervals draw prompts, the
same draws for all rows, metrics and the total. A difference is taken prompt by prompt, where both
rows have a video. The trade-off: prompts that look alike (moments of one shot) count as separate
draws, and then intervals are too narrow.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evaluation.metrics.metric import is_proxy
from evaluation.results import (
    TOTAL,
    Cost,
    Difference,
    Estimate,
    JudgedVideo,
    VariantResult,
)
from evaluation.score import DIMENSIONS, normalised
from evaluation.suites import Prompt
from evaluation.variants import Variant, labels

Array = npt.NDArray[np.float64]
ByPrompt = dict[str, float]
"""Prompt -> mean over its seeds, percent."""
FEWEST_PROMPTS = 5
"""With fewer, all of them moving the same way is no proof of anything (1/2^4 by chance)."""


class Draws:
    """Bootstrap draws of prompts.

    Args:
        prompts: ids.
        level: share of intervals that hold the truth.
        resamples: draws.
        seed: of the draws.
    """

    def __init__(self, prompts: Sequence[str], level: float, resamples: int, seed: int) -> None:
        count = len(prompts)
        drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
        offsets = np.arange(resamples)[:, None] * count
        # [R,P] how often each prompt stands in each draw.
        self._times = (
            np.bincount((drawn + offsets).ravel(), minlength=resamples * count)
            .reshape(resamples, count)
            .astype(np.float64)
        )
        self._prompts = list(prompts)
        self._tails = (50 * (1 - level), 50 * (1 + level))

    def means(self, values: ByPrompt) -> Array:
        """`[R]` mean of each draw; NaN where it holds none of the prompts."""
        there = np.asarray([prompt in values for prompt in self._prompts], np.float64)
        filled = np.asarray([values.get(prompt, 0.0) for prompt in self._prompts])
        with np.errstate(invalid="ignore"):
            means: Array = (self._times @ filled) / (self._times @ there)
        return means

    def estimate(self, mean: float, draws: Array, prompts: int) -> Estimate:
        """A mean with the interval that its draws give."""
        low, high = np.nanpercentile(draws, self._tails)
        return Estimate(mean, float(low), float(high), prompts)


def variant_results(
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    videos: Sequence[JudgedVideo],
    petaflops: Sequence[float],
    draws: Draws,
) -> tuple[VariantResult, ...]:
    """A row for each variant that has a video."""
    rows = []
    for number, (variant, label) in enumerate(zip(variants, labels(variants), strict=True)):
        own = [video for video in videos if video.variant == number]
        values = by_prompt(prompts, own)
        metrics = {
            name: draws.estimate(_mean(found), draws.means(found), len(found))
            for name, found in values.items()
        }
        rows.append(
            VariantResult(
                label=label,
                variant=variant,
                videos=len(own),
                cost=_cost(own, petaflops[number]),
                metrics=metrics,
                total=_total(values, draws),
            )
        )
    return tuple(rows)


def differences(
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    videos: Sequence[JudgedVideo],
    draws: Draws,
) -> tuple[Difference, ...]:
    """Every pair of variants of one length; of others, each against the first."""
    values = [
        by_prompt(prompts, [video for video in videos if video.variant == number])
        for number in range(len(variants))
    ]
    return tuple(
        Difference(measure, first, second, estimate, resolved(estimate))
        for first, second in _pairs(variants)
        for measure, estimate in compared(values[first], values[second], draws).items()
    )


def compared(
    first: Mapping[str, ByPrompt], second: Mapping[str, ByPrompt], draws: Draws
) -> dict[str, Estimate]:
    """Measure -> second minus first, over the prompts that both have."""
    shared = {
        name: sorted(first[name].keys() & second[name].keys()) for name in first if name in second
    }
    paired = [
        {name: {p: side[name][p] for p in found} for name, found in shared.items() if found}
        for side in (first, second)
    ]
    found = {}
    for name in paired[0]:
        gaps = {p: paired[1][name][p] - paired[0][name][p] for p in shared[name]}
        found[name] = draws.estimate(_mean(gaps), draws.means(gaps), len(gaps))
    if DIMENSIONS.keys() <= paired[0].keys():
        one, other = (_total_of(side, draws) for side in paired)
        counted = min(len(shared[name]) for name in DIMENSIONS)
        gap = draws.estimate(other[0] - one[0], other[1] - one[1], counted)
        found = {TOTAL: gap} | found
    return found


def resolved(difference: Estimate) -> bool:
    """Whether a difference's interval excludes nothing, and there are prompts enough to say so."""
    return difference.resolved and difference.prompts >= FEWEST_PROMPTS


def by_prompt(prompts: Sequence[Prompt], videos: Sequence[JudgedVideo]) -> dict[str, ByPrompt]:
    """Metric -> prompt -> percent, of the prompts that count for the metric."""
    seeds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    known = {prompt.id: prompt for prompt in prompts}
    for video in videos:
        for name, result in video.metrics.items():
            if known[video.prompt].counts_for(name):
                seeds[name][video.prompt].append(100.0 * result.value)
    return {
        name: {prompt: float(np.mean(values)) for prompt, values in found.items()}
        for name, found in seeds.items()
    }


def _pairs(variants: Sequence[Variant]) -> Iterator[tuple[int, int]]:
    for first, second in itertools.combinations(range(len(variants)), 2):
        alike = variants[first].length == variants[second].length
        if alike or first == 0:
            yield first, second


def _mean(values: ByPrompt) -> float:
    return float(np.mean(list(values.values())))


def _total(values: Mapping[str, ByPrompt], draws: Draws) -> Estimate | None:
    if any(is_proxy(name) for name in values) or not DIMENSIONS.keys() <= values.keys():
        return None
    mean, drawn = _total_of(values, draws)
    return draws.estimate(mean, drawn, len({p for name in DIMENSIONS for p in values[name]}))


def _total_of(values: Mapping[str, ByPrompt], draws: Draws) -> tuple[float, Array]:
    """VBench's total of the means, and of the means of each draw: it is linear in them."""
    weight = sum(dimension.weight for dimension in DIMENSIONS.values())

    def total(of: Mapping[str, Array]) -> Array:
        terms = [DIMENSIONS[name].weight * _normalised(name, of[name]) for name in DIMENSIONS]
        summed: Array = np.sum(terms, axis=0) / weight
        return summed

    means = {name: np.asarray(_mean(values[name])) for name in DIMENSIONS}
    drawn = {name: draws.means(values[name]) for name in DIMENSIONS}
    return float(total(means)), total(drawn)


def _normalised(name: str, percent: Array) -> Array:
    low, high = normalised(name, 0.0), normalised(name, 100.0)
    return low + percent / 100.0 * (high - low)


def _cost(videos: Sequence[JudgedVideo], petaflops: float) -> Cost:
    seconds = [v.cost.seconds for v in videos if v.cost.seconds is not None]
    firsts = [
        v.cost.first_segment_seconds for v in videos if v.cost.first_segment_seconds is not None
    ]
    peaks = [v.cost.peak_bytes for v in videos if v.cost.peak_bytes is not None]
    return Cost(
        petaflops=petaflops,
        seconds=float(np.mean(seconds)) if seconds else None,
        first_segment_seconds=float(np.mean(firsts)) if firsts else None,
        peak_bytes=max(peaks, default=None),
    )
