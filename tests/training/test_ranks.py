"""However the work is shared out, it is the same work: ZeRO stages, ranks, adapters, Ulysses."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.servers import dying_with_us
from tests.training.process_for_ranks import ALONE, ENGINES, HALF, SAID, STEPS
from tests.training.tiny_dataset import TinyDataset
from tests.training.tiny_run import lines
from training.checkpoint import StoredState
from training.checkpoint_record import read_record, step_folder

EXACT = [name for name in ENGINES if ENGINES[name].precision == "float32"]


@pytest.fixture(scope="module")
def runs(tiny: TinyDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs: by one process, then by two."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    module = "tests.training.process_for_ranks"
    ran = subprocess.run(
        dying_with_us([sys.executable, "-m", module, str(folder), str(tiny.manifest)]),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
    return folder


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder)]


def state(folder: Path, kind: str) -> torch.Tensor:
    """All values of a kind after the last step, of all parameters."""
    stored = StoredState(step_folder(folder, STEPS))
    return torch.cat([stored.whole(name, kind).flatten() for name in sorted(stored.shapes)])


@pytest.mark.parametrize("kind", ["weight", "exp_avg", "exp_avg_sq", "ema"])
@pytest.mark.parametrize("name", [f"{name}-2" for name in EXACT] + [f"{n}-1" for n in ALONE])
def test_all_are_one_process(runs: Path, name: str, kind: str) -> None:
    expected = state(runs / "zero0-1", kind)
    torch.testing.assert_close(state(runs / name, kind), expected, rtol=2e-3, atol=2e-5)
    assert losses(runs / name) == pytest.approx(losses(runs / "zero0-1"), rel=1e-4)


@pytest.mark.parametrize("name", [f"{name}-2" for name in EXACT] + [f"{n}-1" for n in ALONE])
def test_all_judge_the_average_alike(runs: Path, name: str) -> None:
    found, expected = (read_record(step_folder(runs / n, STEPS)) for n in (name, "zero0-1"))
    assert expected.val_loss is not None
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-4)


def test_the_reference_learns_and_its_average_lags(runs: Path) -> None:
    first = StoredState(step_folder(runs / "zero0-1", HALF))
    name = "blocks.0.attn1.to_q.weight"
    last = StoredState(step_folder(runs / "zero0-1", STEPS))
    moved = (last.whole(name, "weight") - first.whole(name, "weight")).abs().max()
    assert moved > 1e-3
    assert (last.whole(name, "ema") - last.whole(name, "weight")).abs().max() > 1e-4


@pytest.mark.parametrize(
    "name", [f"{n}-2" for n in ENGINES] + [f"{n}-1" for n in ALONE] + ["lora-1", "lora-2"]
)
def test_a_resumed_run_is_bit_equal(runs: Path, name: str) -> None:
    whole, resumed = (
        read_record(step_folder(runs / run, STEPS)) for run in (name, f"{name}-resumed")
    )
    assert resumed.files == whole.files
    assert lines(runs / f"{name}-resumed") == lines(runs / name)[HALF:]


def test_videos_change_nothing_also_where_none_can_be_written(runs: Path) -> None:
    """Made by all ranks at every measurement, of sharded weights, each after its checkpoint."""
    whole, shown = (read_record(step_folder(runs / run, STEPS)) for run in ("zero3-2", "shown"))
    assert shown.files == whole.files
    assert lines(runs / "shown") == lines(runs / "zero3-2")
    said = (runs / "shown" / SAID).read_text().splitlines()
    told = [line for line in said if line.startswith(("checkpoint", "say"))]
    assert [line.split()[0] for line in told] == ["checkpoint", "say"] * 2
    assert "no video of step 4, training goes on" in told[-1] and "samples" in told[-1]


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3"])
def test_another_number_of_ranks_goes_on(runs: Path, name: str) -> None:
    resumed = runs / f"{name}-from-1-to-2"
    assert losses(resumed) == pytest.approx(losses(runs / "zero0-1")[HALF:], rel=1e-4)
    for kind in ("weight", "ema"):
        expected = state(runs / "zero0-1", kind)
        torch.testing.assert_close(state(resumed, kind), expected, rtol=2e-3, atol=2e-5)
    assert read_record(step_folder(resumed, STEPS)).world_size == 2


def test_bfloat16_keeps_weights_in_float32(runs: Path) -> None:
    expected = state(runs / "zero0-1", "weight")
    for name in ("bf16-2", "bf16zero3-2"):
        found = state(runs / name, "weight")
        assert not torch.equal(found, found.bfloat16().float())
        assert losses(runs / name) == pytest.approx(losses(runs / "zero0-1"), rel=0.02)
        assert (found - expected).norm() < 0.02 * expected.norm()


def test_adapters_alone_are_trained(runs: Path) -> None:
    stored = StoredState(step_folder(runs / "lora-2", STEPS))
    assert stored.shapes
    assert all("lora_" in name for name in stored.shapes)
    one, two = losses(runs / "lora-1"), losses(runs / "lora-2")
    assert two == pytest.approx(one, rel=1e-3)
