"""What each of several processes takes of a machine: threads, as the user or the cores have it."""

import os
from pathlib import Path

import pytest

from curation.captioning.local import LocalConfig
from pipelines.devices import threads_each
from pipelines.steps.captioners import CaptionConfig, InWorkers, prepare


def test_threads_are_the_users_or_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    for given, threads in (("3", 3), (" 5 ,2", 5), ("0", cores), ("many", cores), ("", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert threads_each(1) == threads, given
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert (threads_each(1), threads_each(2 * cores)) == (cores, 1)


def test_workers_of_a_captioner_take_the_threads_that_the_user_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nobody loads it")
    cores = os.cpu_count() or 1
    config = CaptionConfig(local=LocalConfig(str(tmp_path), processes=2))

    def threads() -> int:
        (captioner,) = prepare(["local"], config, "0")
        assert isinstance(captioner, InWorkers)
        return captioner.limits.threads

    monkeypatch.setenv("OMP_NUM_THREADS", str(cores + 1))
    assert threads() == cores + 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() == max(cores // 2, 1)
