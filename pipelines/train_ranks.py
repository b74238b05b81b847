"""Start the ranks of a training run, listen to them, and end them all when one has failed.

Each rank is a process with a pipe from here, on this machine or by ssh on others. None outlives
this process: the kernel ends those of this machine, and on others they find their pipe closed. Of a
failure the one who failed first is named, for the others only lose their connection to it.

What ssh is to be told of users, ports and keys stands in its own configuration; ``TEMPO_SSH`` is
another command in its place, such as ``ssh -F cluster.conf``.
"""

import contextlib
import dataclasses
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from curation.identities import canonical_json
from pipelines.devices import threads_each
from training.errors import RankError
from training.ranks import RankPlace
from training.trainer import RunJob

_GRACE_SECONDS = 1.5
"""After a failure, so long is listened for one that was earlier."""
_TAIL = 15
_BOOT = "from pipelines.train_rank import main; main()"
_SSH = ("ssh", "-o", "BatchMode=yes", "-T")
_HANDED_OVER = ("AWS_", "GLOO_", "HF_", "NCCL_", "OMP_", "S3_", "TEMPO_", "TORCH_", "WANDB_")
"""Variables that ranks on other machines get too, through their pipe: some are secrets."""
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9@._:-]*)\s+slots=(\d+)")

Listener = Callable[[str, dict[str, Any]], None]
_News = queue.SimpleQueue[tuple[int, str | None]]
"""Rank and a line that it told; None: it has ended, or is about to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """Where ranks are started.

    Attributes:
        host: reached by ssh; None: this machine.
        ranks: how many there.
    """

    host: str | None
    ranks: int


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """How a rank failed.

    Attributes:
        rank: which.
        at: when, in seconds since the epoch.
        message: what it said, or how it was ended.
        killed: it was ended by a signal, so it lost no connection to another one.
        known: the message is for a person, and needs no log.
    """

    rank: int
    at: float
    message: str
    killed: bool
    known: bool


def read_hostfile(path: Path) -> list[Machine]:
    """Read machines: lines of ``HOST slots=N``, as DeepSpeed's and MPI's hostfiles have them.

    Raises:
        ValueError: a line that says something else, or none.
    """
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#", 1)[0].strip()
        if not words:
            continue
        match = _HOST.fullmatch(words)
        if match is None:
            raise ValueError(f"hostfile {path}: {line!r}: write lines such as `node1 slots=8`")
        found.append(Machine(match[1], int(match[2])))
    if not found or min(machine.ranks for machine in found) < 1:
        raise ValueError(f"hostfile {path}: name at least one machine, with one slot or more")
    return found


def run_ranks(job: RunJob, machines: list[Machine], port: int, listener: Listener) -> None:
    """Run a job on all ranks until it is done; whatever ends this call ends them.

    Args:
        job: what all are given; its folders must be the same on all machines.
        machines: where they run; the first one's first rank is rank 0.
        port: where ranks of several machines meet, on the first.
        listener: hears what rank 0 tells.

    Raises:
        RankError: a rank failed.
    """
    news: _News = queue.SimpleQueue()
    with (
        tempfile.TemporaryDirectory(prefix="tempo-train-") as store,
        contextlib.ExitStack() as ends,
    ):
        first = machines[0].host
        meet = f"file://{store}/ranks" if first is None else f"tcp://{_address(first)}:{port}"
        ranks = [_start(job, *seat, meet, ends, news) for seat in _seats(machines)]
        _listen(ranks, news, job.folder, listener)


def _seats(machines: list[Machine]) -> Iterator[tuple[Machine, int, int, int]]:
    """Machine, rank, number of ranks, and number on its machine."""
    size, rank = sum(machine.ranks for machine in machines), 0
    for machine in machines:
        for local in range(machine.ranks):
            yield machine, rank, size, local
            rank += 1


def _start(
    job: RunJob,
    machine: Machine,
    rank: int,
    size: int,
    local: int,
    meet: str,
    ends: contextlib.ExitStack,
    news: "_News",
) -> subprocess.Popen[str]:
    job.folder.mkdir(parents=True, exist_ok=True)
    log = ends.enter_context(log_of(job.folder, rank).open("w", encoding="utf-8"))
    paths = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-P", "-c", _BOOT]
    if machine.host is not None:
        # ssh hands a line to the other side's shell, so all of it is quoted.
        remote = ["env", *(f"{name}={value}" for name, value in environment.items()), *command]
        ssh = shlex.split(os.environ.get("TEMPO_SSH", "")) or _SSH
        command = [*ssh, machine.host, shlex.join(remote)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, or ssh to a host
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=os.environ | environment,
    )
    ends.callback(_end, process)
    assert process.stdout is not None
    threading.Thread(target=_read, args=(rank, process.stdout, news), daemon=True).start()
    order = {
        "place": dataclasses.asdict(RankPlace(rank, size, local, meet)),
        "parent": os.getpid() if machine.host is None else None,
        "environment": {} if machine.host is None else _handed_over(),
        "threads": threads_each(machine.ranks),
        "job": json.loads(canonical_json(job)),
    }
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone already, and is heard of below
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    return process


def _handed_over() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_HANDED_OVER)}


def _listen(
    ranks: list[subprocess.Popen[str]], news: "_News", folder: Path, listener: Listener
) -> None:
    """Pass on what rank 0 tells, until all have ended well or one has not."""
    running, failures = len(ranks), list[Failure]()
    patience: float | None = None
    while running:
        try:
            rank, line = news.get(timeout=patience)
        except queue.Empty:
            break
        if line is None:
            running -= 1
            failures += _how_it_ended(rank, ranks[rank], folder, failures)
        else:
            event = json.loads(line)
            kind, at = event.pop("kind"), event.pop("at")
            if kind == "failed":
                failures.append(Failure(rank, at, event["message"], False, event["known"]))
            elif rank == 0:
                listener(kind, event)
        if failures and patience is None:
            patience = _GRACE_SECONDS
    if failures:
        raise first_of(failures, len(ranks), folder)


def _read(rank: int, said: IO[str], news: "_News") -> None:
    with said:
        for line in said:
            news.put((rank, line))
    news.put((rank, None))


def _how_it_ended(
    rank: int, process: subprocess.Popen[str], folder: Path, failures: list[Failure]
) -> list[Failure]:
    status = process.wait()
    if status == 0 or any(failure.rank == rank for failure in failures):
        return []
    if status < 0:
        how = f"it was ended by {signal.Signals(-status).name}"
    else:
        how = f"it exited with status {status}{_tail(log_of(folder, rank))}"
    return [Failure(rank, time.time(), how, killed=status < 0, known=False)]


def first_of(failures: list[Failure], size: int, folder: Path) -> RankError:
    """The error of the rank that failed first; the others have lost their connection to it."""
    first = min(failures, key=lambda failure: (not failure.killed, failure.at))
    if first.known and size == 1:
        return RankError(first.message)
    if first.known:
        return RankError(f"rank {first.rank} of {size}: {first.message}")
    return RankError(
        f"rank {first.rank} of {size} failed first: {first.message}; its log is "
        f"{log_of(folder, first.rank)}",
        lost=first.killed,
    )


def log_of(folder: Path, rank: int) -> Path:
    """What a rank's libraries print."""
    return folder / f"rank-{rank}.log"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    return "".join(f"\n  | {line}" for line in lines)


def _address(host: str) -> str:
    return host.rpartition("@")[2]


def _end(process: subprocess.Popen[str]) -> None:
    """End a rank: it owns nothing that the next run could not make again."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.kill()
    process.wait()
