"""Register the flows' deployments, and what watches over their runs.

`prefect.yaml` says what is deployed. Two automations stand beside it, because Prefect has no other
place for them: a run that goes silent is marked as crashed, and a crashed run is scheduled again.
A retry continues from what the catalog holds, so both together make a lost machine a delay. (How
often a run may crash is for `flows.running` to say.)
"""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

POOL = "tempo"
PREFECT_FILE = Path(__file__).resolve().parent.parent / "prefect.yaml"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
SILENCE = dt.timedelta(seconds=90)
"""Three of the heartbeats that `flows.stack` and compose ask for (30 s is Prefect's least)."""


def automations(silence: dt.timedelta = SILENCE) -> list[Automation]:
    """What watches over flow runs: of any flow, for nothing of it depends on the job."""
    any_run = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    of_pool = ResourceSpecification(
        {"prefect.resource.role": "work-pool", "prefect.resource.name": POOL}
    )
    return [
        Automation(
            name="tempo: a run that went silent has crashed",
            description="Its worker or its machine is gone: no heartbeat, and no end.",
            trigger=EventTrigger(
                after={_HEARTBEAT},
                expect={_HEARTBEAT, *(f"prefect.flow-run.{end}" for end in _ENDS)},
                match=any_run,
                match_related=of_pool,
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=silence,
            ),
            actions=[
                ChangeFlowRunState(
                    name="Crashed",
                    state=StateType.CRASHED,
                    message="no sign of life: its worker is gone",
                    force=False,
                )
            ],
        ),
        Automation(
            name="tempo: a crashed run goes on",
            description="The run is scheduled again and continues from what is done.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed"},
                match=any_run,
                match_related=of_pool,
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[
                ChangeFlowRunState(
                    name="AwaitingRetry",
                    state=StateType.SCHEDULED,
                    message="continues after a crash",
                    force=False,
                )
            ],
        ),
    ]


def deploy(films: str | None, silence: dt.timedelta = SILENCE) -> None:
    """Make the work pool, the deployments and the automations; what is there is brought up to date.

    Args:
        films: what the nightly curation is given; its schedule rests when None.
        silence: how long a run may show no sign of life.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(
                WorkPoolCreate(name=POOL, type="process", base_job_template=template)
            )
    nightly = {"TEMPO_FILMS": films or "", "TEMPO_NIGHTLY": "true" if films else "false"}
    subprocess.run(  # noqa: S603 - our own interpreter and Prefect's own command
        [
            *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
            *("--prefect-file", str(PREFECT_FILE)),
        ],
        cwd=PREFECT_FILE.parent,
        env=os.environ | nightly,
        check=True,
    )
    for automation in automations(silence):
        _put(automation)


def _put(automation: Automation) -> None:
    try:
        known = Automation.read(name=automation.name)
    except ValueError:
        automation.create()
    else:
        assert isinstance(known, Automation)  # a coroutine only where an event loop runs
        automation.id = known.id
        automation.update()


def main(
    films: Annotated[
        str | None,
        typer.Option(help="Curated every night: a folder, glob or manifest on the worker."),
    ] = None,
) -> None:
    """Register all deployments with the server at $PREFECT_API_URL.

    Example: python -m flows.deployments --films /data/films
    """
    deploy(films)


if __name__ == "__main__":
    typer.run(main)
