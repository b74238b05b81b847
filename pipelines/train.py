"""The job of training: a recipe and a dataset version in, checkpoints, curves and their rows out.

Ranks are processes that this one starts and outlives; it alone talks to the catalog. Training does
not hold the home's lock, for it writes nothing that curation touches; a run has a lock of its own.
Running a job again goes on from its newest checkpoint, so a retry is the recovery.
"""

import contextlib
import dataclasses
import datetime as dt
import math
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import filelock

from curation.catalog.datasets import check_name
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import now
from pipelines.job import Progress, new_run_id
from pipelines.precomputed import choose
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home
from pipelines.train_begin import Beginning, job_of
from pipelines.train_ranks import Machine, read_hostfile, run_ranks
from pipelines.train_rows import CheckpointRows
from pipelines.train_samples import sheet_of
from training.checkpoint_record import GENERATOR, read_record, step_folder
from training.config import TrainConfig
from training.errors import TrainingError
from training.trainer import RunJob, latest
from training.versions import PublishedVersion, published_version

_LOCK = ".lock"


@dataclasses.dataclass(frozen=True, slots=True)
class TrainRequest:
    """What a run is asked to do.

    Attributes:
        config: of the run.
        dataset: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        training: name of the run; empty: the recipe's and the dataset's.
        ranks: processes, each with a GPU of its own where there are any; None: one for each GPU, or
            one.
        hostfile: machines to run on instead, lines of ``HOST slots=N``.
        port: where ranks of several machines meet.
        resume: "auto" goes on from the newest checkpoint of the run; "never" refuses to.
    """

    config: TrainConfig
    dataset: str
    training: str = ""
    ranks: int | None = None
    hostfile: Path | None = None
    port: int = 29_500
    resume: Literal["auto", "never"] = "auto"

    def __post_init__(self) -> None:
        if self.training:
            check_name(self.training)
        if self.ranks is not None and self.ranks < 1:
            raise ValueError(f"ranks = {self.ranks}: give at least 1")
        if self.ranks is not None and self.hostfile is not None:
            raise ValueError("ranks, hostfile: the hostfile says how many; give one of the two")


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        training: its name.
        dataset: ``NAME@3``.
        steps: behind the newest checkpoint.
        began_at: the step that this call went on from.
        seconds: that this call took.
        loss: mean of the last steps, where there were any.
        val_loss: of the newest checkpoint, where it was validated.
        checkpoint: the newest.
        generator: in it, for `tempo generate`; None: `tempo export` makes one.
        folder: config, metrics, curves and logs of ranks.
        samples: contact sheet of a video by it, where a film is held out to begin one from.
        warnings: what may turn out badly.
        precomputed: kind -> whether this call used what `tempo precompute` makes, or why not.
    """

    training: str
    dataset: str
    steps: int
    began_at: int
    seconds: float
    loss: float | None
    val_loss: float | None
    checkpoint: Path
    generator: Path | None
    folder: Path
    samples: Path | None
    warnings: list[str]
    precomputed: dict[str, str] = dataclasses.field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        listed = dataclasses.asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in listed.items()}


def train(request: TrainRequest, home: Home, progress: Progress) -> Trained:
    """Train; whatever ends this call ends all ranks.

    Raises:
        TrainingError: see `training.trainer.train`; or the run is under way elsewhere, or was begun
            with another config.
        CurationError: no such dataset, or the catalog is unreachable.
        ValueError: the config does not fit the machines.
    """
    begun = now()
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, request.dataset)
        name = request.training or default_name(request.config, version)
        with _held(home.checkpoints / name, name):
            begin = Beginning(request.config, name, version, request.resume == "auto")
            job = job_of(begin, home, progress.say)
            rows = CheckpointRows(catalog, home, job, new_run_id(), progress.say)
            record = RunRecord(rows.run_id, "train", job.config.recipe, job.config, begun)
            for warning in job.config.warnings():
                progress.say(f"warning: {warning}")
            with failure_recorded(record, home.catalog(), progress.say):
                trained = _Run(job, version, rows, request, progress).finish(begun)
            try:
                catalog.append("runs", [record.row("ok", trained.document())])
            except CatalogError as unrecorded:  # all that was asked for is there
                progress.say(f"the run could not be recorded: {unrecorded}")
            return trained


def default_name(config: TrainConfig, version: PublishedVersion) -> str:
    """Name of a run that was given none: such as ``stage1_a14b-films-3``."""
    dataset = version.reference.replace("@", "-")
    return f"{config.recipe.removeprefix('train_')}-{dataset}"


@dataclasses.dataclass
class _Run:
    """A run under way, and what it has told so far."""

    job: RunJob
    version: PublishedVersion
    rows: CheckpointRows
    request: TrainRequest
    progress: Progress
    loss: float | None = None
    precomputed: dict[str, str] = dataclasses.field(default_factory=dict)

    def finish(self, begun: dt.datetime) -> Trained:
        """Run what is left to do."""
        job = self.job
        self.rows.register()
        if (job.resume or 0) < job.config.steps:
            machines = _machines(self.request)
            job.config.check_ranks(sum(machine.ranks for machine in machines))
            run_ranks(self._with_precomputed(), machines, self.request.port, self._hear)
        else:
            self.progress.say(f"{job.provenance.training} is at step {job.resume} already")
        self.rows.register()
        step = latest(job.checkpoints)
        assert step is not None
        folder = step_folder(job.checkpoints, step)
        generator = folder / GENERATOR if (folder / GENERATOR).is_dir() else None
        return Trained(
            training=job.provenance.training,
            dataset=job.provenance.dataset,
            steps=step,
            began_at=job.resume or 0,
            seconds=round((now() - begun).total_seconds(), 3),
            loss=self.loss,
            val_loss=read_record(folder).val_loss,
            checkpoint=folder,
            generator=generator,
            folder=job.folder,
            samples=sheet if (sheet := sheet_of(job.folder, step)).is_file() else None,
            warnings=job.config.warnings(),
            precomputed=self.precomputed,
        )

    def _with_precomputed(self) -> RunJob:
        """The job with the sets that it uses; says which."""
        choice = choose(self.rows.catalog, self.rows.home, self.version, self.job.config)
        self.precomputed = choice.said
        for line in choice.lines:
            self.progress.say(line)
        return dataclasses.replace(self.job, precomputed=choice.precomputed)

    def _hear(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "begun":
                self.progress.say(_begun(event))
                self.progress.stage("train", event["steps"] - event["start"])
            case "step":
                self.progress.advance()
                if not event["applied"]:
                    self.progress.say(f"step {event['step']}: gradients not finite, skipped")
            case "means":
                self.loss = event.get("train/loss")
                self.progress.say(_means(event, self.job.config.steps))
            case "checkpoint":
                self.progress.say(f"checkpoint {event['folder']}")
                self.rows.register_if_possible()
            case "sample":
                self.progress.say(f"video {event['sheet']}")
            case "say":
                self.progress.say(event["message"])


def _machines(request: TrainRequest) -> list[Machine]:
    if request.hostfile is not None:
        return read_hostfile(request.hostfile)
    if request.ranks is not None:
        return [Machine(None, request.ranks)]
    import torch

    return [Machine(None, max(torch.cuda.device_count(), 1))]


@contextlib.contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a run.

    Raises:
        TrainingError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / _LOCK)
    holder = folder / f"{_LOCK}.holder"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        by = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise TrainingError(
            f"run {name} is being trained already, by {by}: wait for it, or give another --name"
        ) from error
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
        if not any(path.name != _LOCK for path in folder.iterdir()):
            shutil.rmtree(folder)  # it has come to nothing


def _begun(event: dict[str, Any]) -> str:
    left_out = ", ".join(f"{count} {why}" for why, count in event["left_out"].items())
    start = f"from step {event['start']} " if event["start"] else ""
    return (
        f"training {event['trained']:,} of {event['parameters']:,} parameters {start}to step "
        f"{event['steps']} on {event['ranks']} x {event['device']} (threads each: "
        f"{event['threads']}): {event['samples']} samples, "
        f"{event['visits']} visits an epoch" + (f"; left out: {left_out}" if left_out else "")
    )


def _means(event: dict[str, Any], steps: int) -> str:
    left = (steps - event["step"]) * event["speed/step_seconds"]
    mfu = f", MFU {event['speed/mfu']:.1%}" if "speed/mfu" in event else ""
    return (
        f"step {event['step']}/{steps}: loss {event.get('train/loss', math.nan):.4f}, gradient "
        f"{event.get('train/grad_norm', math.nan):.3g}, lr {event['train/lr']:.2e}, "
        f"{event['speed/tokens_per_second']:,.0f} tokens/s{mfu}, waits for data "
        f"{event['speed/data_wait_share']:.0%}, {dt.timedelta(seconds=round(left))} left"
    )
