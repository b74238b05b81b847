"""Evaluations made up for tests: chosen values instead of videos and metrics."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.aggregate import differences, variant_results
from evaluation.metrics.metric import MetricResult
from evaluation.metrics.provenance import Provenance
from evaluation.results import (
    SCHEMA_VERSION,
    Cost,
    Evaluation,
    JudgedVideo,
    Origin,
    PromptShown,
)
from evaluation.statistics import Draws
from evaluation.variants import Variant

FAST, SLOW = Variant("f(6,24)m(1,4)", 49), Variant("f(6,12,24)m(1,2,4)", 49)
JUDGE = Provenance("0", 1, {}, {})
CONFIDENCE = {"level": 0.95, "resamples": 999, "seed": 0}


def shown(name: str, text: str = "", dimensions: tuple[str, ...] = ()) -> PromptShown:
    return PromptShown(name, text or f"the prompt {name}", "CC0-1.0", "", dimensions)


def video(
    prompt: str,
    variant: int,
    values: Mapping[str, float],
    *,
    seed: int = 0,
    seconds: float | None = 2.0,
    frames: int = 49,
) -> JudgedVideo:
    """A judged video; metrics fall by a hundredth from clip to clip."""
    metrics = {
        name: MetricResult(
            value=value,
            series=(value, value - 0.01, value - 0.02),
            starts=(0.0, 2.0, 4.0),
            curves={"to_first_clip": (value, value - 0.05)},
        )
        for name, value in values.items()
    }
    return JudgedVideo(
        prompt=prompt,
        variant=variant,
        seed=seed,
        key=f"{prompt}-{variant}-{seed}",
        sha256="",
        frames=frames,
        cost=Cost(1.0 + variant, seconds, seconds and seconds / 2, 1 << 30),
        metrics=metrics,
    )


def evaluation(
    prompts: Sequence[PromptShown],
    videos: Sequence[JudgedVideo],
    variants: Sequence[Variant] = (FAST, SLOW),
    name: str = "made-up-0",
) -> Evaluation:
    draws = Draws([prompt.id for prompt in prompts], **CONFIDENCE)
    metrics = {metric: JUDGE for one in videos for metric in one.metrics}
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        id=name,
        origin=Origin(
            checkpoint="runs/debug/generator", checkpoint_id=None, fingerprint="f", suite="s",
            suite_sha256="5", recipe="r", profile="plain", config={"confidence": CONFIDENCE},
            metrics=metrics, machines=("a GPU",), code="0.1.0", run_id="r-1",
            finished="2026-01-01T00:00:00+00:00",
        ),
        level=0.95,
        prompts=tuple(prompts),
        variants=variant_results(
            variants, prompts, videos, [1.0 + n for n in range(len(variants))], draws
        ),
        differences=differences(variants, prompts, videos, draws),
        videos=tuple(videos),
        failures=(),
    )  # fmt: skip


def drawn(seed: int, low: float = 0.3, high: float = 0.99) -> float:
    return float(np.random.default_rng(seed).uniform(low, high))
