"""Register the flows' deployments, and what watches over their runs.

`prefect.yaml` says what is deployed. Automations stand beside it, because Prefect has no other
place for them: a run that goes silent is marked as crashed, and a crashed run is scheduled again.
It continues from what the catalog holds, so a lost machine is a delay. (How often a run may crash
is for `flows.running` to say.) A run that was silent because the server was away lives still,
beside the one that continues it: the home's lock makes the second wait, and it finds all done.
"""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

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

from flows.options import POOL, SILENCE_SECONDS, FilmsOption, RetrainOption, SilenceOption

PREFECT_FILE = Path(__file__).resolve().parent.parent / "prefect.yaml"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_BEGINS = dt.timedelta(minutes=10)
"""How long a run may be started in: the first heartbeat is sent when everything is imported."""


def automations(silence: dt.timedelta) -> list[Automation]:
    """What watches over flow runs: of any flow, for nothing of it depends on the job."""
    gone = ChangeFlowRunState(
        name="Crashed",
        state=StateType.CRASHED,
        message="no sign of life: its worker is gone",
        force=False,
    )
    again = ChangeFlowRunState(
        name="AwaitingRetry",
        state=StateType.SCHEDULED,
        message="continues after a crash",
        force=False,
    )
    return [
        Automation(
            name="tempo: a run that went silent has crashed",
            description="Its worker or its machine is gone: no heartbeat, and no end.",
            trigger=_lacking_life(_HEARTBEAT, silence),
            actions=[gone],
        ),
        Automation(
            name="tempo: a run that never began has crashed",
            description="Its worker or its machine is gone since it took the run.",
            trigger=_lacking_life("prefect.flow-run.Pending", _BEGINS),
            actions=[gone],
        ),
        Automation(
            name="tempo: a crashed run goes on",
            description="The run is scheduled again and continues from what is done.",
            trigger=_trigger(Posture.Reactive, expect={"prefect.flow-run.Crashed"}),
            actions=[again],
        ),
    ]


def _lacking_life(after: str, within: dt.timedelta) -> EventTrigger:
    """Fires when an event of a run is followed by neither a heartbeat nor an end."""
    ends = {f"prefect.flow-run.{end}" for end in _ENDS}
    return _trigger(Posture.Proactive, after={after}, expect={_HEARTBEAT, *ends}, within=within)


def _trigger(
    posture: Literal[Posture.Reactive, Posture.Proactive],
    expect: set[str],
    after: frozenset[str] | set[str] = frozenset(),
    within: dt.timedelta = dt.timedelta(0),
) -> EventTrigger:
    """A trigger for each run of the pool by itself."""
    return EventTrigger(
        after=set(after),
        expect=expect,
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "work-pool", "prefect.resource.name": POOL}
        ),
        for_each={"prefect.resource.id"},
        posture=posture,
        threshold=1,
        within=within,
    )


def deploy(films: str, retrain: str, silence: dt.timedelta) -> None:
    """Make the work pool, the deployments and the automations; what is there is brought up to date.

    Args:
        films: what the nightly curation is given; empty: its schedule rests.
        retrain: recipe of the retraining that is begun every night and whenever a version of a
            dataset is published; empty: it is begun by hand only.
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
    given = {
        "TEMPO_FILMS": films,
        "TEMPO_CURATES": "true" if films else "false",
        "TEMPO_RETRAIN": retrain or "retrain_production",
        "TEMPO_RETRAINS": "true" if retrain else "false",
    }
    subprocess.run(  # noqa: S603 - our own interpreter and Prefect's own command
        [
            *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
            *("--prefect-file", str(PREFECT_FILE)),
        ],
        cwd=PREFECT_FILE.parent,
        env=os.environ | given,
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
        if _content(known) != _content(automation):  # an update forgets which runs it watches
            automation.id = known.id
            automation.update()


def _content(automation: Automation) -> dict[str, Any]:
    return automation.model_dump(
        mode="json",
        include={"name", "description", "trigger", "actions"},
        exclude={"trigger": {"id"}},
    )


def main(
    films: FilmsOption = "",
    retrain: RetrainOption = "",
    silence: SilenceOption = SILENCE_SECONDS,
) -> None:
    """Register all deployments with the server at $PREFECT_API_URL.

    Example: python -m flows.deployments --films /data/films
    """
    deploy(films, retrain, dt.timedelta(seconds=silence))


if __name__ == "__main__":
    typer.run(main)
