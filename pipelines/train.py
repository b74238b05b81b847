"""The job of training: a recipe and a dataset version in, checkpoints, curves and their rows out.

Ranks are processes that this one starts and outlives; it alone talks to the catalog. Training does
not hold the home's lock, for it writes nothing that curation touches; a run has a lock of its own.
Running a job again goes on from its newest checkpoint, so a retry is the recovery.
"""

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
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
from curation.records import CheckpointRow, canonical_json, now
from model.schedule import TOP_RATE
from pipelines.job import Progress, new_run_id
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home, typed_config
from pipelines.train_ranks import Machine, read_hostfile, run_ranks
from pipelines.train_samples import SampleRequest, sample_held_out
from pipelines.version import code_version
from training.checkpoint import (
    GENERATOR,
    Provenance,
    Record,
    complete_steps,
    read_record,
    step_folder,
)
from training.config import TrainConfig
from training.errors import CheckpointError, TrainingDataError, TrainingError
from training.network import InitConfig
from training.samples import Samples
from training.trainer import RunJob, latest
from training.versions import PublishedVersion, published_version

_LOCK = ".lock"
_SAMPLES = "samples"
_MAY_CHANGE = ("steps", "checkpoint", "log", "engine", "data.loader")
"""What another configuration may differ in and still go on from a checkpoint: none of it decides
what a step computes, up to rounding. (The length of a cosine schedule is `steps`, and is said.)"""


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
            job = _job(request, home, version, name)
            run = _Run(catalog, home, job, new_run_id(), request, progress)
            record = RunRecord(run.run_id, "train", job.config.recipe, job.config, begun)
            for warning in request.config.warnings():
                progress.say(f"warning: {warning}")
            with failure_recorded(record, home.catalog(), progress.say):
                trained = run.finish(_machines(request), begun)
            try:
                catalog.append("runs", [record.row("ok", trained.document())])
            except CatalogError as unrecorded:  # all that was asked for is there
                progress.say(f"the run could not be recorded: {unrecorded}")
            return trained


def default_name(config: TrainConfig, version: PublishedVersion) -> str:
    """Name of a run that was given none: such as ``stage1_a14b-films-3``."""
    dataset = version.reference.replace("@", "-")
    return f"{config.recipe.removeprefix('train_')}-{dataset}"


def init_in(home: Home, config: TrainConfig) -> TrainConfig:
    """The config with its first weights named by a full path.

    A checkpoint may be named as ``RUN`` (its newest) or ``RUN/step-00000100``, or by its folder.

    Raises:
        CheckpointError: there is none.
    """
    init = config.network.init
    if init.kind != "checkpoint" or init.source is None:
        return config
    source = checkpoint_at(home, init.source)
    network = dataclasses.replace(
        config.network, init=dataclasses.replace(init, source=str(source))
    )
    return dataclasses.replace(config, network=network)


def checkpoint_at(home: Home, named: str) -> Path:
    """The folder of a checkpoint: named by its folder, as ``RUN`` or ``RUN/step-00000100``.

    Raises:
        CheckpointError: there is none.
    """
    for folder in (home.checkpoints / named, Path(named).absolute()):
        if (folder / "record.json").is_file():
            return folder
        step = latest(folder)
        if step is not None:
            return step_folder(folder, step)
    there = sorted(found.name for found in home.checkpoints.glob("*") if found.is_dir())
    raise CheckpointError(
        f"no checkpoint {named!r}: give a folder, or one of the runs {', '.join(there) or '(none)'}"
    )


