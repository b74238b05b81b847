"""A training run so small that a step takes milliseconds, and what tests read of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from model import presets
from model.generator_folder import CodecSpec, TextSpec
from training.checkpoint import CheckpointConfig
from training.checkpoint_record import Provenance
from training.config import TrainConfig
from training.data import DataConfig
from training.engine import EngineConfig
from training.examples import ExampleConfig
from training.journal import METRICS, LogConfig
from training.loader import LoaderConfig
from training.masks import MaskConfig, MaskMixture
from training.network import NetworkConfig
from training.optimiser import OptimiserConfig
from training.plan import BatchConfig
from training.ranks import RankPlace
from training.trainer import RunJob, train
from training.validation import ValidationConfig
from training.windows import WindowConfig

CLOCK = ("seconds", "data_wait", "memory")
"""Figures of a step that no two runs share."""


def tiny_config(**changes: Any) -> TrainConfig:
    """Four micro-batches a step; the tiny library has an epoch of some ten steps."""
    config = TrainConfig(
        recipe="tiny",
        stage="stage_1",
        steps=4,
        network=NetworkConfig(presets.tiny()),
        codec=CodecSpec("dct"),
        text=TextSpec("bytes", length=4, width=presets.tiny().text_dim),
        data=DataConfig(
            windows=WindowConfig(
                sizes=((48, 32),), lengths=(5, 9), min_seconds=0, max_seconds=None, max_crop=0.6
            ),
            examples=ExampleConfig(MaskConfig(MaskMixture(1, 1, 1, 1, 1, 1, 1)), text_dropout=0.2),
            batch=BatchConfig(4, samples=2),
            loader=LoaderConfig(workers=2, prefetch=3),
            seed=3,
        ),
        optimiser=OptimiserConfig(lr=1e-2, warmup=2, schedule="cosine", clip_norm=0.5),
        engine=EngineConfig(zero=1),
        checkpoint=CheckpointConfig(every=2, keep_last=9),
        validation=ValidationConfig(every=2, windows=3, times=(0.5,), masks=("first",)),
        log=LogConfig(every=2, tensorboard=False),
    )
    return dataclasses.replace(config, **changes)


def job_of(folder: Path, manifest: Path, config: TrainConfig, resume: int | None = None) -> RunJob:
    """A job whose checkpoints and logs stand in one folder."""
    provenance = Provenance(
        training=folder.name,
        stage=config.stage,
        recipe=config.recipe,
        config={},
        dataset="tiny@1",
        manifest_sha256=None,
        parent=None,
        seed=config.seed,
        code_version="test",
    )
    return RunJob(config, provenance, str(manifest), folder, folder, resume)


def run_alone(job: RunJob, store: Path) -> None:
    """Run a job in this process, as the only rank."""
    train(job, RankPlace(0, 1, 0, f"file://{store}"), lambda *_: None)


def lines(folder: Path) -> list[dict[str, Any]]:
    """Each step of a run as it was written down, without what the clock says."""
    found = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in found]
