"""What the training loader costs beside decoding alone, and beside stock webdataset.

All contestants make the same windows of the same dataset version, each in a fresh process:

- decord alone: the same frames by index, the videos' bytes in memory already, nothing else done;
- the loader: reading, hashing, decoding, resizing, cropping, all draws, batches;
- webdataset with PyAV: whole videos, which is what torchvision's reader did for webdataset's own
  decoder before it was removed, then the window, resized as the loader does;
- webdataset with decord: `training.stock`, whole videos, then as before.

Samples per CPU second are what a core gives on a machine that others use too.

    python -m benchmarks.loader tempo-home/datasets/demo/1/manifest.json --runs 3
    python -m benchmarks.loader tempo-home/datasets/demo/1/manifest.json --memory 10000
"""

import argparse
import dataclasses
import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import psutil
import torch

from benchmarks.measure import LOG, Cost, interleaved, machine, timed_command
from curation.video.packed import PackedVideo
from training.batches import Batch
from training.data import DataConfig, TrainingData, stage_1, stage_2
from training.examples import fit
from training.loader import LoaderConfig
from training.plan import BatchConfig
from training.stock import stock_pipeline
from training.windows import frame_indices

U8 = npt.NDArray[np.uint8]
SIZES = ((416, 240), (240, 416))
DECORD, LOADER = "decord alone", "the loader"
WDS_PYAV, WDS_DECORD = "webdataset, PyAV", "webdataset, decord"
CONTESTANTS = (DECORD, LOADER, WDS_PYAV, WDS_DECORD)
TARGET = 0.8


def config(stage: int, workers: int) -> DataConfig:
    """A stage's windows, at a size that most material is shrunk to."""
    made = stage_1() if stage == 1 else stage_2()
    windows = dataclasses.replace(made.windows, sizes=SIZES, max_crop=0.6)
    loader = LoaderConfig(workers=workers)
    return dataclasses.replace(
        made, windows=windows, batch=BatchConfig(microbatches=1), loader=loader
    )


@dataclasses.dataclass(frozen=True)
class Window:
    """Frames of a sample that are to be shown."""

    sample: str
    indices: list[int]
    width: int
    height: int


def windows_of(batch: Batch) -> list[Window]:
    """What a batch shows."""
    bucket = batch.bucket
    shown = zip(batch.sample_ids, batch.starts.tolist(), batch.rates.tolist(), strict=True)
    return [
        Window(
            sample,
            frame_indices(start, rate, bucket.frames).tolist(),
            bucket.width,
            bucket.height,
        )
        for sample, start, rate in shown
    ]


def epoch(manifest: Path, stage: int, workers: int, samples: int) -> Iterator[Batch]:
    """The first epoch, or its beginning."""
    with TrainingData.open(manifest, config(stage, workers)) as data:
        stop = min(samples, data.plan.epoch_microbatches)
        with data.loader(stop=stop) as loader:
            yield from loader


def resized(pictures: U8, window: Window) -> U8:
    """Pictures as the loader scales them."""
    out = np.empty((len(pictures), window.height, window.width, 3), np.uint8)
    fit(np.ascontiguousarray(pictures), out)
    return out


def whole_by_pyav(mp4: bytes) -> U8:
    """All frames of a video, as `torchvision.io.read_video` gave them."""
    with av.open(io.BytesIO(mp4), "r") as container:
        return np.stack(
            [
                np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                for frame in container.decode(video=0)
            ]
        )


def by_webdataset(samples: Callable[[], Iterator[tuple[str, U8]]], windows: list[Window]) -> int:
    """Windows out of whole samples, in as many passes as the most often shown sample needs."""
    wanted: defaultdict[str, list[Window]] = defaultdict(list)
    for window in windows:
        wanted[window.sample].append(window)
    made = 0
    while any(wanted.values()):
        for sample, frames in samples():
            if wanted[sample]:
                window = wanted[sample].pop()
                made += len(resized(frames[window.indices], window)) > 0
    return made


def pyav_samples(manifest: Path) -> Iterator[tuple[str, U8]]:
    """Whole samples, webdataset reading and PyAV decoding."""
    for sample in stock_pipeline(manifest, decode=False):
        yield sample["__key__"], whole_by_pyav(sample["mp4"])


def decord_samples(manifest: Path) -> Iterator[tuple[str, U8]]:
    """Whole samples, webdataset reading and decord decoding."""
    for sample in stock_pipeline(manifest):
        yield sample["__key__"], sample["frames"].numpy()


