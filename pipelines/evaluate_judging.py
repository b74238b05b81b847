"""Videos judged in workers: every metric from one decode, each result a file beside the video.

A result's file is named by the metric and its fingerprint, so another metric, version or weight
costs its own passes and nothing else. Where one metric cannot judge a video the others still do.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from curation.traces import replacing
from evaluation.errors import MetricError
from evaluation.metrics.build import MetricPlan
from evaluation.metrics.metric import Metric, MetricResult, score_together
from pipelines.evaluate_cells import VIDEO, read_record


@dataclasses.dataclass(frozen=True, slots=True)
class ToJudge:
    """A video, and the metrics that have not judged it yet."""

    folder: Path
    metrics: tuple[str, ...]


def result_path(folder: Path, plan: MetricPlan) -> Path:
    """Where a metric's result for a cell's video is."""
    return folder / "scores" / f"{plan.name}-{plan.fingerprint}.json"


def read_result(folder: Path, plan: MetricPlan, sha256: str) -> MetricResult | None:
    """What a metric said of a cell's video; None where it was not asked, or of another video.

    Args:
        folder: of the cell.
        plan: of the metric.
        sha256: of the video.
    """
    path = result_path(folder, plan)
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return MetricResult.from_json(document["result"]) if document["video"] == sha256 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # not ours, or damaged: it is judged again


@dataclasses.dataclass(frozen=True)
class Judges:
    """What a worker holds."""

    metrics: dict[str, tuple[MetricPlan, Metric]]


def assemble(plans: Sequence[MetricPlan]) -> Judges:
    """Load what metrics need."""
    return Judges({plan.name: (plan, plan.make()) for plan in plans})


def judge(judges: Judges, item: ToJudge) -> dict[str, str]:
    """Judge a video, and write what each metric says.

    Returns:
        Metric -> why it could not judge; empty when all did.
    """
    wanted = [judges.metrics[name] for name in item.metrics]
    sha256 = read_record(item.folder)["sha256"]
    failed: dict[str, str] = {}
    try:
        found = score_together(item.folder / VIDEO, [metric for _, metric in wanted])
    except MetricError:
        found = {}
        for _, metric in wanted:
            try:
                found[metric.name] = metric.score(item.folder / VIDEO)
            except MetricError as error:
                failed[metric.name] = str(error)
    for plan, _ in wanted:
        if plan.name in found:
            _write(result_path(item.folder, plan), sha256, found[plan.name])
    return failed


def _write(path: Path, sha256: str, result: MetricResult) -> None:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        text = json.dumps({"video": sha256, "result": result.to_json()}, sort_keys=True)
        partial.write_text(text + "\n", encoding="utf-8")
