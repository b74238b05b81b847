"""Names and options that several of this package's commands share; imports nothing heavy."""

from typing import Annotated

import typer

POOL = "tempo"
"""The work pool of all deployments."""
WORKER_PID = "TEMPO_WORKER_PID"
"""Environment variable: the process id of the worker, set by `flows.worker`."""
SILENCE_SECONDS = 120
"""How long a run may show no sign of life: four of the heartbeats that `flows.stack` and compose
ask for (30 s is Prefect's least)."""

FilmsOption = Annotated[
    str, typer.Option(help="Curated every night: a folder, glob or manifest on the worker.")
]
RetrainOption = Annotated[
    str, typer.Option(help="Recipe that retrains every night and on each published dataset.")
]
SilenceOption = Annotated[
    int, typer.Option(min=40, help="Seconds without a sign of life after which a run is lost.")
]
