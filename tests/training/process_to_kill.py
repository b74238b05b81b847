"""Runs that are killed (SIGKILL) and go on, beside one that is not: `python -m … FOLDER MANIFEST`.

Each run is a fork of this process, which has imported everything and done nothing yet.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipelines.imports import lasting_imports
from tests.training.tiny_run import job_of, run_alone, tiny_config
from training import checkpoint as checkpoint_files
from training.checkpoint import CheckpointConfig
from training.checkpoint_record import complete_steps
from training.journal import METRICS

STEPS, EVERY = 14, 4
_HANGS = 600.0


def forked(folder: Path, manifest: Path, *, hangs: bool = False) -> int:
    """Start a run, or go on with it from its newest checkpoint; returns its process.

    One that hangs does so when the files of its next checkpoint are written, and their record not.
    """
    process = os.fork()
    if process:
        return process
    if hangs:
        checkpoint_files.write_record = lambda *_: time.sleep(_HANGS)
    os.environ["LOCAL_RANK"] = "0"
    checkpoint = CheckpointConfig(EVERY, keep_last=9, generator=True)
    config = tiny_config(steps=STEPS, checkpoint=checkpoint)
    steps = complete_steps(folder)
    folder.mkdir(exist_ok=True)
    job = job_of(folder, manifest, config, steps[-1] if steps else None)
    run_alone(job, folder / f"store-{os.getpid()}")
    os._exit(0)


def kill_when(process: int, ready: Callable[[], bool]) -> None:
    """Kill a run as soon as something is so."""
    while not ready():
        assert os.waitpid(process, os.WNOHANG)[0] == 0, "it has ended before"
        time.sleep(0.0005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def steps_written(folder: Path) -> int:
    path = folder / METRICS
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def main(folder: Path, manifest: Path) -> None:
    torch.set_num_threads(1)
    with lasting_imports():
        for name in ("model.dit", "deepspeed"):
            importlib.import_module(name)
    whole = forked(folder / "whole", manifest)
    assert os.waitstatus_to_exitcode(os.waitpid(whole, 0)[1]) == 0

    killed = folder / "killed"
    kill_when(forked(killed, manifest), lambda: steps_written(killed) >= EVERY + 2)
    # While it writes its next checkpoint: files stand under a name that nobody looks for.
    unfinished = f".unfinished-step-*{2 * EVERY}/state-*"
    kill_when(forked(killed, manifest, hangs=True), lambda: any(killed.glob(unfinished)))
    sys.stdout.write(f"{complete_steps(killed)}\n")
    sys.stdout.flush()  # a fork would write it once more
    last = forked(killed, manifest)
    assert os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
