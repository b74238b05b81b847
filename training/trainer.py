"""A training run on one rank: built part by part, then run.

What is started here, on each rank, with the same `RunJob`, trains one network together. It knows no
catalog and no command line: a dataset's manifest and two folders are enough.
"""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model.text import TextEncoder
from training.checkpoint import Standing, StoredState, prune, publish, restore, write
from training.checkpoint_record import (
    GENERATOR,
    Provenance,
    complete_steps,
    record_generator,
    step_folder,
)
from training.config import TrainConfig
from training.data import TrainingData
from training.engine import Engine
from training.export import export_generator
from training.frozen import frozen_codec, frozen_text
from training.journal import Journal, summary
from training.judging import HeldOutJudge, SampleMaker
from training.loop import Parts, fit, replay
from training.meter import Meter, StepReport
from training.network import build_network
from training.objective import Objective
from training.precomputed import Precomputed
from training.ranks import RankPlace, World
from training.stored_latents import StoredLatents
from training.stored_text import StoredText
from training.validation import Validation

CONFIG = "config.json"
DEEPSPEED = "deepspeed.json"

Tell = Callable[[str, dict[str, Any]], None]
"""Hears what happens: a kind of event, and what is to be said about it."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunJob:
    """What every rank of a run is given.

    Attributes:
        config: of the run.
        provenance: what its checkpoints say of it.
        manifest: of the dataset version; path or address.
        checkpoints: folder of the run's checkpoints.
        folder: of its logs.
        resume: step of the checkpoint to go on from; None to begin.
        precomputed: sets that are used instead of encoding.
    """

    config: TrainConfig
    provenance: Provenance
    manifest: str
    checkpoints: Path
    folder: Path
    resume: int | None
    precomputed: Precomputed = dataclasses.field(default_factory=Precomputed)


def train(job: RunJob, place: RankPlace, tell: Tell, sample: SampleMaker | None = None) -> None:
    """Train, as one of several ranks or alone.

    Args:
        job: the same on all ranks.
        place: of this rank.
        tell: only the first rank's is called.
        sample: makes the videos that `validation.videos` asks for; the same on all ranks.

    Raises:
        TrainingError: see `fit`; or a checkpoint or a dataset is not what it should be.
        ValueError: so many ranks cannot share the work.
    """
    config = job.config
    world = World.join(place, config.engine.context_parallel)
    start, skipped = job.resume or 0, 0
    with contextlib.ExitStack() as open_:
        data = open_.enter_context(
            TrainingData.open(
                job.manifest,
                config.data,
                sha256=job.provenance.manifest_sha256,
                latents=_stored_latents(job, open_),
            )
        )
        text = _stored_text(job, open_) or frozen_text(config, world.device)
        objective = objective_of(config, world, text)
        engine = engine_of(config, world, blank=job.resume is not None)
        if job.resume is not None:
            stored = StoredState(step_folder(job.checkpoints, job.resume))
            restore(engine, stored)
            skipped = stored.record.skipped
        journal = open_.enter_context(_journal(job, start)) if world.first else None
        parts = Parts(
            config=config,
            world=world,
            data=data,
            objective=objective,
            engine=engine,
            meter=meter_of(config, world),
            journal=journal,
            validator=None,
            save=lambda standing: _save(job, engine, world, standing, tell),
            tell=lambda report, recent: _tell_step(tell, report, recent),
        )
        parts = dataclasses.replace(parts, validator=_judge(job, parts, sample, tell, open_))
        if world.first:
            _describe(job, data, engine, world, tell)
        fit(parts, start, skipped)


def _stored_text(job: RunJob, open_: contextlib.ExitStack) -> StoredText | None:
    """The embeddings that were precomputed, where they are used: the encoder is not loaded then."""
    ref = job.precomputed.text
    return None if ref is None else open_.enter_context(StoredText.open(ref))


def _stored_latents(job: RunJob, open_: contextlib.ExitStack) -> StoredLatents | None:
    """The latents that were precomputed, where they are used."""
    ref = job.precomputed.latents
    return None if ref is None else open_.enter_context(StoredLatents.open(ref))


def objective_of(config: TrainConfig, world: World, text: TextEncoder) -> Objective:
    """From a batch to its loss, with the codec on this rank's device."""
    codec = frozen_codec(config, world.device)
    return Objective(codec, text, config.objective, dtype=config.engine.dtype)


def engine_of(config: TrainConfig, world: World, *, blank: bool) -> Engine:
    """The network with its first weights, or `blank` for those of a checkpoint; sharded.

    Raises:
        CheckpointError: its first weights are not there, or of another network.
        ValueError: a step's micro-batches cannot be shared by so many ranks.
    """
    config.check_ranks(world.size)
    network = build_network(config.network, config.engine, config.seed, world, blank=blank)
    network.train()
    return Engine(
        network,
        config.engine,
        config.optimiser,
        config.ema,
        config.data.batch.microbatches // world.data_ranks,
        world,
    )


