"""From single videos to rows of a table: means over prompts, VBench's total, differences.

Each metric is averaged over the prompts that count for it, as VBench does, so a total is made of
means over different prompts. How sure they are is `evaluation.statistics`' business. The trade-off:
prompts that look alike (moments of one shot) count as separate draws, and then intervals are too
narrow.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evaluation.metrics.metric import is_proxy
from evaluation.results import (
    TOTAL,
    Comparison,
    Cost,
    JudgedVideo,
    PromptShown,
    VariantResult,
)
from evaluation.score import DIMENSIONS, normalised
from evaluation.statistics import ByPrompt, Difference, Draws, Estimate, percent
from evaluation.variants import Variant, labels

Values = Mapping[str, ByPrompt]
"""Metric -> prompt -> percent."""


def variant_results(
    variants: Sequence[Variant],
    prompts: Sequence[PromptShown],
    videos: Sequence[JudgedVideo],
    petaflops: Sequence[float],
    draws: Draws,
) -> tuple[VariantResult, ...]:
    """A row for each variant."""
    rows = []
    for number, (variant, label) in enumerate(zip(variants, labels(variants), strict=True)):
        own = [video for video in videos if video.variant == number]
        values = by_prompt(prompts, own)
        rows.append(
            VariantResult(
                label=label,
                variant=variant,
                videos=len(own),
                cost=_cost(own, petaflops[number]),
                metrics={name: draws.estimate(found) for name, found in values.items()},
                total=_total(values, draws),
            )
        )
    return tuple(rows)


def differences(
    variants: Sequence[Variant],
    prompts: Sequence[PromptShown],
    videos: Sequence[JudgedVideo],
    draws: Draws,
) -> tuple[Comparison, ...]:
    """Every pair of variants of one length; of others, each against the first."""
    values = [
        by_prompt(prompts, [video for video in videos if video.variant == number])
        for number in range(len(variants))
    ]
    return tuple(
        comparison
        for first, second in _pairs(variants)
        for comparison in compared((first, values[first]), (second, values[second]), draws)
    )


def compared(
    first: tuple[int, Values], second: tuple[int, Values], draws: Draws
) -> Iterator[Comparison]:
    """Second minus first in every measure, over the prompts that both have.

    Args:
        first: number of a variant, and its values.
        second: likewise.
        draws: of prompts.
    """
    shared = {
        name: sorted(first[1][name].keys() & second[1][name].keys())
        for name in first[1]
        if name in second[1]
    }
    gaps = {
        name: {p: second[1][name][p] - first[1][name][p] for p in found}
        for name, found in shared.items()
        if found
    }
    measures = _with_total(gaps)
    for measure, of_prompts in measures.items():
        found: Difference = draws.difference(dict.fromkeys(of_prompts, 0.0), of_prompts)
        yield Comparison(
            measure=measure,
            first=first[0],
            second=second[0],
            estimate=found.estimate,
            p_value=found.p_value,
            resolved=found.resolved,
        )


def by_prompt(prompts: Sequence[PromptShown], videos: Sequence[JudgedVideo]) -> dict[str, ByPrompt]:
    """Metric -> prompt -> percent, of the prompts that count for the metric."""
    # All names first, so that their order is the metrics' and not that of the first prompts.
    names = dict.fromkeys(name for video in videos for name in video.metrics)
    seeds: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    known = {prompt.id: prompt for prompt in prompts}
    for video in videos:
        for name, result in video.metrics.items():
            if known[video.prompt].counts_for(name):
                seeds[name][video.prompt].append(result.value)
    return {name: percent(found) for name, found in seeds.items() if found}


def _with_total(gaps: Values) -> dict[str, ByPrompt]:
    """The gaps and, before them, each prompt's part in the difference of the totals.

    The total is a sum over means over different prompts. Scaled by the number of prompts, its parts
    have the difference of the totals as their mean.
    """
    if not _has_total(gaps):
        return dict(gaps)
    weight = sum(dimension.weight for dimension in DIMENSIONS.values())
    prompts = sorted({prompt for name in DIMENSIONS for prompt in gaps[name]})
    parts = dict.fromkeys(prompts, 0.0)
    for name, dimension in DIMENSIONS.items():
        slope = (normalised(name, 100.0) - normalised(name, 0.0)) / 100.0
        share = dimension.weight / weight * slope * len(prompts) / len(gaps[name])
        for prompt, gap in gaps[name].items():
            parts[prompt] += share * gap
    return {TOTAL: parts} | dict(gaps)


def _pairs(variants: Sequence[Variant]) -> Iterator[tuple[int, int]]:
    for first, second in itertools.combinations(range(len(variants)), 2):
        alike = variants[first].length == variants[second].length
        if alike or first == 0:
            yield first, second


def _has_total(values: Values) -> bool:
    return DIMENSIONS.keys() <= values.keys() and not any(map(is_proxy, values))


def _total(values: Values, draws: Draws) -> Estimate | None:
    if not _has_total(values):
        return None
    return draws.total({name: values[name] for name in DIMENSIONS})


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
