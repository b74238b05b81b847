"""Services as processes: what ends them."""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from flows.errors import StackError
from flows.postgres import make_cluster
from flows.stack import Stack, running, stop, write_environment


def test_a_service_that_nobody_buries_has_ended(tmp_path: Path) -> None:
    """In a container whose first process is no init, what ends stays in the table of processes."""
    service = subprocess.Popen(["sleep", "600"])
    try:
        known = psutil.Process(service.pid)
        (tmp_path / "worker.pid").write_text(f"{service.pid} {known.create_time()}")
        assert stop(tmp_path, "worker", signal.SIGTERM)
        assert known.status() == psutil.STATUS_ZOMBIE
        assert running(tmp_path, "worker") is None
        assert not stop(tmp_path, "worker", signal.SIGTERM)
    finally:
        service.kill()
        service.wait()


def test_a_password_does_not_outlive_the_making_of_a_cluster(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    # Root is refused, whose server's user may not enter here; others have no place for the log.
    with pytest.raises((StackError, FileNotFoundError)):
        make_cluster(folder, "films", "correct horse", tmp_path / "nowhere" / "log")
    assert not (folder / "password").exists()


def test_a_shell_reads_the_environment_as_it_was_meant(tmp_path: Path) -> None:
    stack = Stack(tmp_path, tmp_path / "O'Hara's $HOME `id`", 4200, 5433)
    file = write_environment(stack)
    assert file.stat().st_mode & 0o077 == 0
    told = subprocess.run(
        ["/bin/sh", "-c", '. "$0" && printf %s "$TEMPO_HOME"', file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == str(stack.home)