def meter_of(config: TrainConfig, world: World) -> Meter:
    """Counts for this network and these windows."""
    windows = config.data.windows
    return Meter(config.network.size, config.text.length, windows.token_side, windows.rates, world)


def _judge(
    job: RunJob, parts: Parts, sample: SampleMaker | None, tell: Tell, open_: contextlib.ExitStack
) -> HeldOutJudge | None:
    config, world = job.config.validation, parts.world
    if config.every is None:
        return None
    validation = Validation(
        job.manifest,
        job.config.data,
        config,
        parts.objective,
        rank=world.data_rank,
        ranks=world.data_ranks,
        device=world.device,
    )
    return HeldOutJudge(
        open_.enter_context(validation),
        parts.objective,
        parts.engine,
        world,
        parts.journal,
        steps=job.config.steps,
        sample=sample,
        show=lambda step, sheet: tell("sample", {"step": step, "sheet": str(sheet)}),
        say=lambda message: tell("say", {"message": message}),
    )


def _journal(job: RunJob, start: int) -> Journal:
    provenance = job.provenance
    return Journal(job.folder, job.config.log, start, (provenance.training, provenance.config))


def _describe(job: RunJob, data: TrainingData, engine: Engine, world: World, tell: Tell) -> None:
    """Write down what the run is, and say it."""
    config = job.config
    accumulation = config.data.batch.microbatches // world.data_ranks
    derived = config.engine.deepspeed(accumulation, config.optimiser.clip_norm)
    for name, document in (
        (CONFIG, dataclasses.asdict(job.provenance)),
        (DEEPSPEED, derived),
    ):
        (job.folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    counts = [getattr(p, "ds_numel", p.numel()) for p in engine.network.parameters()]
    trained = [
        getattr(p, "ds_numel", p.numel()) for p in engine.network.parameters() if p.requires_grad
    ]
    tell(
        "begun",
        {
            "start": job.resume or 0,
            "steps": config.steps,
            "ranks": world.size,
            "device": str(world.device),
            "threads": torch.get_num_threads(),
            "parameters": sum(counts),
            "trained": sum(trained),
            "samples": len(data.samples),
            "left_out": data.plan.left_out,
            "visits": data.plan.epoch_visits,
            "buckets": {str(bucket): size for bucket, size in data.plan.buckets.items()},
        },
    )


def _tell_step(tell: Tell, report: StepReport, recent: list[StepReport]) -> None:
    tell("step", {"step": report.step, "applied": report.applied, "seconds": report.seconds})
    if recent:
        tell("means", {"step": report.step + 1, **summary(recent)})


def _save(job: RunJob, engine: Engine, world: World, standing: Standing, tell: Tell) -> None:
    """Write a checkpoint, all ranks together, and delete those that are not kept."""
    unfinished = write(job.checkpoints, engine, world, job.provenance, standing)
    if world.first:
        generator = None
        if job.config.checkpoint.generator:
            export_generator(
                StoredState(unfinished),
                job.config,
                unfinished / GENERATOR,
                dtype=torch.float32,
            )
            record_generator(unfinished)
        folder = publish(unfinished)
        if job.config.checkpoint.generator:
            generator = str(folder / GENERATOR)
        kept = prune(job.checkpoints, job.config.checkpoint)
        tell(
            "checkpoint",
            {"step": standing.step, "folder": str(folder), "generator": generator, "kept": kept},
        )
    world.wait_for_first()


def latest(checkpoints: Path) -> int | None:
    """Step of a run's newest complete checkpoint; None where there is none."""
    steps = complete_steps(checkpoints)
    return steps[-1] if steps else None


def replay_step(job: RunJob, step: int) -> list[dict[str, Any]]:
    """Run a step again on one rank, with the weights of the checkpoint `job.resume`.

    Returns:
        Each micro-batch as a record names it, with the norm of its own gradients.

    Raises:
        TrainingError: the checkpoint or the dataset is not what it should be.
    """
    engine = dataclasses.replace(
        job.config.engine, precision="float32", zero=0, offload="none", context_parallel=1
    )
    config = dataclasses.replace(job.config, engine=engine)
    with tempfile.TemporaryDirectory(prefix="tempo-replay-") as store:
        world = World.join(RankPlace(0, 1, 0, f"file://{store}/ranks"), 1)
        made = engine_of(config, world, blank=job.resume is not None)
        if job.resume is not None:
            restore(made, StoredState(step_folder(job.checkpoints, job.resume)))
        with TrainingData.open(
            job.manifest, config.data, sha256=job.provenance.manifest_sha256
        ) as data:
            parts = Parts(
                config=config,
                world=world,
                data=data,
                objective=objective_of(config, world, frozen_text(config, world.device)),
                engine=made,
                meter=meter_of(config, world),
                journal=None,
                validator=None,
                save=lambda _standing: None,
                tell=lambda _report, _recent: None,
            )
            return [{**batch, "grad_norm": norm} for batch, norm in replay(parts, step)]
