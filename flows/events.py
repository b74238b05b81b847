"""The events that other automations may wait for, each with an id that depends on what happened.

A run that is repeated emits the same event with the same id, and Prefect keeps it once, for as long
as it keeps events (PREFECT_SERVER_EVENTS_RETENTION_PERIOD, a week by default). A run that
was lost between a deed and its event leaves it to the next one, which asks whether it was told.
"""

import uuid
from collections.abc import Sequence

import httpx
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.exceptions import PrefectException

from curation.records import CheckpointRow, EvaluationRow
from pipelines.summary import DatasetSummary

DATASET_PUBLISHED = "curation.dataset.published"
CHECKPOINT_WRITTEN = "training.checkpoint.written"
EVALUATION_FINISHED = "evaluation.finished"

_OURS = uuid.UUID("0d0b5c52-8f4e-4c5a-9a53-7d1b6f6a5a34")


def dataset_published(dataset: DatasetSummary, publish_id: str) -> None:
    """A version of a dataset is there; says nothing where that was told already.

    Prefect forgets events after some days (a week, unless its server is told otherwise): the next
    run then tells it anew, and a retraining finds that nothing is to be done.
    """
    told = uuid.uuid5(_OURS, publish_id)
    if not dataset.fresh and _is_known(told):
        return
    name, _, version = dataset.reference.partition("@")
    emit_event(
        DATASET_PUBLISHED,
        resource={
            "prefect.resource.id": f"tempo.dataset.{name}",
            "prefect.resource.name": name,
            "tempo.dataset.version": version,
        },
        payload={
            "dataset": name,
            "version": int(version),
            "hours": dataset.hours,
            "samples": dataset.samples,
            "folder": dataset.folder,
        },
        id=told,
    )


def _is_known(told: uuid.UUID) -> bool:
    """Whether the server has an event. Not when it cannot say: then better twice than never."""
    try:
        with get_client(sync_client=True) as client:
            return bool(client.read_events(EventFilter(id=EventIDFilter(id=[told]))).events)
    except (httpx.HTTPError, PrefectException):
        return False


def checkpoint_written(row: CheckpointRow) -> None:
    """A training run has a complete checkpoint."""
    emit_event(
        CHECKPOINT_WRITTEN,
        resource={
            "prefect.resource.id": f"tempo.training.{row.training}",
            "prefect.resource.name": row.training,
            "tempo.training.step": str(row.step),
        },
        payload={
            "training": row.training,
            "step": row.step,
            "dataset": f"{row.dataset}@{row.version}",
            "val_loss": row.val_loss,
            "checkpoint": row.uri,
            "checkpoint_id": row.checkpoint_id,
        },
        id=uuid.uuid5(_OURS, row.checkpoint_id),
    )


def evaluation_finished(rows: Sequence[EvaluationRow]) -> None:
    """A checkpoint was judged: its rows, one for each schedule and length."""
    first = rows[0]
    emit_event(
        EVALUATION_FINISHED,
        resource={
            "prefect.resource.id": f"tempo.evaluation.{first.evaluation_id}",
            "prefect.resource.name": first.evaluation_id,
        },
        payload={
            "evaluation": first.evaluation_id,
            "checkpoint": first.checkpoint,
            "checkpoint_id": first.checkpoint_id,
            "suite": first.suite,
            "profile": first.profile,
            "totals": {f"{row.schedule}, {row.frames} frames": row.total for row in rows},
        },
        id=uuid.uuid5(_OURS, first.evaluation_id),
    )
