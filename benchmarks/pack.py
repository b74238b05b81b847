"""How quick packing is beside the ffmpeg command that makes the same cuts with the same encoder.

Both cut one clip after another out of a 1080p film that is made here: the same frames, 24 fps, the
same preset and x264 parameters, one encoder thread, no audio. ffmpeg enters by seeking, and our
decoder is given one thread, as in a worker. What packing does besides, the decode that verifies
each video, stands in a row of its own.

    python -m benchmarks.pack --seconds 20 --runs 3
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from benchmarks.film import RATE, benchmark_film
from benchmarks.measure import LOG, Cost, interleaved, machine, timed_command
from curation.scan import ScanConfig, scan_film
from curation.shards.encoding import ClipSource, encode_sample
from curation.shards.writing import check_video
from curation.traces import Traces
from curation.video.encode import EncodeSettings
from curation.video.geometry import content_size

CLIP_FRAMES, CLIP_EVERY = 49, 60
TARGET = 0.9
FFMPEG, ENCODED, VERIFIED = "ffmpeg, same cuts", "ours, encoded", "ours, encoded and verified"


def clip_starts(film_frames: int) -> list[int]:
    """First frames of the clips: one in each shot, a few frames after its cut."""
    return [start + 5 for start in range(0, film_frames - CLIP_FRAMES - 5, CLIP_EVERY)]


def pack(film: Path, traces: Path, target: Path) -> dict[str, float]:
    """Encode all clips in this process, then verify them."""
    cv2.setNumThreads(1)
    video = Traces(traces).film()
    assert video.frame_count is not None
    size, settings = content_size(video), EncodeSettings()
    times = [(time.perf_counter(), _cpu())]
    made = []
    for start in clip_starts(video.frame_count):
        clip = ClipSource(str(start), video, film, traces, start, start + CLIP_FRAMES)
        sample = encode_sample([clip], size, settings)
        (target / f"{start}.mp4").write_bytes(sample.mp4)
        made.append((str(start), sample))
    times.append((time.perf_counter(), _cpu()))
    for name, sample in made:
        check_video(sample.mp4, name, sample.frame_count, size)
    times.append((time.perf_counter(), _cpu()))
    (began, began_cpu), (encoded, encoded_cpu), (verified, verified_cpu) = times
    return {
        "encoded_wall": encoded - began,
        "encoded_cpu": encoded_cpu - began_cpu,
        "verified_wall": verified - began,
        "verified_cpu": verified_cpu - began_cpu,
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def pack_by_ffmpeg(ffmpeg: str, film: Path, starts: list[int], folder: Path) -> Cost:
    """One ffmpeg process for each clip."""
    settings = EncodeSettings()
    coding = ["-c:v", "libx264", "-preset", settings.preset]
    coding += ["-x264-params", settings.x264_parameters(), "-pix_fmt", "yuv420p", "-an"]
    costs = []
    for start in starts:
        # Half a frame early: the seek gives the first frame at or after the time.
        enter = ["-ss", f"{max(0.0, (start - 0.5) / RATE):.6f}", "-threads", "1", "-i", str(film)]
        cut = ["-frames:v", str(CLIP_FRAMES), "-r", str(RATE), *coding]
        command = [ffmpeg, "-v", "error", "-y", *enter, *cut, str(folder / f"{start}.mp4")]
        costs.append(timed_command(command, folder.parent))
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


class Contest:
    """Both packers on one scanned film."""

    def __init__(self, film: Path, frames: int, folder: Path) -> None:
        self.film, self.folder, self.starts = film, folder, clip_starts(frames)
        self.verified: Cost | None = None
        for name in ("ours", "theirs"):
            (folder / name).mkdir()

    def contestants(self) -> dict[str, Callable[[], Cost]]:
        """By name; ffmpeg only where it is installed."""
        found = {ENCODED: self._ours, VERIFIED: self._ours_verified}
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg is None:
            print("ffmpeg is not installed: no peer to compare with")
            return found
        theirs = self.folder / "theirs"
        return {FFMPEG: lambda: pack_by_ffmpeg(ffmpeg, self.film, self.starts, theirs)} | found

    def _ours(self) -> Cost:
        arguments = [self.film, self.folder / "traces", self.folder / "ours"]
        command = [sys.executable, "-m", "benchmarks.pack", "--child", *map(str, arguments)]
        timed_command(command, self.folder)
        said = json.loads((self.folder / LOG).read_text().splitlines()[-1])
        self.verified = Cost(said["verified_wall"], said["verified_cpu"])
        return Cost(said["encoded_wall"], said["encoded_cpu"])

    def _ours_verified(self) -> Cost:
        """Of the run that was just made, so that both rows are of one and the same."""
        assert self.verified is not None
        return self.verified

    def megabytes(self, name: str) -> float:
        """Size of all that was written."""
        return sum(file.stat().st_size for file in (self.folder / name).glob("*.mp4")) / 1e6


def report(medians: dict[str, tuple[Cost, float]], contest: Contest) -> None:
    """Print the table, the ratios and the sizes."""
    frames = CLIP_FRAMES * len(contest.starts)
    print(f"{len(contest.starts)} clips of {CLIP_FRAMES} frames")
    print(f"{'':30}{'wall s':>8}{'spread':>8}{'frames/s':>10}{'CPU s':>8}")
    for name, (cost, spread) in medians.items():
        rate = frames / cost.wall
        print(f"{name:30}{cost.wall:8.2f}{spread:8.0%}{rate:10.1f}{cost.cpu:8.2f}")
    print(f"written: ours {contest.megabytes('ours'):.2f} MB", end="")
    if FFMPEG not in medians:
        print()
        return
    print(f", ffmpeg {contest.megabytes('theirs'):.2f} MB")
    peer = medians[FFMPEG][0]
    for name in (ENCODED, VERIFIED):
        ours = medians[name][0]
        print(
            f"{name} / {FFMPEG}: {peer.wall / ours.wall:.2f} of its speed by wall, "
            f"{peer.cpu / ours.cpu:.2f} by CPU (aim {TARGET:.2f})"
        )


def main() -> None:
    """Make the film, scan it, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--film", type=Path, help="a 24 fps film of yours, not the one made here")
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(pack(*options.child)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = options.film or benchmark_film(folder, options.seconds)
        row = scan_film(
            film,
            folder / "traces",
            video_id="0" * 32,
            uri=film.name,
            run_id="benchmark",
            config=ScanConfig(),
        )
        assert row.frame_count is not None
        contest = Contest(film, row.frame_count, folder)
        print(f"machine: {machine()}; {options.runs} interleaved runs, medians")
        report(interleaved(contest.contestants(), options.runs), contest)


if __name__ == "__main__":
    main()
