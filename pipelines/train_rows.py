"""What a training run leaves in the catalog while it is under way: a row for each checkpoint."""

import dataclasses
from pathlib import Path

from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.identities import canonical_json
from curation.records import CheckpointRow, now
from model.schedule import TOP_RATE
from pipelines.settings import Home
from pipelines.train_begin import Say, checkpoint_id
from training.checkpoint_record import GENERATOR, Record, complete_steps, read_record, step_folder
from training.errors import CheckpointError
from training.samples import Samples
from training.trainer import RunJob


@dataclasses.dataclass
class CheckpointRows:
    """The rows of a run under way.

    Attributes:
        catalog: gets them.
        home: that paths are relative to.
        job: the run.
        run_id: of this call.
        say: hears what could not be written.
    """

    catalog: Catalog
    home: Home
    job: RunJob
    run_id: str
    say: Say
    _unreadable: set[int] = dataclasses.field(default_factory=set, init=False)

    def register(self) -> None:
        """Give each complete checkpoint its row; one that has it keeps it.

        One that cannot be read gets none, which is said once: what the run goes on from is sound.

        Raises:
            CatalogError: the catalog cannot take them.
        """
        job = self.job
        seconds: float | None = None
        rows = []
        for step in complete_steps(job.checkpoints):
            record = self._record(step)
            if record is None:
                continue
            key = checkpoint_id(job.provenance.training, step)
            # A step that was done again may have come to other weights, up to rounding.
            same = {"checkpoint_id": key, "weights_sha256": record.weights_sha256}
            if self.catalog.holds("checkpoints", same):
                continue
            seconds = _seconds(job) if seconds is None else seconds
            rows.append(self._row(record, key, seconds))
        if rows:
            self.catalog.append("checkpoints", rows)

    def register_if_possible(self) -> None:
        """As `register`, but days of training do not end with the catalog's bad minute."""
        try:
            self.register()
        except CatalogError as error:
            self.say(f"warning: no row yet, the next checkpoint tries again: {error}")

    def _record(self, step: int) -> Record | None:
        """What a checkpoint says of itself; None where it cannot be read, or is gone by now."""
        try:
            return read_record(step_folder(self.job.checkpoints, step))
        except CheckpointError as error:
            # Rank 0 may have deleted it since it was listed.
            if step in complete_steps(self.job.checkpoints) and step not in self._unreadable:
                self._unreadable.add(step)
                self.say(f"warning: no row for the checkpoint at step {step}: {error}")
            return None

    def _row(self, record: Record, key: str, seconds: float) -> CheckpointRow:
        folder = step_folder(self.job.checkpoints, record.step)
        origin = record.provenance
        dataset, _, version = origin.dataset.partition("@")
        generator = folder / GENERATOR
        return CheckpointRow(
            checkpoint_id=key,
            training=origin.training,
            stage=origin.stage,
            recipe=origin.recipe,
            step=record.step,
            uri=self._uri(folder),
            generator_uri=self._uri(generator) if generator.is_dir() else None,
            dataset=dataset,
            version=int(version),
            dataset_seconds=seconds,
            parent=origin.parent,
            seed=origin.seed,
            world_size=record.world_size,
            val_loss=record.val_loss,
            weights_sha256=record.weights_sha256,
            config=canonical_json(origin.config),
            code_version=origin.code_version,
            run_id=self.run_id,
            recorded_at=now(),
        )

    def _uri(self, folder: Path) -> str:
        """Relative to the home, which may be moved as a whole."""
        return folder.relative_to(self.home.root).as_posix()


def _seconds(job: RunJob) -> float:
    """Length of the version's training side."""
    samples = Samples.open(job.manifest, "train", job.provenance.manifest_sha256)
    try:
        return float(samples.frame_counts.sum() / TOP_RATE)
    finally:
        samples.close()
