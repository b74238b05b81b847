"""How quick packing is beside the ffmpeg command that makes the same cuts with the same encoder.

Both cut the shots of a 1080p film that is made here: the same frames, 24 fps, the same preset and
x264 parameters, one encoder thread, no audio. ffmpeg, one process a clip, enters by seeking, and
our decoder is given one thread, as in a worker. Our row "encoded" does as much as ffmpeg does; our
row "shard" is all of `write_shard`: tar, sync, hashes, and the decode that verifies each video.

Then both sets of videos are made once more without loss, and decoded: are the frames the same? (As
coded for training they need not be: builds of x264 differ from each other in what they throw away.)

    python -m benchmarks.pack --seconds 20 --runs 3
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from benchmarks.film import RATE, benchmark_film
from benchmarks.measure import (
    LOG,
    Cost,
    contest_options,
    cpu_seconds,
    interleaved,
    machine,
    print_costs,
    print_ratio,
    timed_command,
)
from curation.derive import DeriveConfig, derive_film
from curation.scan import ScanConfig, scan_film
from curation.shards.document import SampleClip, SamplePlan
from curation.shards.encoding import ClipSource, encode_sample
from curation.shards.writing import ShardTask, write_shard
from curation.traces import Traces
from curation.video.encode import EncodeSettings
from curation.video.geometry import content_size

TARGET = 0.9
FFMPEG, ENCODED, SHARD = "ffmpeg, same cuts", "ours, encoded", "ours, shard"
LOSSLESS = EncodeSettings(crf=0)


def plan_shard(film: Path, traces: Path, folder: Path, settings: EncodeSettings) -> ShardTask:
    """One sample for each shot of a scanned film."""
    video = Traces(traces).film()
    rows = derive_film(video, Traces(traces), DeriveConfig()).clips
    samples = []
    for row in rows:
        source = ClipSource(row.clip_id, video, film, traces, row.start_frame, row.end_frame)
        clip = SampleClip(source, row, "A scene.", "benchmark")
        size = content_size(video)
        samples.append(
            SamplePlan(row.clip_id, "single", "train", (clip,), clip.caption, size, None, {})
        )
    return ShardTask("train-000000", folder, tuple(samples), {}, settings, "0" * 32, "0" * 32)


def pack(name: str, film: Path, traces: Path, folder: Path) -> Cost:
    """Encode the clips, or write a whole shard of them, in this process, which should be fresh."""
    cv2.setNumThreads(1)  # as the engine's workers have it
    task = plan_shard(film, traces, folder, EncodeSettings())
    before, started = cpu_seconds(), time.perf_counter()
    if name == SHARD:
        write_shard(task)
    else:
        for plan in task.samples:
            sample = encode_sample([plan.clips[0].source], plan.size, task.settings)
            (folder / f"{plan.sample_id}.mp4").write_bytes(sample.mp4)
    return Cost(time.perf_counter() - started, cpu_seconds() - before)


def pack_by_ffmpeg(ffmpeg: str, task: ShardTask, folder: Path) -> Cost:
    """One ffmpeg process for each clip."""
    costs = []
    for plan in task.samples:
        clip = plan.clips[0].source
        # Half a frame early: the seek gives the first frame at or after the time.
        enter = ["-ss", f"{max(0.0, (clip.start_frame - 0.5) / RATE):.6f}", "-threads", "1"]
        cut = ["-frames:v", str(clip.end_frame - clip.start_frame), "-r", str(RATE), "-an"]
        coding = ["-c:v", "libx264", "-preset", task.settings.preset, "-pix_fmt", "yuv420p"]
        coding += ["-x264-params", task.settings.x264_parameters()]
        target = str(folder / f"{plan.sample_id}.mp4")
        command = [ffmpeg, "-v", "error", "-y", *enter, "-i", str(clip.path), *cut, *coding, target]
        costs.append(timed_command(command, folder.parent))
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


class Contest:
    """Both packers on one scanned film."""

    def __init__(self, film: Path, folder: Path) -> None:
        self.film, self.folder = film, folder
        self.task = plan_shard(film, folder / "traces", folder / "none", EncodeSettings())
        self.ffmpeg = shutil.which("ffmpeg")

    @property
    def frames(self) -> int:
        """Of all clips together."""
        return sum(plan.clips[0].row.frame_count for plan in self.task.samples)

    def contestants(self) -> dict[str, Callable[[], Cost]]:
        """By name; ffmpeg only where it is installed."""
        ours = {ENCODED: lambda: self._ours(ENCODED), SHARD: lambda: self._ours(SHARD)}
        if self.ffmpeg is None:
            print("ffmpeg is not installed: no peer to compare with")
            return ours
        command = self.ffmpeg
        return {FFMPEG: lambda: pack_by_ffmpeg(command, self.task, self._empty(FFMPEG))} | ours

    def _empty(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _ours(self, name: str) -> Cost:
        arguments = [name, str(self.film), str(self.folder / "traces"), str(self._empty(name))]
        child = [sys.executable, "-m", "benchmarks.pack", "--child", *arguments]
        timed_command(child, self.folder)
        return Cost(**json.loads((self.folder / LOG).read_text().splitlines()[-1]))

    def megabytes(self, name: str) -> float:
        """Size of all that a contestant has written."""
        return sum(file.stat().st_size for file in (self.folder / name).iterdir()) / 1e6

    def same_frames(self) -> tuple[int, int]:
        """Of how many samples, and of how many at all, both packers give the same frames."""
        assert self.ffmpeg is not None
        ours, theirs = self._empty("ours"), self._empty("theirs")
        task = dataclasses.replace(self.task, folder=ours, settings=LOSSLESS)
        write_shard(task)
        with tarfile.open(ours / f"{task.name}.tar") as archive:
            archive.extractall(ours, filter="data")
        pack_by_ffmpeg(self.ffmpeg, task, theirs)
        names = [f"{plan.sample_id}.mp4" for plan in task.samples]
        same = [self._md5(ours / name) == self._md5(theirs / name) for name in names]
        return sum(same), len(same)

    def _md5(self, film: Path) -> list[str]:
        """Of every decoded frame."""
        command = [str(self.ffmpeg), "-v", "error", "-i", str(film), "-f", "framemd5", "-"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.rpartition(",")[2] for line in done.stdout.splitlines() if line[0] != "#"]


def main() -> None:
    """Make the film, scan it, run, report."""
    parser = contest_options(__doc__, seconds=20.0)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *places = options.child
        print(json.dumps(dataclasses.asdict(pack(name, *map(Path, places)))))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        film = options.film or benchmark_film(folder, options.seconds)
        scan_film(
            film,
            folder / "traces",
            video_id="0" * 32,
            uri=film.name,
            run_id="benchmark",
            config=ScanConfig(),
        )
        contest = Contest(film, folder)
        print(f"{len(contest.task.samples)} clips, {contest.frames} frames; machine: {machine()}")
        medians = interleaved(contest.contestants(), options.runs)
        print_costs(medians, contest.frames)
        print(", ".join(f"{name}: {contest.megabytes(name):.2f} MB" for name in medians))
        if FFMPEG in medians:
            for name in (ENCODED, SHARD):
                print_ratio(name, medians[name][0], FFMPEG, medians[FFMPEG][0], TARGET)
            same, clips = contest.same_frames()
            print(f"without loss, {same} of {clips} clips have the frames that ffmpeg's have")


if __name__ == "__main__":
    main()
