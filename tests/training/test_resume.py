"""A run that was killed twice, once while it wrote a checkpoint, is the run that never was."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from model.generator_folder import read_spec
from tests.conftest import REPOSITORY
from tests.training.process_to_kill import EVERY, STEPS
from tests.training.tiny_dataset import TinyDataset
from tests.training.tiny_run import lines, tiny_config
from training.checkpoint import CheckpointConfig, StoredState, prune
from training.checkpoint_record import GENERATOR, complete_steps, read_record, step_folder
from training.data import TrainingData
from training.errors import CheckpointError
from training.journal import VALIDATION


@pytest.fixture(scope="module")
def runs(tiny: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("killed")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.training.process_to_kill", str(folder), str(tiny.manifest)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-5000:]
    # DeepSpeed writes to the same place.
    assert f"[{EVERY}]" in ran.stdout.splitlines(), "the second kill left no other checkpoint"
    return folder


def test_the_run_crosses_epochs(tiny: TinyDataset) -> None:
    config = tiny_config()
    with TrainingData.open(tiny.manifest, config.data) as data:
        epoch = data.plan.epoch_microbatches / config.data.batch.microbatches
    assert 1 < epoch < STEPS - EVERY, "what is run again goes over the end of an epoch"


def test_every_step_is_the_same(runs: Path) -> None:
    assert len(lines(runs / "whole")) == STEPS
    assert lines(runs / "killed") == lines(runs / "whole")
    assert (runs / "killed" / VALIDATION).read_text() == (runs / "whole" / VALIDATION).read_text()


def test_checkpoints_are_bit_equal(runs: Path) -> None:
    steps = complete_steps(runs / "whole")
    assert steps == complete_steps(runs / "killed") == [4, 8, 12, 14]
    for step in steps:
        one, other = (read_record(step_folder(runs / run, step)) for run in ("whole", "killed"))
        assert one.files == other.files
        assert one.val_loss == other.val_loss is not None
        assert one.updates == step
    assert not list((runs / "killed").glob(".unfinished-*"))


def test_stock_diffusers_opens_the_average(runs: Path) -> None:
    folder = step_folder(runs / "killed", STEPS)
    network = WanTransformer3DModel.from_pretrained(folder / GENERATOR / "transformer")
    stored = StoredState(folder)
    assert set(network.state_dict()) == set(stored.shapes)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, stored.whole(name, "ema"))
    assert read_spec(folder / GENERATOR) == tiny_config().generator


def test_only_the_newest_and_round_ones_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8, 10):
        folder = step_folder(tmp_path, step)
        folder.mkdir()
        (folder / "record.json").write_text("{}")
    half_deleted, copied = tmp_path / ".unfinished-step-00000001", tmp_path / "step-00000002.bak"
    for folder in (half_deleted, copied):
        folder.mkdir()
        (folder / "record.json").write_text("{}")
    assert complete_steps(tmp_path) == [2, 4, 6, 8, 10]
    (tmp_path / ".unfinished-step-00000012").mkdir()
    assert prune(tmp_path, CheckpointConfig(keep_last=2, keep_every=4)) == [4, 8, 10]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000002.bak",
        *(f"step-{step:08d}" for step in (4, 8, 10)),
    ]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, runs: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read_record(tmp_path)
    stored = StoredState(step_folder(runs / "whole", STEPS))
    with pytest.raises(CheckpointError, match="lacks 1 values of nothing"):
        stored.fill(torch.empty(1), "nothing", "ema", 0)