@dataclasses.dataclass
class _Run:
    """A run under way, and what it has told so far."""

    catalog: Catalog
    home: Home
    job: RunJob
    run_id: str
    request: TrainRequest
    progress: Progress
    loss: float | None = None
    world_size: int = 1

    def finish(self, machines: list[Machine], begun: dt.datetime) -> Trained:
        """Run what is left to do."""
        job = self.job
        self._register()
        if (job.resume or 0) < job.config.steps:
            self.world_size = sum(machine.ranks for machine in machines)
            run_ranks(job, machines, self.request.port, self._hear)
        else:
            self.progress.say(f"{job.provenance.training} is at step {job.resume} already")
        self._register()
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
            samples=self._sample(generator, step) if generator else None,
            warnings=job.config.warnings(),
        )

    def _sample(self, generator: Path, step: int) -> Path | None:
        """A video beside a held-out film; once for a checkpoint, and where there is such a film."""
        job = self.job
        out = job.folder / _SAMPLES / f"step-{step:08d}.mp4"
        if out.with_suffix(".png").is_file():
            return out.with_suffix(".png")
        windows = job.config.data.windows
        frames = 4 * (windows.usable_lengths[-1] - 1) + 1
        request = SampleRequest(generator, job.manifest, windows, out, frames)
        try:
            return sample_held_out(request, self.progress)
        except TrainingDataError as error:
            self.progress.say(f"no sample was made: {error}")
            return None

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
                self._register_if_possible()
            case "say":
                self.progress.say(event["message"])

    def _register_if_possible(self) -> None:
        """As `_register`, but days of training do not end with the catalog's bad minute."""
        try:
            self._register()
        except CatalogError as error:
            self.progress.say(f"warning: no row yet, the next checkpoint tries again: {error}")

    def _register(self) -> None:
        """Give each complete checkpoint its row; one that has a row keeps it."""
        job = self.job
        seconds: float | None = None
        rows = []
        for step in complete_steps(job.checkpoints):
            key = checkpoint_id(job.provenance.training, step)
            if self.catalog.holds("checkpoints", {"checkpoint_id": key}):
                continue
            seconds = _seconds(job) if seconds is None else seconds
            try:
                record = read_record(step_folder(job.checkpoints, step))
            except CheckpointError:
                if step in complete_steps(job.checkpoints):
                    raise
                continue  # rank 0 has deleted it since it was listed
            rows.append(self._row(record, key, seconds))
        if rows:
            self.catalog.append("checkpoints", rows)

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


def checkpoint_id(training: str, step: int) -> str:
    """Identity of a checkpoint in the catalog."""
    return hashlib.sha256(f"{training}\n{step}".encode()).hexdigest()[:32]


def _job(request: TrainRequest, home: Home, version: PublishedVersion, name: str) -> RunJob:
    checkpoints = home.checkpoints / name
    step = latest(checkpoints)
    if step is not None and request.resume == "never":
        raise TrainingError(
            f"run {name} has a checkpoint at step {step}, and resume is 'never': give another "
            f"--name, or delete {checkpoints}"
        )
    before = read_record(step_folder(checkpoints, step)).provenance if step is not None else None
    config = init_in(home, request.config) if before is None else _as_begun(request, before)
    recorded = json.loads(canonical_json(config))
    if before is not None:
        _check_same(before, recorded, version, name)
    provenance = Provenance(
        training=name,
        stage=config.stage,
        recipe=config.recipe,
        config=recorded,
        dataset=version.reference,
        manifest_sha256=version.sha256,
        parent=_parent(config) if before is None else before.parent,
        seed=config.seed,
        code_version=code_version(),
    )
    return RunJob(config, provenance, version.manifest, checkpoints, home.runs / name, step)


def _as_begun(request: TrainRequest, before: Provenance) -> TrainConfig:
    """The config with the first weights that the run was begun with, which may be gone by now."""
    init = typed_config(InitConfig, before.config["network"]["init"])
    network = dataclasses.replace(request.config.network, init=init)
    return dataclasses.replace(request.config, network=network)


def _parent(config: TrainConfig) -> str | None:
    init = config.network.init
    if init.kind != "checkpoint":
        return init.source
    if init.source is None:
        return None  # refused when it is read, with the remedy
    record = read_record(Path(init.source))
    return checkpoint_id(record.provenance.training, record.step)


def _check_same(
    before: Provenance, recorded: dict[str, Any], version: PublishedVersion, name: str
) -> None:
    if before.manifest_sha256 != version.sha256:
        raise TrainingError(
            f"run {name} was begun on {before.dataset}, and this is {version.reference}: give it "
            "another --name, or name that version"
        )
    changed = [
        path
        for path in differences(before.config, recorded)
        if not any(path == may or path.startswith(f"{may}.") for may in _MAY_CHANGE)
    ]
    if changed:
        raise TrainingError(
            f"run {name} was begun with other values of {', '.join(changed)}: give it another "
            "--name, or go on with the same recipe and --set"
        )


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Paths of the fields in which two recorded configs differ."""
    found = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}")
    return found


def _seconds(job: RunJob) -> float:
    """Length of the version's training side."""
    samples = Samples.open(job.manifest, "train", job.provenance.manifest_sha256)
    try:
        return float(samples.frame_counts.sum() / TOP_RATE)
    finally:
        samples.close()


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
        f"{event['steps']} on {event['ranks']} x {event['device']}: {event['samples']} samples, "
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