def contest(name: str, manifest: Path, stage: int, windows: list[Window]) -> dict[str, float]:
    """Make all windows in this process; what it took."""
    torch.set_num_threads(1)
    with TrainingData.open(manifest, config(stage, 1)) as data:
        samples = [data.samples.read(index) for index in range(len(data.samples))]
    videos = {sample.sample_id: sample.mp4 for sample in samples}
    makers: dict[str, Callable[[], int]] = {
        DECORD: lambda: sum(
            len(PackedVideo(videos[window.sample]).frames(window.indices)) > 0 for window in windows
        ),
        LOADER: lambda: sum(len(batch) for batch in epoch(manifest, stage, 1, len(windows))),
        WDS_PYAV: lambda: by_webdataset(partial(pyav_samples, manifest), windows),
        WDS_DECORD: lambda: by_webdataset(partial(decord_samples, manifest), windows),
    }
    began, began_cpu = time.perf_counter(), time.process_time()
    made = makers[name]()
    cost = {"wall": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}
    assert made == len(windows), (made, len(windows))
    return cost


def child(name: str, options: argparse.Namespace, stage: int, plan: Path, folder: Path) -> Cost:
    """A contestant in a process of its own."""
    arguments = [str(options.manifest), "--stage", str(stage), "--child", name, str(plan)]
    timed_command([sys.executable, "-m", "benchmarks.loader", *arguments], folder)
    said = json.loads((folder / LOG).read_text().splitlines()[-1])
    return Cost(said["wall"], said["cpu"])


def compare(options: argparse.Namespace, stage: int) -> None:
    """All contestants on one stage's windows."""
    batches = epoch(options.manifest, stage, 2, options.samples)
    windows = [window for batch in batches for window in windows_of(batch)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = folder / "windows.json"
        plan.write_text(json.dumps([dataclasses.asdict(window) for window in windows]))
        runs: dict[str, Callable[[], Cost]] = {
            who: partial(child, who, options, stage, plan, folder) for who in CONTESTANTS
        }
        medians = interleaved(runs, options.runs)
    frames = sum(len(window.indices) for window in windows)
    print(f"stage {stage}: {len(windows)} windows of {frames / len(windows):.0f} frames on average")
    print(f"{'':20}{'CPU s':>8}{'samples/CPU s':>15}{'frames/CPU s':>14}{'wall s':>8}{'spread':>8}")
    for who, (cost, spread) in medians.items():
        rates = f"{len(windows) / cost.cpu:15.2f}{frames / cost.cpu:14.0f}"
        print(f"{who:20}{cost.cpu:8.2f}{rates}{cost.wall:8.2f}{spread:8.0%}")
    ours = medians[LOADER][0].cpu
    print(f"of decord's samples per CPU second: {medians[DECORD][0].cpu / ours:.2f} (aim {TARGET})")
    for who in (WDS_PYAV, WDS_DECORD):
        print(f"times as fast as {who}: {medians[who][0].cpu / ours:.2f}")


def memory(manifest: Path, samples: int) -> None:
    """Resident memory while so many samples pass, in small windows."""
    made = config(1, 2)
    windows = dataclasses.replace(made.windows, lengths=(17,), sizes=((208, 128), (128, 208)))
    made = dataclasses.replace(made, windows=windows, batch=BatchConfig(1, samples=4))
    this = psutil.Process()
    with TrainingData.open(manifest, made) as data, data.loader() as loader:
        seen = 0
        while seen < samples:
            before, seen = seen, seen + len(next(loader))
            if before * 10 // samples != seen * 10 // samples:
                print(
                    f"{seen:7} samples: {this.memory_info().rss / 2**20:7.1f} MiB, "
                    f"{this.num_fds()} descriptors, {this.num_threads()} threads"
                )


def main() -> None:
    """Run, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifest", type=Path, help="manifest.json of a dataset version")
    parser.add_argument("--samples", type=int, default=26, help="windows at most")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stage", type=int, choices=(1, 2), help="only this stage's windows")
    parser.add_argument("--memory", type=int, help="watch memory over so many samples instead")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, plan = options.child
        windows = [Window(**window) for window in json.loads(Path(plan).read_text())]
        print(json.dumps(contest(name, options.manifest, options.stage, windows)))
    elif options.memory:
        memory(options.manifest, options.memory)
    else:
        print(f"machine: {machine()}; {options.runs} interleaved runs, medians")
        for stage in (1, 2) if options.stage is None else (options.stage,):
            compare(options, stage)


if __name__ == "__main__":
    main()
