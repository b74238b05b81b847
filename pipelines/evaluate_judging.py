"""Videos judged in workers: all metrics that have not said anything yet, from one decode.

Results are kept by video and metric (`evaluation.metrics.cache`), so another metric, version or
weight costs its own passes and nothing else. Where one metric cannot judge a video the others do.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import MetricError
from evaluation.metrics.build import MetricPlan
from evaluation.metrics.cache import ResultCache
from evaluation.metrics.metric import Metric, score_together
from pipelines.devices import Claim, claim_device


@dataclasses.dataclass(frozen=True, slots=True)
class ToJudge:
    """A video, and the metrics that have not judged it yet.

    Attributes:
        video: the file.
        sha256: of it.
        metrics: names.
    """

    video: Path
    sha256: str
    metrics: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Judges:
    """What a worker holds."""

    cache: ResultCache
    metrics: dict[str, Metric]
    claim: Claim


def assemble(folder: Path, plans: Sequence[MetricPlan]) -> Judges:
    """Load what metrics need.

    Args:
        folder: of kept results.
        plans: of the metrics.
    """
    claim = claim_device(folder, plans[0].config.device)
    metrics = {
        plan.name: dataclasses.replace(
            plan, config=dataclasses.replace(plan.config, device=claim.device)
        ).make()
        for plan in plans
    }
    return Judges(ResultCache(folder), metrics, claim)


def judge(judges: Judges, item: ToJudge) -> dict[str, str]:
    """Judge a video, and keep what each metric says.

    Returns:
        Metric -> why it could not judge; empty when all did.
    """
    wanted = [judges.metrics[name] for name in item.metrics]
    failed: dict[str, str] = {}
    try:
        found = score_together(item.video, wanted)
    except MetricError:
        found = {}
        for metric in wanted:  # each by itself: which of them is it?
            try:
                found[metric.name] = metric.score(item.video)
            except MetricError as error:
                failed[metric.name] = str(error)
    for metric in wanted:
        if metric.name in found:
            judges.cache.put(item.sha256, metric.fingerprint, found[metric.name])
    return failed
