"""The services of an installation as plain processes on this machine: `make up-local`.

PostgreSQL (for Prefect and for the catalog), the Prefect server and a worker, each on the loopback
interface only, with a log and a pid file in one folder. What compose does in containers, with the
same commands, for machines without Docker and for tests. Nothing is restarted by itself: run it
again, and what has ended is started.
"""

import contextlib
import dataclasses
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import httpx
import psutil
import typer
from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from flows import postgres
from flows.errors import StackError
from flows.options import SILENCE_SECONDS, FilmsOption, RetrainOption, SilenceOption

USER, PREFECT_DATABASE, CATALOG_DATABASE = "tempo", "prefect", "tempo"
_PATIENCE = 120.0
_END = 30.0
_POLL = 0.2
_LOCAL = "127.0.0.1"

SERVER_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Task runs are recorded in batches: one transaction for each stalls a database under load.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # On a busy machine, ten seconds (the default) for a statement become errors of whole runs.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "30",
}
"""Of the Prefect server, here and in compose."""
CLIENT_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    # A server that restarts is waited for: about four minutes.
    "PREFECT_CLIENT_MAX_RETRIES": "8",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    # The least that Prefect takes: how soon a lost run is missed depends on it.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""Of the worker and its flow runs, here and in compose."""


def server_command(host: str, port: int) -> list[str]:
    """The Prefect server, without the program that runs Prefect."""
    return ["server", "start", "--host", host, "--port", str(port)]


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """Where the services are and how they are reached.

    Attributes:
        folder: pid files, logs, the database's files and its password.
        home: the home folder that the worker's runs use.
        port: of the Prefect server.
        postgres_port: of PostgreSQL.
    """

    folder: Path
    home: Path
    port: int
    postgres_port: int

    @property
    def api(self) -> str:
        """Where clients reach the Prefect server."""
        return f"http://{_LOCAL}:{self.port}/api"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's files."""
        return self.folder / "postgres"

    @property
    def password(self) -> str:
        """Of the database's user; made up on first use, readable by this user only."""
        file = self.folder / "password"
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as opened:
                opened.write(secrets.token_urlsafe(24))
        return file.read_text(encoding="utf-8")

    def address(self, driver: str, database: str) -> URL:
        """A database's address."""
        return URL.create(
            driver, USER, self.password, host=_LOCAL, port=self.postgres_port, database=database
        )

    def environment(self) -> dict[str, str]:
        """What a client, a worker and `tempo` itself need to use these services."""
        catalog = self.address("postgresql+psycopg2", CATALOG_DATABASE)
        return CLIENT_ENVIRONMENT | {
            "PREFECT_API_URL": self.api,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "TEMPO_HOME": str(self.home),
            "TEMPO_CATALOG_URI": catalog.render_as_string(hide_password=False),
        }


def up(stack: Stack, deployments: list[str]) -> None:
    """Start what does not run yet, in order, each when the one before it answers.

    Args:
        stack: where.
        deployments: options of `flows.deployments`, which runs whenever the server was started.

    Raises:
        StackError: a service does not come up; its log is named.
    """
    stack.folder.mkdir(parents=True, exist_ok=True)
    start_postgres(stack)
    write_environment(stack)
    if start_server(stack):
        deploy = [sys.executable, "-m", "flows.deployments", *deployments]
        _run_to_its_end(deploy, stack, "deploy", stack.environment())
    start_worker(stack)


def down(folder: Path) -> list[str]:
    """End what runs, the worker first; returns the names of those that ran."""
    orders = {"worker": signal.SIGTERM, "server": signal.SIGTERM, "postgres": signal.SIGINT}
    return [name for name, order in orders.items() if stop(folder, name, order)]


def start_postgres(stack: Stack) -> None:
    """PostgreSQL with the two databases."""
    if running(stack.folder, "postgres"):
        return
    if not (stack.postgres / "data").exists():
        postgres.make_cluster(stack.postgres, USER, stack.password, stack.folder / "postgres.log")
    _refuse_if_taken(stack.postgres_port, "postgres")
    command = postgres.server_command(stack.postgres, stack.postgres_port)
    _start(stack, "postgres", command, {}, postgres.server_user())
    _wait(stack.folder, "postgres", lambda: _make_databases(stack))


def start_server(stack: Stack) -> bool:
    """The Prefect server on that PostgreSQL; whether it had to be started."""
    if running(stack.folder, "server"):
        return False
    _refuse_if_taken(stack.port, "server")
    database = stack.address("postgresql+asyncpg", PREFECT_DATABASE)
    environment = SERVER_ENVIRONMENT | {
        "PREFECT_HOME": str(stack.folder / "prefect"),
        # Else its pages look for it at port 4200, whatever port it has.
        "PREFECT_UI_API_URL": stack.api,
        "PREFECT_API_DATABASE_CONNECTION_URL": database.render_as_string(hide_password=False),
    }
    command = [sys.executable, "-m", "prefect", *server_command(_LOCAL, stack.port)]
    _start(stack, "server", command, environment)
    _wait(stack.folder, "server", lambda: _answers(f"{stack.api}/health"))
    return True


