"""A Prefect server, a worker and PostgreSQL as processes, and how tests talk to them.

Over HTTP only: the tests' own process imports no Prefect, and so has no settings, no profile and no
temporary server of its own.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.stack import Stack, running
from pipelines.settings import Home
from tests.conftest import REPOSITORY

PATIENCE = 300.0
"""Seconds until something that should take a few, or a minute after a loss, is given up."""
_POLL = 0.3
"""Seconds between two questions; all of them together took as much of the server as the runs do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something to be true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(_POLL)
    return found


@contextlib.contextmanager
def tied_to_us(folder: Path) -> Iterator[None]:
    """End the stack in a folder, and remove the folder, at the latest when the tests are killed."""
    ending = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.ending", folder],
        stdin=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=True,  # what a terminal sends to the tests is not for it
    )
    try:
        yield
    finally:
        ending.communicate()
    assert ending.returncode == 0


class Run:
    """A flow run on the worker."""

    def __init__(self, services: "Services", run_id: str, home: Path | None = None) -> None:
        self.id = run_id
        self.home = Home(home or services.stack.home)
        self._services = services

    @property
    def state(self) -> str:
        """The name of its state."""
        name: str = self._services.get(f"flow_runs/{self.id}")["state"]["name"]
        return name

    def states(self) -> list[str]:
        """All states it was in."""
        found = self._services.get(f"flow_run_states/?flow_run_id={self.id}")
        return [state["name"] for state in found]

    def wait(self, state: str) -> None:
        """Wait for a state; another end fails the test."""
        ends = {"Completed", "Failed", "Cancelled"} - {state}

        def there() -> bool:
            now = self.state
            assert now not in ends, f"{now} instead of {state}: {self._services.told()}"
            return now == state

        until(there, f"{state} of run {self.id}: {self._services.told()}")

    def process(self) -> psutil.Process:
        """The process of this run, once a stage of its works in a process of its own."""
        found: psutil.Process = until(self._working, "a flow run with a stage's worker")
        return found

    def _working(self) -> psutil.Process | None:
        worker = running(self._services.stack.folder, "worker")
        for child in worker.children() if worker else ():
            try:
                ours = child.environ().get("PREFECT__FLOW_RUN_ID") == self.id
                if ours and stage_workers(child):
                    return child
            except psutil.Error:
                continue  # it has just ended
        return None

    def processes(self) -> list[psutil.Process]:
        """All processes that were started for this run."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == self.id:
                    found.append(process)
        return found

    def freeze(self) -> psutil.Process:
        """Stop a scan's workers when they have begun, so that the run cannot end; its process."""
        process = self.process()
        worker = until(lambda: next(filter(_scans, stage_workers(process)), None), "a scan")
        worker.send_signal(signal.SIGSTOP)
        return process


def stage_workers(run: psutil.Process) -> list[psutil.Process]:
    """The engine's processes of a flow run."""
    found = []
    for child in run.children(recursive=True):
        try:
            if any("pipelines.worker" in word for word in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def _scans(worker: psutil.Process) -> bool:
    """Whether a stage's worker is at its work: what opens films is loaded."""
    with contextlib.suppress(psutil.Error):
        return any("libavcodec" in mapped.path for mapped in worker.memory_maps())
    return False


class Services:
    """What the stack offers."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        # One client: each that is made reads all certificates anew.
        self._client = httpx.Client(timeout=60)

    def up(self) -> None:
        """Start what does not run: `make up-local`. Skips where there is no PostgreSQL."""
        stack = self.stack
        done = subprocess.run(
            [
                *(sys.executable, "-m", "flows.stack", "up", "--folder", stack.folder),
                *("--home", stack.home, "--port", str(stack.port)),
                *("--postgres-port", str(stack.postgres_port), "--silence", "75"),
                *("--retrain", "retrain_debug_cpu"),
            ],
            capture_output=True,
            text=True,
        )
        if "no PostgreSQL server programs" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        """End everything: `make down-local`."""
        command = [sys.executable, "-m", "flows.stack", "down", "--folder", self.stack.folder]
        subprocess.run(command, check=True, capture_output=True)
        self._client.close()

    def kill(self, name: str) -> list[psutil.Process]:
        """SIGKILL a service; its process and those below it, as they were."""
        service = running(self.stack.folder, name)
        assert service is not None, f"{name} does not run"
        below = [service, *service.children(recursive=True)]
        service.kill()
        return below

    @property
    def environment(self) -> dict[str, str]:
        """For commands that use these services."""
        return os.environ | self.stack.environment()

    def get(self, path: str) -> Any:
        """Ask the Prefect server."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """Tell the Prefect server something, or search in it."""
        return self._ask("POST", path, body)

    def delete(self, path: str) -> None:
        """Have the Prefect server forget something."""
        self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        def asked() -> httpx.Response | None:
            try:
                return self._client.request(method, f"{self.stack.api}/{path}", json=body)
            except httpx.TransportError:  # the tests kill it
                return None

        answer = until(asked, f"an answer to {method} {path}")
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def start(self, deployment: str, parameters: dict[str, Any], catalog: str | None = None) -> Run:
        """Run a deployment, in the home and the catalog that are given."""
        known = self.get(f"deployments/name/{deployment}")
        body: dict[str, Any] = {"parameters": parameters}
        if catalog:
            body["job_variables"] = {"env": {"TEMPO_CATALOG_URI": catalog}}
        made = self.post(f"deployments/{known['id']}/create_flow_run", body)
        return Run(self, made["id"], Path(parameters["home"]))

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Flow runs of a deployment."""
        known = self.get(f"deployments/name/{deployment}")
        found: list[dict[str, Any]] = self.post(
            "flow_runs/filter", {"deployments": {"id": {"any_": [known["id"]]}}}
        )
        return found

    def of_run(self, kind: str, run: Run) -> list[dict[str, Any]]:
        """Task runs or artifacts of a flow run."""
        body = {"flow_runs": {"id": {"any_": [run.id]}}, "limit": 200}
        found: list[dict[str, Any]] = self.post(f"{kind}/filter", body)
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of a name."""
        found = self.post("events/filter", {"filter": {"event": {"name": [name]}}})
        events: list[dict[str, Any]] = found["events"]
        return events

    def told(self) -> str:
        """The end of the worker's log."""
        log = self.stack.folder / "worker.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else "no log"


def sqlite_in(home: Path) -> str:
    """The address of a home's own catalog."""
    return f"sqlite:///{home / 'catalog.db'}"
