"""Ranks on other machines: by a real ssh, to a real server of this one, which is both of them."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.job import Silence
from pipelines.recipes.training import training_recipe
from pipelines.settings import Home, with_overrides
from pipelines.train import Trained, TrainRequest, train
from tests.conftest import REPOSITORY
from tests.pipelines.test_train import SMALL
from tests.ssh import ssh_server
from tests.training.tiny_dataset import TinyDataset
from tests.training.tiny_run import lines
from training.checkpoint_record import read_record
from training.errors import RankError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny: TinyDataset) -> Home:
    folder = tmp_path_factory.mktemp("hosts") / "home"
    shutil.copytree(tiny.home, folder)
    return Home(folder)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A hostfile of one machine under two names, and the ssh that reaches both."""
    folder = tmp_path_factory.mktemp("ssh")
    with ssh_server(folder) as ssh, pytest.MonkeyPatch.context() as environment:
        environment.setenv("TEMPO_SSH", shlex.join(ssh))
        path = folder / "hosts"
        path.write_text("127.0.0.1 slots=1\nlocalhost slots=1\n")
        yield path


def request(name: str, hostfile: Path | None) -> TrainRequest:
    settings = [*SMALL, "steps=2", "validation.videos=none"]
    config = with_overrides(training_recipe("train_debug_cpu"), settings)
    ranks = 2 if hostfile is None else None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return TrainRequest(config, "tiny", name, ranks, hostfile, port)


def test_ranks_by_ssh_train_as_ranks_of_this_machine_do(home: Home, hosts: Path) -> None:
    here, there = (
        train(request(name, file), home, Silence())
        for name, file in (("here", None), ("there", hosts))
    )
    assert read_record(there.checkpoint).world_size == 2
    assert read_record(there.checkpoint).val_loss == pytest.approx(here.val_loss, rel=1e-4)
    # Bits differ: each machine's only rank has all of its threads.
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)


def losses(made: Trained) -> list[float]:
    return [line["loss"] for line in lines(made.folder)]


def test_a_host_that_lets_nobody_in_is_named(
    home: Home, hosts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other_key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other_key], check=True)
    ssh = os.environ["TEMPO_SSH"].replace(str(hosts.parent / "user"), str(other_key))
    monkeypatch.setenv("TEMPO_SSH", ssh)
    with pytest.raises(RankError, match=r"(?s)exited with status 255.*Permission denied") as failed:
        train(request("refused", hosts), home, Silence())
    assert not failed.value.lost


def test_ranks_on_other_machines_end_when_their_starter_is_killed(home: Home, hosts: Path) -> None:
    command = [sys.executable, "-m", "pipelines", "train", "train_debug_cpu", "--dataset", "tiny"]
    small = [word for setting in SMALL for word in ("--set", setting)]
    words = ["--name", "orphans", "--hostfile", str(hosts), *small, "--home", str(home.root)]
    before = {process.pid for process in ranks()}
    parent = subprocess.Popen([*command, *words], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        started: list[psutil.Process] = []
        while len(started) < 2:
            assert parent.poll() is None
            time.sleep(0.1)
            started = [process for process in ranks() if process.pid not in before]
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs(started, timeout=120)
    assert not alive


def ranks() -> list[psutil.Process]:
    """Ranks of any run that a server of this machine has started."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = process.info["cmdline"] or []
        if "from pipelines.train_rank import main; main()" in words:
            parents = [parent.name() for parent in process.parents()]
            if "sshd" in parents:
                found.append(process)
    return found
