"""The job that judges a checkpoint: videos made, judged, averaged, recorded, shown.

prepare (nothing is written) -> make missing videos -> judge them -> average -> record -> report.
Videos and judgements are kept by what decides them (`generated/`), so a run that was killed, or
that another one overlaps with, is finished by asking again, and ends with the same numbers. No lock
is held over the home: an evaluation takes days of GPUs, and curation and training go on meanwhile.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from curation.catalog.store import Catalog
from curation.identities import canonical_json
from curation.records import EvaluationRow, now
from curation.unfinished import replacing
from evaluation.results import Evaluation
from pipelines.engine import Engine
from pipelines.evaluate_config import EvaluateRequest
from pipelines.evaluate_numbers import numbers_of
from pipelines.evaluate_plan import Prepared, prepare
from pipelines.evaluate_work import judge_videos, make_videos
from pipelines.job import Progress, new_run_id
from pipelines.report_eval import NUMBERS, images_of, write_page, written_alone
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluated:
    """What a run found, and where it is.

    Attributes:
        evaluation: all numbers.
        numbers: `evaluation.json`.
        page: the report.
        made: videos made by this run; others were there.
    """

    evaluation: Evaluation
    numbers: Path
    page: Path
    made: int

    @property
    def complete(self) -> bool:
        """Whether every video was made and judged by every metric."""
        return not self.evaluation.failures

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "evaluation": self.evaluation.id,
            "complete": self.complete,
            "made": self.made,
            "table": self.evaluation.table(),
            "differences": [dataclasses.asdict(d) for d in self.evaluation.differences],
            "failures": [dataclasses.asdict(failure) for failure in self.evaluation.failures],
            "numbers": str(self.numbers),
            "page": str(self.page),
        }


def evaluate(request: EvaluateRequest, home: Home, engine: Engine, progress: Progress) -> Evaluated:
    """Make, judge and average the videos of a checkpoint.

    Failures of single videos or metrics are in the result, and everything else is kept: asking
    again tries them again, and nothing else.

    Args:
        request: what.
        home: where videos, numbers and rows go.
        engine: who does the work.
        progress: who watches.

    Raises:
        CheckpointError, CurationError, TrainingError, ValueError: as `prepare`.
        EvaluationError: no video could be made or judged at all.
    """
    begun, run_id = now(), new_run_id()
    prepared = prepare(request, home)
    for warning in prepared.warnings:
        progress.say(f"warning: {warning}")
    run = RunRecord(run_id, "evaluate", prepared.config.recipe, prepared.config, begun)
    with failure_recorded(run, home.catalog(), progress.say):
        evaluated = _run(prepared, home, engine, progress, run_id)
    status = "ok" if evaluated.complete else "failed"
    rows = _rows(prepared, evaluated, home) if evaluated.complete else []
    with Catalog.open(home.catalog()) as catalog:
        catalog.append("evaluations", rows)
        catalog.append("runs", [run.row(status, evaluated.document())])
    return evaluated


def _run(
    prepared: Prepared, home: Home, engine: Engine, progress: Progress, run_id: str
) -> Evaluated:
    missing = len(prepared.missing(home))
    work = prepared, home, engine, progress
    failures = [*make_videos(*work), *judge_videos(*work)]
    evaluation = numbers_of(prepared, home, failures, run_id)
    # Keys are not sorted: metrics keep VBench's order.
    text = json.dumps(evaluation.document(), ensure_ascii=False, separators=(",", ":"))
    with written_alone(home, evaluation.id) as folder:
        numbers = folder / NUMBERS
        with replacing(numbers) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    page = write_page(home, evaluation, None, images_of(prepared.suite)).page
    made = missing - len(prepared.missing(home))
    return Evaluated(evaluation, numbers, Path(page), made)


def _rows(prepared: Prepared, evaluated: Evaluated, home: Home) -> list[EvaluationRow]:
    evaluation = evaluated.evaluation
    origin = evaluation.origin
    return [
        EvaluationRow(
            evaluation_id=evaluation.id,
            schedule=result.label,
            frames=result.variant.length,
            checkpoint=origin.checkpoint,
            checkpoint_id=origin.checkpoint_id,
            suite=origin.suite,
            suite_sha256=origin.suite_sha256,
            profile=origin.profile,
            videos=result.videos,
            total=result.total.mean if result.total else None,
            metrics=canonical_json(
                {
                    name: {
                        "mean": found.mean,
                        "low": found.low if found.has_interval else None,
                        "high": found.high if found.has_interval else None,
                    }
                    for name, found in result.metrics.items()
                }
            ),
            cost=canonical_json(result.cost),
            uri=str(evaluated.numbers.parent.relative_to(home.root)),
            recipe=origin.recipe,
            config=canonical_json(prepared.config),
            code_version=origin.code,
            run_id=origin.run_id,
            recorded_at=now(),
        )
        for result in evaluation.variants
    ]
