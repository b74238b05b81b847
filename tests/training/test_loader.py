"""The same batches for any number of workers and ranks, after any interruption, and clean ends."""

import contextlib
import gc
import itertools
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import REPOSITORY
from tests.training.print_batches import MICROBATCHES, config, digests
from tests.training.tiny_dataset import U8, TinyDataset
from training.data import DataConfig, TrainingData
from training.errors import TrainingDataError
from training.examples import Example, ExampleMaker
from training.loader import Loader, LoaderConfig
from training.plan import BatchConfig, MicroBatch
from training.windows import WindowConfig

STEPS = 9
"""More than two epochs of the tiny version."""


@pytest.fixture(scope="module")
def undisturbed(tiny: TinyDataset) -> list[str]:
    """Digests of all micro-batches of a run from step 0."""
    return digests(str(tiny.manifest), config(), stop=STEPS)


def test_the_run_goes_over_epoch_borders(tiny: TinyDataset) -> None:
    with TrainingData.open(tiny.manifest, config()) as data:
        assert 2 * data.plan.epoch_microbatches < STEPS * MICROBATCHES
        assert data.plan.epoch_microbatches % MICROBATCHES  # an epoch ends within a step
        assert len(data.plan.buckets) >= 3


@settings(max_examples=12, deadline=None)
@given(
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 9),
    ranks=st.sampled_from([1, 2, 3, 6]),
    start=st.integers(0, STEPS - 1),
    length=st.integers(1, 2),
)
def test_batches_depend_on_seed_and_step_alone(
    tiny: TinyDataset,
    undisturbed: list[str],
    workers: int,
    prefetch: int,
    ranks: int,
    start: int,
    length: int,
) -> None:
    """From any step, on any number of ranks and workers: the run's own batches, in its order."""
    stop = min(start + length, STEPS)
    of_ranks = [
        digests(
            str(tiny.manifest),
            config(workers, prefetch),
            start=start,
            stop=stop,
            rank=rank,
            ranks=ranks,
        )
        for rank in range(ranks)
    ]
    together = list(itertools.chain.from_iterable(zip(*of_ranks, strict=True)))
    assert together == undisturbed[start * MICROBATCHES : stop * MICROBATCHES]


def test_no_two_examples_of_a_run_draw_the_same(tiny: TinyDataset) -> None:
    with TrainingData.open(tiny.manifest, config()) as data, data.loader(stop=3) as loader:
        batches = list(loader)
    for name in ("noise_seeds", "times"):
        drawn = [value for batch in batches for value in getattr(batch, name).tolist()]
        assert len(set(drawn)) == len(drawn)


def test_another_seed_gives_other_batches(tiny: TinyDataset, undisturbed: list[str]) -> None:
    other = DataConfig(**{**_fields(config()), "seed": 12})
    assert not set(digests(str(tiny.manifest), other, stop=1)) & set(undisturbed)


def _fields(made: DataConfig) -> dict[str, object]:
    return {name: getattr(made, name) for name in ("windows", "examples", "batch", "loader")}


