"""What tests start does not outlive them."""

import shutil
import subprocess
import sys

import psutil
import pytest

_KILLED_TESTS = """
import os, signal, subprocess, time
import psutil
from tests.servers import dying_with_us

server = psutil.Popen(dying_with_us(["sleep", "600"]), stdout=subprocess.DEVNULL)
while server.name() != "sleep":  # setpriv has then asked to die with us
    time.sleep(0.01)
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_a_server_ends_with_the_tests_that_are_killed() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _KILLED_TESTS], stdout=subprocess.PIPE, timeout=120
    )
    assert told.returncode < 0
    try:
        server = psutil.Process(int(told.stdout))
    except psutil.NoSuchProcess:
        return
    _, alive = psutil.wait_procs([server], timeout=60)
    assert not alive