def start_worker(stack: Stack) -> None:
    """A worker that runs what is deployed."""
    if running(stack.folder, "worker"):
        return
    command = [sys.executable, "-m", "flows.worker", "--name", "local"]
    _start(stack, "worker", command, stack.environment())


def running(folder: Path, name: str) -> psutil.Process | None:
    """The service's process, if it is the one that was started and runs still."""
    try:
        pid, started = (folder / f"{name}.pid").read_text(encoding="utf-8").split()
        process = psutil.Process(int(pid))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    # A pid is given out again after a restart of the machine: the start time tells.
    same = abs(process.create_time() - float(started)) < 1.0
    return process if same and process.status() != psutil.STATUS_ZOMBIE else None


def stop(folder: Path, name: str, order: signal.Signals) -> bool:
    """End a service as it wishes to be ended, or by force; whether it ran."""
    process = running(folder, name)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            process.send_signal(order)
            if not _has_ended(folder, name):
                process.kill()
                _has_ended(folder, name)
    (folder / f"{name}.pid").unlink(missing_ok=True)
    return process is not None


def _has_ended(folder: Path, name: str) -> bool:
    """Wait for a service's end. One that nobody buries, as in a container without init, counts."""
    deadline = time.monotonic() + _END
    while running(folder, name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _start(
    stack: Stack,
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    user: str | None = None,
) -> None:
    with (stack.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - commands of this module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=stack.folder,
            env=os.environ | environment,
            user=user,
            start_new_session=True,  # it outlives this command and its terminal
        )
    started = psutil.Process(process.pid).create_time()
    (stack.folder / f"{name}.pid").write_text(f"{process.pid} {started}", encoding="utf-8")


def _wait(folder: Path, name: str, ready: Callable[[], bool]) -> None:
    log = folder / f"{name}.log"
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if running(folder, name) is None:
            raise StackError(f"{name} has ended at once; its log says why: {log}")
        if time.monotonic() > deadline:
            raise StackError(f"{name} does not answer after {_PATIENCE:g} s; see {log}")
        time.sleep(_POLL)


def _run_to_its_end(
    command: list[str], stack: Stack, name: str, environment: Mapping[str, str]
) -> None:
    log = stack.folder / f"{name}.log"
    with log.open("ab") as opened:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            check=False,
            stdout=opened,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
    if done.returncode:
        raise StackError(f"{name} failed; its log says why: {log}")


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(address, timeout=5).status_code == httpx.codes.OK
    return False


def _refuse_if_taken(port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOCAL, port))
        except OSError as error:
            raise StackError(f"port {port} for {name} is taken ({error}); name another") from error


def _make_databases(stack: Stack) -> bool:
    """Whether PostgreSQL lets us in; then the databases are there."""
    address = stack.address("postgresql+psycopg2", "postgres")
    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            known = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
            for name in sorted({PREFECT_DATABASE, CATALOG_DATABASE} - known):
                connection.execute(text(f'CREATE DATABASE "{name}"'))
    except OperationalError:
        return False
    return True


def write_environment(stack: Stack) -> Path:
    """What to source in a shell; it holds the password."""
    file = stack.folder / "environment"
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in stack.environment().items()]
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.writelines(lines)
    return file


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
FolderOption = Annotated[Path, typer.Option(help="Where the services keep their things.")]


@app.command("up")
def up_command(
    folder: FolderOption = Path("tempo-home/stack"),
    home: Annotated[Path, typer.Option(help="The home of the worker's runs.")] = Path("tempo-home"),
    port: Annotated[int, typer.Option(help="Of the Prefect server.")] = 4200,
    postgres_port: Annotated[int, typer.Option(help="Of PostgreSQL.")] = 5433,
    films: FilmsOption = "",
    retrain: RetrainOption = "",
    silence: SilenceOption = SILENCE_SECONDS,
) -> None:
    """Start PostgreSQL, the Prefect server and a worker, and register the deployments.

    Example: python -m flows.stack up --folder stack --home tempo-home
    """
    stack = Stack(folder.absolute(), home.absolute(), port, postgres_port)
    up(stack, ["--films", films, "--retrain", retrain, "--silence", str(silence)])
    typer.echo(f"Prefect   http://{_LOCAL}:{port}")
    typer.echo(f"logs      {stack.folder}/*.log")
    typer.echo(f"use it    . {stack.folder / 'environment'}")


@app.command("down")
def down_command(folder: FolderOption = Path("tempo-home/stack")) -> None:
    """End them; everything they hold is kept.

    Example: python -m flows.stack down --folder stack
    """
    ended = down(folder.absolute())
    typer.echo(f"ended: {', '.join(ended) or 'nothing ran'}")


def main() -> None:
    """Run the command; what a user can mend ends in one line."""
    try:
        app()
    except StackError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
