"""The events that other automations may wait for, each with an id that depends on what happened.

A run that is repeated emits the same event with the same id, and Prefect keeps it once.
"""

import uuid

from prefect.events import emit_event

from pipelines.summary import DatasetSummary

DATASET_PUBLISHED = "curation.dataset.published"
CHECKPOINT_WRITTEN = "training.checkpoint.written"
EVALUATION_FINISHED = "evaluation.finished"

_OURS = uuid.UUID("0d0b5c52-8f4e-4c5a-9a53-7d1b6f6a5a34")


def dataset_published(dataset: DatasetSummary, publish_id: str) -> None:
    """A version of a dataset is there."""
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
        id=uuid.uuid5(_OURS, publish_id),
    )
