"""What a run writes down, read back by those who show it: TensorBoard's reader, W&B's own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.journal import METRICS, Journal, LogConfig
from training.meter import StepReport

RUN = ("night-3", {"steps": 4, "optimiser": {"lr": 1e-3}})


def report(step: int) -> StepReport:
    return StepReport(
        step=step, loss=2.0 - step, applied=True, grad_norm=1.0, lr=1e-3, seconds=0.5,
        data_wait=0.1, tokens=100, samples=2, flops=1e9, mfu=None, memory=1 << 30,
        parts={"mask/first": 1.0 + step},
    )  # fmt: skip


def written(folder: Path, config: LogConfig) -> None:
    """A run of four steps, a measurement and a picture."""
    folder.mkdir()
    sheet = folder / "sheet.png"
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(sheet)
    with Journal(folder, config, 0, RUN) as journal:
        for step in range(4):
            journal.step(report(step), last=step == 3)
        journal.validated(4, 0.25, {"first/t0.5": 0.5})
        journal.picture(4, sheet)


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    written(tmp_path / "run", LogConfig(every=2))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    points = [(point.step, point.value) for point in events.Scalars("train/loss")]
    assert points == [(2, 1.5), (4, -0.5)]
    assert [(p.step, p.value) for p in events.Scalars("validation/first/t0.5")] == [(4, 0.5)]
    (picture,) = events.Images("validation/video")
    assert (picture.step, picture.width, picture.height) == (4, 4, 4)
    assert len((tmp_path / "run" / METRICS).read_text().splitlines()) == 4


def test_curves_for_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, as on a cluster without a way out: what `wandb sync` would send lies in one file."""
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    written(tmp_path / "run", LogConfig(every=2, tensorboard=False, wandb_project="tempo"))
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/run-night-3.wandb")
    kept = file.read_bytes()
    for name in (b"tempo", b"train/loss", b"validation/loss", b"first/t0.5", b"validation/video"):
        assert name in kept, name
