"""Runs on a real server and worker: done, lost, cancelled, scheduled; nothing lost, nothing twice.

One PostgreSQL, one Prefect server and one worker for all. The run that is lost with its worker is
begun first: until the server misses it, the others have their turn.
"""

import datetime as dt
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text

from curation.catalog.connection import CatalogSettings
from curation.catalog.store import Catalog
from curation.records import CheckpointRow, PromotionRow
from flows.stack import Stack
from pipelines.curate import curate
from pipelines.engine import SerialEngine
from pipelines.job import Silence
from pipelines.settings import Home
from tests.conftest import REPOSITORY
from tests.curation.rows_for_catalog import plain
from tests.flows.services import (
    Run,
    Services,
    free_port,
    sqlite_in,
    stage_workers,
    tied_to_us,
    until,
)
from tests.pipelines.tiny_library import SETTINGS, catalog_rows, published_files, render, request

CURATE = "curate-videos/default"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    curate(request(films), home, SerialEngine(), Silence())
    return home


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    # Not pytest's folder: PostgreSQL's user may not pass through its parents.
    folder = Path(tempfile.mkdtemp(prefix="tempo-stack-", dir="/tmp"))
    folder.chmod(0o711)
    stack = Stack(folder / "stack", folder / "home", free_port(), free_port())
    services = Services(stack)
    with tied_to_us(folder):
        try:
            services.up()
            yield services
        finally:
            services.down()


def parameters(films: Path, home: Path) -> dict[str, Any]:
    return {"paths": [str(films)], "dataset": "tiny", "home": str(home), "set": SETTINGS}


