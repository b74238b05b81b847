"""Nodes on disk: a killed run goes on with the same bytes, and damage is told."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.errors import NodeStoreError
from model.node_store import NodeStore
from model.work import Execution
from tests.conftest import REPOSITORY
from tests.model.tiny_generator import tiny_generator, tiny_request, video_of

SHAPE = (3, 5, 2, 2)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """Killed without a chance to tidy up, right after level 1, with a batch half written."""
    store = tmp_path / "nodes"
    killed = subprocess.Popen(
        [sys.executable, "-m", "tests.model.process_to_kill", str(store), "pause"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    said = [killed.stdout.readline().strip() for _ in range(3)]
    killed.kill()
    killed.communicate()
    assert said == ["0.0 made", "1.0 made", "1.1 made"]
    unfinished = store / ".part-0"
    unfinished.mkdir()
    (unfinished / "x.safetensors").write_bytes(b"half")

    made: dict[str, bool] = {}
    with NodeStore(store) as found:
        video = video_of(
            tiny_generator().generate(
                tiny_request(),
                Execution(batch=2),
                store=found,
                watch=lambda finished: made.update({finished.node.id: not finished.reused}),
            )
        )
    assert not unfinished.exists()
    assert {name for name, fresh in made.items() if fresh} == {f"2.{n}" for n in range(4)}
    undisturbed = video_of(tiny_generator().generate(tiny_request(), Execution(batch=2)))
    assert torch.equal(video, undisturbed)


def test_a_batch_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    frames = torch.rand(SHAPE)
    with NodeStore(tmp_path) as store:
        store.write({"a": frames}, {})
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", full)
            with pytest.raises(OSError, match="No space"):
                store.write({"b": frames, "c": frames}, {})
        assert "a" in store
        assert "b" not in store
    with NodeStore(tmp_path) as store:
        assert ("a" in store, "b" in store, "c" in store) == (True, False, False)
        assert torch.equal(store.read("a", SHAPE), frames)
        store.write({"a": frames}, {})  # again, over what is there
        assert torch.equal(store.read("a", SHAPE), frames)


def test_damage_is_told(tmp_path: Path) -> None:
    with NodeStore(tmp_path) as store:
        store.write({"a": torch.rand(SHAPE)}, {})
        with pytest.raises(NodeStoreError, match="delete it"):
            store.read("a", (3, 9, 2, 2))
        file = next(tmp_path.glob("*/a.safetensors"))
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(NodeStoreError, match="delete it"):
            store.read("a", SHAPE)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        NodeStore(tmp_path),
        pytest.raises(NodeStoreError, match="another run"),
        NodeStore(tmp_path),
    ):
        pass
