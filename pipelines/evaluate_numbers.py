"""From videos and judgements that are kept to the numbers of an evaluation.

Nothing is made here: the same home gives the same numbers, whoever made what is in it.
"""

import json
from collections.abc import Sequence
from typing import Any

from curation.identities import canonical_json
from curation.records import now
from evaluation.aggregate import differences, variant_results
from evaluation.errors import EvaluationError
from evaluation.metrics.cache import ResultCache
from evaluation.results import (
    SCHEMA_VERSION,
    Cost,
    Evaluation,
    Failure,
    JudgedVideo,
    Origin,
    PromptShown,
)
from evaluation.statistics import Draws
from pipelines.evaluate_cells import Cell, is_made, read_record
from pipelines.evaluate_plan import Prepared
from pipelines.settings import Home
from pipelines.version import code_version


def numbers_of(
    prepared: Prepared, home: Home, failures: Sequence[Failure], run_id: str
) -> Evaluation:
    """Average what is there.

    Args:
        prepared: what was asked for.
        home: that keeps videos and judgements.
        failures: of the run that asks.
        run_id: of that run.

    Raises:
        EvaluationError: no video was judged by any metric.
    """
    config = prepared.config
    prompts = tuple(
        PromptShown(p.id, p.text, p.licence, p.image_sha256, p.dimensions)
        for p in prepared.suite.prompts
    )
    records = {
        cell.key: read_record(home.generated / cell.key)
        for cell in prepared.cells
        if is_made(home.generated / cell.key)
    }
    videos = [
        _judged(prepared, home, cell, records) for cell in prepared.cells if cell.key in records
    ]
    if not any(video.metrics for video in videos):
        first = failures[0].message if failures else "there is no video"
        raise EvaluationError(f"{prepared.id}: nothing could be judged: {first}")
    confidence = config.confidence
    draws = Draws(
        [prompt.id for prompt in prompts],
        confidence.level,
        confidence.resamples,
        confidence.seed,
    )
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        id=prepared.id,
        origin=Origin(
            checkpoint=str(prepared.checkpoint),
            checkpoint_id=prepared.checkpoint_id,
            fingerprint=prepared.fingerprint,
            suite=prepared.suite.name,
            suite_sha256=prepared.suite.sha256,
            recipe=config.recipe,
            profile=config.metrics.profile,
            config=json.loads(canonical_json(config)),
            metrics=prepared.provenance,
            machines=tuple(sorted({record["device"] for record in records.values()})),
            code=code_version(),
            run_id=run_id,
            finished=now().isoformat(timespec="seconds"),
        ),
        level=confidence.level,
        prompts=prompts,
        variants=variant_results(config.variants, prompts, videos, prepared.petaflops, draws),
        differences=differences(config.variants, prompts, videos, draws),
        videos=tuple(videos),
        failures=tuple(failures),
    )


def _judged(
    prepared: Prepared, home: Home, cell: Cell, records: dict[str, dict[str, Any]]
) -> JudgedVideo:
    record, cache = records[cell.key], ResultCache(home.judged)
    parts = [record]
    if cell.base is not None:
        parts.insert(0, read_record(home.generated / cell.base.key))
    seconds = [part["seconds"] for part in parts]
    peaks = [part["peak_bytes"] for part in parts]
    found = {
        plan.name: result
        for plan in prepared.metrics
        if (result := cache.get(record["sha256"], plan.fingerprint)) is not None
    }
    return JudgedVideo(
        prompt=cell.prompt,
        variant=cell.variant,
        seed=cell.seed,
        key=cell.key,
        sha256=record["sha256"],
        frames=record["frames"],
        cost=Cost(
            petaflops=prepared.petaflops[cell.variant],
            seconds=None if None in seconds else sum(seconds),
            first_segment_seconds=parts[0]["first_segment_seconds"],
            peak_bytes=None if None in peaks else max(peaks),
        ),
        metrics=found,
    )
