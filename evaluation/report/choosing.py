"""What the report shows of an evaluation: rows, the best and worst videos, how videos drift.

Pure: from typed documents to what the page draws. A page plays at most `MAX_PROMPTS` prompts; those
that some number points at come first, then the others in the suite's order.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from evaluation.metrics.metric import MetricResult
from evaluation.results import Evaluation, JudgedVideo, VariantResult

MAX_PROMPTS = 200
_EXTREMES = 3
_BEGINNING = "to_first_clip"
"""The curve that tells how far a video has gone from how it began."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A row of the tables, and a place in the row of videos."""

    number: int
    run: int
    """0 is the report's own evaluation, 1 the one that it is held against."""
    variant: int
    label: str
    result: VariantResult


@dataclasses.dataclass(frozen=True, slots=True)
class Extreme:
    """One of the best or worst videos by one metric."""

    prompt: str
    entry: int
    seed: int
    percent: float


@dataclasses.dataclass(frozen=True, slots=True)
class Curve:
    """How one entry's videos fare over time: mean over videos at each moment."""

    entry: int
    seconds: tuple[float, ...]
    percents: tuple[float, ...]


def entries_of(evaluation: Evaluation, against: Evaluation | None) -> list[Entry]:
    """The rows of the report's own evaluation, then those of the other one."""
    runs = [evaluation] if against is None else [evaluation, against]
    return [
        Entry(
            number,
            run,
            variant,
            result.label if against is None else f"{'AB'[run]}: {result.label}",
            result,
        )
        for number, (run, variant, result) in enumerate(
            (run, variant, result)
            for run, of_run in enumerate(runs)
            for variant, result in enumerate(of_run.variants)
        )
    ]


def entry_of(entries: list[Entry]) -> dict[tuple[int, int], int]:
    """(run, variant) -> number of the entry."""
    return {(entry.run, entry.variant): entry.number for entry in entries}


def extremes(evaluation: Evaluation, metric: str) -> tuple[list[Extreme], list[Extreme]]:
    """The worst and the best videos of the report's own evaluation by a metric."""
    scored = [
        Extreme(video.prompt, video.variant, video.seed, 100.0 * video.metrics[metric].value)
        for video in evaluation.videos
        if metric in video.metrics
    ]
    ranked = sorted(scored, key=lambda found: (found.percent, found.prompt, found.entry))
    # Of a few videos none is both.
    count = min(_EXTREMES, len(ranked) // 2)
    return ranked[:count], ranked[::-1][:count]


def shown_prompts(evaluation: Evaluation, against: Evaluation | None) -> list[str]:
    """Prompts whose videos the page plays, in the suite's order."""
    ids = [prompt.id for prompt in evaluation.prompts]
    if against is not None:
        ids += [prompt.id for prompt in against.prompts if prompt.id not in set(ids)]
    pointed = {
        found.prompt
        for metric in evaluation.origin.metrics
        for side in extremes(evaluation, metric)
        for found in side
    }
    chosen = set(pointed)
    for prompt in ids:
        if len(chosen) >= MAX_PROMPTS:
            break
        chosen.add(prompt)
    return [prompt for prompt in ids if prompt in chosen][:MAX_PROMPTS]


def curves(runs: list[Evaluation], entries: list[Entry], metric: str) -> dict[str, list[Curve]]:
    """A metric over time: clip by clip and, where it tells, against the video's beginning."""
    numbers = entry_of(entries)
    found: dict[str, dict[int, dict[float, list[float]]]] = {}
    for run, evaluation in enumerate(runs):
        for video in evaluation.videos:
            number = numbers[run, video.variant]
            for kind, points in _over_time(video, metric):
                times = found.setdefault(kind, {}).setdefault(number, defaultdict(list))
                for second, value in points:
                    times[round(second, 3)].append(100.0 * value)
    return {
        kind: [_mean_curve(number, times) for number, times in sorted(by_entry.items())]
        for kind, by_entry in found.items()
    }


def _over_time(video: JudgedVideo, metric: str) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    result: MetricResult | None = video.metrics.get(metric)
    if result is None:
        return
    yield "clip by clip", list(zip(result.starts, result.series, strict=True))
    curve = result.curves.get(_BEGINNING, ())
    if curve and len(curve) <= len(result.starts):
        # A first clip has nothing before it, so a curve may begin with the second.
        starts = result.starts[len(result.starts) - len(curve) :]
        yield "likeness to the first clip", list(zip(starts, curve, strict=True))


def _mean_curve(number: int, times: Mapping[float, list[float]]) -> Curve:
    moments = sorted(times)
    return Curve(
        entry=number,
        seconds=tuple(moments),
        percents=tuple(float(np.mean(times[moment])) for moment in moments),
    )