def test_killed_and_started_again_on_other_workers_and_ranks(
    tiny: TinyDataset, undisturbed: list[str]
) -> None:
    """One process of three workers is killed in step 2; two of other workers begin it again."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.print_batches", str(tiny.manifest)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    killed, halves = lines[: 2 * MICROBATCHES + 3], lines[2 * MICROBATCHES + 3 :]
    assert killed == undisturbed[: len(killed)]
    first, second = halves[:MICROBATCHES], halves[MICROBATCHES:]
    together = list(itertools.chain.from_iterable(zip(first, second, strict=True)))
    assert together == undisturbed[2 * MICROBATCHES : 4 * MICROBATCHES]


def damage(tiny: TinyDataset, folder: Path, count: int) -> tuple[Path, set[str]]:
    """A copy of the version in which some videos have a flipped bit."""
    shutil.copytree(tiny.manifest.parent, folder)
    with TrainingData.open(tiny.manifest, config()) as data:
        stored = [data.samples.read(k) for k in range(count)]
    for tar in folder.glob("*.tar"):
        content = bytearray(tar.read_bytes())
        for sample in stored:
            place = bytes(content).find(sample.mp4)
            if place >= 0:
                content[place + len(sample.mp4) // 2] ^= 16
        tar.write_bytes(content)
    return folder / "manifest.json", {sample.sample_id for sample in stored}


def test_a_damaged_sample_is_replaced_in_place_and_nothing_else_changes(
    tiny: TinyDataset, undisturbed: list[str], tmp_path: Path
) -> None:
    manifest, bad = damage(tiny, tmp_path / "1", 2)
    runs = []
    for workers, ranks in ((1, 1), (3, 2)):
        of_ranks = [
            digests(str(manifest), config(workers), stop=4, rank=rank, ranks=ranks)
            for rank in range(ranks)
        ]
        runs.append(list(itertools.chain.from_iterable(zip(*of_ranks, strict=True))))
    assert runs[0] == runs[1]
    with (
        TrainingData.open(tiny.manifest, config()) as whole,
        TrainingData.open(manifest, config()) as data,
        whole.loader(stop=4) as expected,
        data.loader(stop=4) as loader,
    ):
        replaced = 0
        for number, (before, after) in enumerate(zip(expected, loader, strict=True)):
            assert (before.slot, before.bucket, len(before)) == (
                after.slot,
                after.bucket,
                len(after),
            )
            assert not bad & set(after.sample_ids)
            kept = [row for row in range(len(before)) if before.sample_ids[row] not in bad]
            assert (before.pixels[kept] == after.pixels[kept]).all()
            assert after.damaged.keys() >= bad & set(before.sample_ids)
            assert (runs[0][number] == undisturbed[number]) == (len(kept) == len(before))
            replaced += len(before) - len(kept)
        assert replaced >= 5
        assert loader.damaged.keys() == bad
        assert all("other bytes" in reason for reason in loader.damaged.values())


def test_too_many_damaged_samples_stop_the_run_by_name(tiny: TinyDataset, tmp_path: Path) -> None:
    manifest, bad = damage(tiny, tmp_path / "1", 4)
    with pytest.raises(TrainingDataError, match="copy their shards again") as caught:
        digests(str(manifest), config(max_damaged=3), stop=STEPS)
    assert "4 samples are damaged, and 3 may be" in str(caught.value)
    assert all(sample in str(caught.value) for sample in bad)


def test_nothing_left_to_replace_with_stops_the_run(tiny: TinyDataset, tmp_path: Path) -> None:
    manifest, _ = damage(tiny, tmp_path / "1", len(tiny.of_split("train")))
    with pytest.raises(TrainingDataError, match=r"no sample of the bucket .* could be shown"):
        digests(str(manifest), config(max_damaged=100), stop=1)


def test_an_unreadable_shard_stops_the_run_where_it_is_needed(
    tiny: TinyDataset, tmp_path: Path
) -> None:
    shutil.copytree(tiny.manifest.parent, tmp_path / "1")
    with TrainingData.open(tmp_path / "1" / "manifest.json", config()) as data:
        for tar in (tmp_path / "1").glob("train-*.tar"):
            tar.unlink()
        with data.loader() as loader, pytest.raises(TrainingDataError, match="can be resumed"):
            next(loader)


def test_workers_end_with_the_loader_whenever_it_is_left(tiny: TinyDataset) -> None:
    before = threading.active_count()
    with TrainingData.open(tiny.manifest, config(workers=3)) as data:
        with data.loader() as loader:
            next(loader)
            assert threading.active_count() > before
        assert threading.active_count() == before
        with contextlib.suppress(KeyboardInterrupt), data.loader() as loader:
            next(loader)
            raise KeyboardInterrupt
    assert threading.active_count() == before


def test_what_waits_for_a_worker_is_dropped_when_the_loader_is_left(tiny: TinyDataset) -> None:
    going_on, made = threading.Event(), []

    class Slow(ExampleMaker):
        def make(self, batch: MicroBatch, row: int, pixels: U8) -> Example:
            made.append((batch.slot, row))
            if len(made) > first:
                going_on.wait()
            return super().make(batch, row, pixels)

    with TrainingData.open(tiny.manifest, config(workers=1, prefetch=12)) as data:
        plan = data.plan
        first = len(plan.step(0)[0].visits)
        loader = Loader(plan, Slow(data.samples, plan, data.config.examples), data.config.loader)
        with loader:
            next(loader)
            threading.Timer(0.5, going_on.set).start()
        assert len(made) <= first + 1


def test_waiting_is_told(tiny: TinyDataset) -> None:
    with TrainingData.open(tiny.manifest, config()) as data, data.loader(stop=1) as loader:
        assert loader.waited == 0
        list(loader)
        assert 0 < loader.waited < 600


def test_memory_and_descriptors_do_not_grow(tiny: TinyDataset) -> None:
    """Over 240 samples here; over 10 000 by `python -m benchmarks.loader --memory`."""
    windows = WindowConfig(sizes=((96, 64),), rates=(24,), lengths=(9,), min_seconds=0)
    made = DataConfig(windows, batch=BatchConfig(1, samples=4), loader=LoaderConfig(2, 4))
    this = psutil.Process()
    with TrainingData.open(tiny.manifest, made) as data, data.loader(stop=60) as loader:
        taken = []
        for batch in loader:
            if batch.step % 12 == 11:
                gc.collect()
                taken.append((this.memory_info().rss, this.num_fds()))
    memory, descriptors = zip(*taken, strict=True)
    assert memory[-1] - memory[1] < 12 << 20
    assert descriptors[-1] == descriptors[0]


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("prefetch", 0), ("max_damaged", -1)])
def test_configs_that_cannot_be_meant_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"loader\.{name} = {value}"):
        LoaderConfig(**{name: value})
