"""The jobs of `tempo export` and `tempo replay`: what can be had from a checkpoint afterwards."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch

from curation.catalog.store import Catalog
from pipelines.settings import Home
from pipelines.train_begin import checkpoint_at, config_of
from training.checkpoint import StoredState
from training.checkpoint_record import complete_steps, read_record, step_folder, verify
from training.errors import CheckpointError
from training.export import export_generator
from training.versions import published_version

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DTypeName = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A step, run again.

    Attributes:
        training: name of the run.
        step: which.
        checkpoint: whose weights were used; those of the step itself only where it has its number.
        batches: each micro-batch with its samples, their losses, and the norm of its gradients.
    """

    training: str
    step: int
    checkpoint: Path
    batches: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self) | {"checkpoint": str(self.checkpoint)}


def export(home: Home, named: str, to: Path, dtype: DTypeName) -> Path:
    """Write the averaged weights of a checkpoint as a folder that generates.

    Args:
        home: where runs are looked for by name.
        named: a checkpoint: its folder, ``RUN`` or ``RUN/step-00000100``.
        to: a folder that is not there yet, or empty.
        dtype: of the weights.

    Raises:
        TrainingError: no such checkpoint, a damaged one, or the weights its adapters belong to are
            gone.
        ValueError: the folder holds something.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ValueError(f"to = {to}: it holds something already; name a new folder")
    folder = checkpoint_at(home, named)
    verify(folder)
    stored = StoredState(folder)
    export_generator(stored, config_of(stored.record.provenance), to, dtype=_DTYPES[dtype])
    return to


def replay(home: Home, training: str, step: int) -> Replayed:
    """Run a step of a run again, on this machine's processor or first GPU, and change nothing.

    The batch is that of the step, whatever happened to it; the weights are those of the newest
    checkpoint that is not younger than the step.

    Raises:
        TrainingError: no such run, or no checkpoint as old as the step.
        CurationError: its dataset version is gone.
    """
    from training.trainer import RunJob, replay_step

    folder = home.checkpoints / training
    older = [found for found in complete_steps(folder) if found <= step]
    # A run that stopped stands behind its last steps, none of which changed the weights.
    behind = [found for found in complete_steps(folder) if found > step]
    if not older and not behind:
        raise CheckpointError(f"run {training!r} has no checkpoint in {home.checkpoints}")
    chosen = _nearest(folder, older, behind, step)
    record = read_record(step_folder(folder, chosen))
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, record.provenance.dataset)
    job = RunJob(
        config_of(record.provenance),
        record.provenance,
        version.manifest,
        folder,
        home.runs / training,
        chosen,
    )
    return Replayed(training, step, step_folder(folder, chosen), replay_step(job, step))


def _nearest(folder: Path, older: list[int], behind: list[int], step: int) -> int:
    """The checkpoint whose weights are nearest to those that the step began with."""
    if behind:
        first = read_record(step_folder(folder, behind[0]))
        applied = read_record(step_folder(folder, older[-1])).updates if older else 0
        since = older[-1] if older else 0
        # As many updates as there were steps up to this one: all later steps were skipped.
        if first.updates - applied <= step - since:
            return behind[0]
    if not older:
        raise CheckpointError(
            f"run {folder.name} has no checkpoint as old as step {step}: its oldest is at "
            f"{behind[0]}"
        )
    return older[-1]