@pytest.fixture(scope="module")
def lost(films: Path, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose worker is killed in the middle of a stage, and replaced by another.

    Only then, that this worker's death concerns no other test, a schedule is made.
    """
    home = tmp_path_factory.mktemp("lost") / "home"
    run = services.start(CURATE, parameters(films, home), sqlite_in(home))
    process = run.freeze()
    below = services.kill("worker")
    assert process in below
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive
    services.up()
    schedule_soon(services, home)
    return run


def test_a_deployed_run_publishes_what_the_job_alone_does(
    lost: Run, films: Path, services: Services, undisturbed: Home
) -> None:
    home = services.stack.home
    serve_a_checkpoint_of_what_is_published(services.stack)
    server = services.stack.api.removesuffix("/api")
    pages = httpx.get(f"{server}/ui-settings", timeout=60).json()
    assert pages["api_url"] == services.stack.api  # where a browser looks for it
    command = [sys.executable, "-m", "prefect", "deployment", "run"]
    bare = subprocess.run([*command, "curate-videos"], env=services.environment, text=True,
                          capture_output=True)  # fmt: skip
    assert bare.returncode != 0
    done = subprocess.run(
        [*command, CURATE, "--watch", "--param", f'paths=["{films}"]', "--param", "dataset=tiny",
         "--param", f"set={SETTINGS}".replace("'", '"')],
        env=services.environment, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + services.told()
    assert published_files(Home(home)) == published_files(undisturbed)
    assert not (home / "catalog.db").exists()  # PostgreSQL has it
    assert rows_in_postgres(services.stack) == catalog_rows(undisturbed)
    (made,) = [run for run in services.runs(CURATE) if run["id"] != lost.id]
    run = Run(services, made["id"])
    expected = {"curate tiny", "scan 1-3 from first.mp4", "pack train-000000"}
    until(lambda: expected <= set(tasks_that_ended(services, run)), "its tasks in the records")
    made_there = services.of_run("artifacts", run)
    artifacts = {found["key"] or found["type"]: found for found in made_there}
    assert {"curation-funnel", "curation-shards", "curation-report"} <= artifacts.keys()
    assert '"step": "kept", "clips": 5' in artifacts["curation-funnel"]["data"]
    progress = artifacts["progress"]
    assert (progress["data"], progress["description"]) == (100.0, "finished")
    (event,) = until(lambda: services.events("curation.dataset.published"), "its event")
    assert (event["payload"]["dataset"], event["payload"]["version"]) == ("tiny", 1)


def test_a_published_version_triggers_retraining(services: Services) -> None:
    def decided() -> dict[str, Any] | None:
        ended = [
            run
            for run in services.runs("retrain/on-dataset")
            if run["state"]["type"] == "COMPLETED"
        ]
        return ended[0] if ended else None

    made = until(decided, f"a run of retrain by the event: {services.told()}")
    assert made["parameters"]["dataset"] == "tiny"
    (decision,) = services.of_run("artifacts", Run(services, made["id"]))
    assert "**Not trained**: the serving checkpoint was trained on tiny@1" in decision["data"]


def test_a_schedule_fires(services: Services) -> None:
    def fired() -> dict[str, Any] | None:
        ended = [
            run
            for run in services.runs("curate-videos/nightly")
            if run["auto_scheduled"] and run["state"]["type"] == "FAILED"
        ]
        return ended[0] if ended else None

    run = until(fired, f"a scheduled run: {services.told()}")
    # What will never pass is not tried again, and says why.
    assert "no such file or folder" in run["state"]["message"]
    ended = until(lambda: tasks_that_ended(services, Run(services, run["id"])), "its task's end")
    assert list(ended.values()) == [("Failed", 1)]
    # Another one would come in the middle of other tests, and end with nobody looking.
    nightly = services.get("deployments/name/curate-videos/nightly")
    for schedule in nightly["schedules"]:
        if schedule["schedule"].get("interval"):
            services.delete(f"deployments/{nightly['id']}/schedules/{schedule['id']}")


@pytest.mark.parametrize("flow", ["curate-videos", "train-model", "evaluate-model", "retrain"])
def test_nights_are_not_queued_behind_each_other(services: Services, flow: str) -> None:
    nightly = services.get(f"deployments/name/{flow}/nightly")
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


def test_only_items_that_may_pass_are_tried_again(services: Services, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.flaky_items", str(tmp_path)],
        cwd=REPOSITORY,
        env=services.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = dict(json.loads(line) for line in done.stdout.splitlines() if line[0] == "[")
    assert outcomes == {"sound": 1, "flaky": 2, "felled": 2, "bad": "error", "cursed": "crash"}
    tries = {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()}
    assert tries == {"sound": 1, "flaky": 2, "felled": 2, "bad": 1, "cursed": 3}

    def counted() -> bool:  # the server counts when it hears of a try, which may be later
        (task,) = services.post("task_runs/filter", {"flows": {"name": {"any_": ["flaky-items"]}}})
        return (task["name"], task["run_count"]) == ("try items 1-5 from sound", 3)

    until(counted, "its three tries in the server's records")


def test_runs_that_are_ended_leave_no_process_and_the_next_goes_on(
    films: Path, services: Services, undisturbed: Home, tmp_path: Path
) -> None:
    """One is cancelled, with a worker that will not end; the next takes longer than it may."""
    asked, catalog = parameters(films, tmp_path), sqlite_in(tmp_path)
    cancelled = services.start(CURATE, asked, catalog)
    process = cancelled.freeze()
    below = [process, *process.children(recursive=True)]
    services.post(
        f"flow_runs/{cancelled.id}/set_state",
        {"state": {"type": "CANCELLING", "name": "Cancelling"}},
    )
    cancelled.wait("Cancelled")
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    limited = services.start(CURATE, asked | {"hours": 1 / 3600}, catalog)
    limited.wait("TimedOut")
    until(lambda: not limited.processes(), "the end of all its processes")

    job = until(lambda: tasks_that_ended(services, limited).get("curate tiny"), "the job's end")
    assert job == ("TimedOut", 1)
    again = services.start(CURATE, asked, catalog)
    again.wait("Completed")
    assert published_files(Home(tmp_path)) == published_files(undisturbed)
    assert catalog_rows(Home(tmp_path)) == catalog_rows(undisturbed)


def test_what_a_killed_run_has_published_is_told_by_the_next(
    films: Path, services: Services, tmp_path: Path
) -> None:
    environment = services.environment | {"TEMPO_CATALOG_URI": sqlite_in(tmp_path)}

    def run(*command: object) -> int:
        words = [sys.executable, "-m", *map(str, command)]
        return subprocess.run(words, cwd=REPOSITORY, env=environment).returncode

    def told() -> list[dict[str, Any]]:
        events = services.events("curation.dataset.published")
        return [event for event in events if event["payload"]["dataset"] == "untold"]

    dying = ("tests.flows.killed_before_telling", films, tmp_path, "untold")
    assert run(*dying) == -signal.SIGKILL
    assert published_files(Home(tmp_path), "untold")
    assert not told()
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    assert run("flows.curate", films, "--home", tmp_path, "--dataset", "untold", *settings) == 0
    (event,) = until(told, "the event of what was published")
    assert event["payload"]["version"] == 1


def test_server_and_database_are_killed_and_come_back(
    films: Path, services: Services, undisturbed: Home, tmp_path: Path
) -> None:
    stack = services.stack
    execute(stack, "CREATE DATABASE faults")
    run = services.start(CURATE, parameters(films, tmp_path), address_of(stack, "faults"))
    process = run.freeze()
    for name in ("server", "postgres"):
        psutil.wait_procs(services.kill(name), timeout=60)
    for worker in stage_workers(process):
        worker.send_signal(signal.SIGCONT)
    services.up()
    run.wait("Completed")
    assert published_files(Home(tmp_path)) == published_files(undisturbed)
    assert rows_in_postgres(stack, "faults") == catalog_rows(undisturbed)


def test_a_run_that_was_lost_with_its_worker_goes_on(lost: Run, undisturbed: Home) -> None:
    lost.wait("Completed")
    states = lost.states()
    assert states.index("Crashed") < states.index("AwaitingRetry"), states
    assert published_files(lost.home) == published_files(undisturbed)
    assert catalog_rows(lost.home) == catalog_rows(undisturbed)


def tasks_that_ended(services: Services, run: Run) -> dict[str, tuple[str, int]]:
    """By name: how a task of a run ended, and how often it was tried.

    The server hears of tasks by their events, which may come later than the end of their run.
    """
    tasks = services.of_run("task_runs", run)
    return {
        task["name"]: (task["state"]["name"], task["run_count"])
        for task in tasks
        if task["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    }


def schedule_soon(services: Services, home: Path) -> None:
    """A schedule that fires soon, with a folder of films that is not there."""
    known = services.get("deployments/name/curate-videos/nightly")
    # Prefect's scheduler looks every five seconds, later on a busy machine, and makes runs of the
    # future only: one that comes too late for the first catches the next.
    begin = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=45)
    schedule = {
        "active": True,
        "schedule": {"interval": 150, "anchor_date": begin.isoformat()},
        "parameters": {"paths": [str(home / "nothing")], "home": str(home)},
    }
    services.post(f"deployments/{known['id']}/schedules", [schedule])


def serve_a_checkpoint_of_what_is_published(stack: Stack) -> None:
    """So that the retraining which the publication triggers has nothing to do."""
    checkpoint = plain(CheckpointRow, checkpoint_id="c", dataset="tiny", version=1)
    promotion = plain(PromotionRow, model="base", decision="promoted", candidate="c")
    with Catalog.open(CatalogSettings(stack.home, uri=address_of(stack))) as catalog:
        catalog.append("checkpoints", [checkpoint])
        catalog.append("promotions", [promotion])


def address_of(stack: Stack, database: str = "tempo") -> str:
    address = stack.address("postgresql+psycopg2", database)
    return address.render_as_string(hide_password=False)


def execute(stack: Stack, statement: str) -> None:
    address = stack.address("postgresql+psycopg2", "postgres")
    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


def rows_in_postgres(stack: Stack, database: str = "tempo") -> dict[str, list[dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPO_CATALOG_URI", address_of(stack, database))
        found = catalog_rows(Home(stack.home))
    return found | {"checkpoints": [], "promotions": []}  # those are the tests' own
