"""Runs under every way of sharing work: `python -m … FOLDER MANIFEST`.

One process is the reference; two then do the same, and go on from what the one has stored. What
came of it is in the folders; the test compares. All are forks of this process.
"""

import dataclasses
import datetime as dt
import functools
import importlib
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch

from model.lora import LoraSettings
from pipelines.imports import lasting_imports
from pipelines.train_samples import HeldOutVideo
from tests.ranks import fork_ranks
from tests.training.tiny_run import job_of, tiny_config
from training.checkpoint_record import step_folder
from training.config import TrainConfig
from training.engine import EngineConfig
from training.network import InitConfig
from training.ranks import RankPlace, World
from training.trainer import train

HALF, STEPS = 2, 4
SAID = "said.txt"
ENGINES = {
    "zero0": EngineConfig(zero=0),
    "zero1": EngineConfig(zero=1),
    "zero2": EngineConfig(zero=2),
    "zero3": EngineConfig(zero=3),
    "ulysses": EngineConfig(zero=2, context_parallel=2),
    "offload": EngineConfig(zero=2, offload="optimiser"),
    "bf16": EngineConfig(precision="bfloat16", zero=2),
    "bf16zero3": EngineConfig(precision="bfloat16", zero=3),
}
ALONE = ("zero0", "zero1", "zero2", "zero3")


def lora(base: Path) -> TrainConfig:
    """Adapters with dropout on the averaged weights of the reference."""
    config = tiny_config(engine=EngineConfig(zero=2))
    network = dataclasses.replace(
        config.network,
        init=InitConfig("checkpoint", str(step_folder(base, STEPS))),
        lora=LoraSettings(rank=2, alpha=4, dropout=0.1),
    )
    return dataclasses.replace(config, network=network)


def work(folder: Path, manifest: Path, world: int, rank: int) -> None:
    """All runs of a rank."""
    place = RankPlace(rank, world, rank, f"file://{folder}/store-{world}")

    def run(name: str, config: TrainConfig, resume: int | None = None) -> None:
        train(job_of(folder / name, manifest, config, resume), place, lambda *_: None)

    def go_on(name: str, config: TrainConfig, origin: str) -> None:
        """From the middle of another run, whose later half must come out the same."""
        if rank == 0:
            shutil.copytree(step_folder(folder / origin, HALF), step_folder(folder / name, HALF))
        torch.distributed.barrier()
        run(name, config, HALF)

    def show(name: str, engine: EngineConfig) -> None:
        """With a video after each measurement, which then cannot be written."""
        validation = dataclasses.replace(tiny_config().validation, videos=1)
        config = tiny_config(engine=engine, validation=validation)
        job = job_of(folder / name, manifest, config)
        if rank == 0:
            job.folder.mkdir()
            (job.folder / "samples").write_text("no folder")
        said: list[str] = []
        sample = HeldOutVideo.find(manifest, config.data.windows, validation.sampling, job.folder)
        train(job, place, lambda kind, event: said.append(f"{kind} {event}"), sample)
        if rank == 0:
            (job.folder / SAID).write_text("\n".join(said))

    engines = ENGINES if world > 1 else {name: ENGINES[name] for name in ALONE}
    for name, engine in engines.items():
        config = tiny_config(engine=engine)
        run(f"{name}-{world}", config)
        go_on(f"{name}-{world}-resumed", config, f"{name}-{world}")
    run(f"lora-{world}", lora(folder / "zero1-1"))
    go_on(f"lora-{world}-resumed", lora(folder / "zero1-1"), f"lora-{world}")
    if world > 1:
        show("shown", ENGINES["zero3"])
        for name in ("zero1", "zero2", "zero3"):
            go_on(f"{name}-from-1-to-2", tiny_config(engine=ENGINES[name]), "zero0-1")
        wait_long(World.join(place, 1))


def wait_long(world: World) -> None:
    """The first rank may take longer for what it does alone than others wait in anything else."""
    short = dt.timedelta(seconds=4)
    torch.distributed.barrier()
    hurried = torch.distributed.new_group(backend="gloo", timeout=short)
    hurried_world = dataclasses.replace(world, group=hurried)
    if world.first:
        time.sleep(6)
    hurried_world.wait_for_first()
    if not world.first:  # and yet not for ever, should the first hang
        with pytest.raises(RuntimeError, match=r"[Tt]imed out"):
            hurried_world.wait_for_first(short)
    torch.distributed.barrier()


def main(folder: Path, manifest: Path) -> None:
    torch.set_num_threads(1)
    with lasting_imports():
        for name in ("model.dit", "deepspeed"):
            importlib.import_module(name)
    for world in (1, 2):
        fork_ranks(world, functools.partial(work, folder, manifest, world))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
