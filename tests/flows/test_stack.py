"""Services as processes: what ends them."""

import signal
import subprocess
from pathlib import Path

import psutil

from flows.stack import running, stop


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
