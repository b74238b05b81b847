"""A Prefect worker of the pool: ``python -m flows.worker``.

Prefect's own command, in this very process. What is added is one word of environment: the runs that
it starts learn who started them, and so can tell whether that process lives still (see
`flows.running`). Asking for the parent would not do: a run whose worker died while it was still
being imported has another one by then.
"""

import os
import sys
from typing import Annotated

import typer

from flows.options import POOL, WORKER_PID


def worker_command(name: str) -> list[str]:
    """Prefect's command line for a worker of the pool."""
    prefect = [sys.executable, "-m", "prefect"]
    return [*prefect, "worker", "start", "--pool", POOL, "--type", "process", "--name", name]


def main(
    name: Annotated[str, typer.Option(help="Of the worker, as Prefect shows it.")] = "local",
) -> None:
    """Run flow runs of the pool, as a process each, until it is ended.

    Example: python -m flows.worker --name gpu-1
    """
    command = worker_command(name)
    os.execve(command[0], command, os.environ | {WORKER_PID: str(os.getpid())})  # noqa: S606 - no shell


if __name__ == "__main__":
    typer.run(main)
