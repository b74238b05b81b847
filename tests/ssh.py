"""A real SSH server for tests, from the machine's own programs, that lets one new key in."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import dying_with_us

_SERVER = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[list[str]]:
    """A server on a free port of the loopback interface; gives the ssh command that reaches it."""
    if _SERVER is None:
        pytest.skip("no SSH server program (sshd) on this machine")
    if os.geteuid() == 0:
        # Where it gives up its rights; made by the system's own start of the server, if it has one.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(generate, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    (folder / "sshd.conf").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPidFile {folder / 'pid'}\n"
    )
    log = folder / "log"
    server = subprocess.Popen(
        dying_with_us([_SERVER, "-D", "-f", str(folder / "sshd.conf"), "-E", str(log)])
    )
    try:
        _wait_for(port, log)
        yield [
            *("ssh", "-F", "none", "-o", "BatchMode=yes", "-T", "-p", str(port)),
            *("-i", str(folder / "user"), "-l", getpass.getuser()),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR"),
        ]
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(port: int, log: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    pytest.fail(f"the server did not start: {log.read_text()}")
