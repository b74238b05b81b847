"""How quick the scan is, all measurers on, beside decoding alone and beside cut detection alone.

In interleaved runs on one 1080p film that is made here:

* ``ffmpeg -f null``: decoding, and nothing done with the frames;
* our scan of one film that has the machine to itself, traces written to disk. A worker scans many
  films, so its time and CPU are those of the scan; the whole process, with the start of Python and
  all imports, stands in a row of its own;
* the ``scenedetect`` command's adaptive detection, with its start.

    python -m benchmarks.scan --seconds 60 --runs 3

Then the peak memory of a scan of that film and of one ten times as long, a process each.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pyarrow as pa

from benchmarks.film import benchmark_film, film_seconds, repeat_film
from benchmarks.measure import (
    LOG,
    Cost,
    contest_options,
    cpu_seconds,
    interleaved,
    machine,
    peak_bytes,
    print_costs,
    print_ratio,
    summary,
    timed_command,
)
from curation.scan import ScanConfig, scan_film
from pipelines.steps.ingest import decoder_threads

LONGER = 10
TARGET_DECODING, TARGET_DETECTION = 0.75, 1.25
FFMPEG, SCAN, PROCESS, DETECT = (
    "ffmpeg -f null",
    "our scan",
    "our scan, whole process",
    "scenedetect detect-adaptive",
)


def scan(film: Path, traces: Path) -> dict[str, float]:
    """Scan in this process, which should be fresh."""
    cv2.setNumThreads(1)  # as the engine's workers have it
    pa.array([0])  # the first one in a process imports pandas, if that is installed
    before, started = cpu_seconds(), time.perf_counter()
    row = scan_film(
        film,
        traces / "film",
        video_id="0" * 32,
        uri=film.name,
        run_id="benchmark",
        config=ScanConfig(),
        threads=decoder_threads(films=1, cores=os.cpu_count() or 1),
    )
    wall, cpu = time.perf_counter() - started, cpu_seconds() - before
    assert row.status == "ok"
    assert row.frame_count is not None
    frames = row.frame_count
    return {"wall": wall, "cpu": cpu, "peak": peak_bytes(), "frames": frames}


def scan_afresh(film: Path, folder: Path) -> tuple[Cost, dict[str, float]]:
    """Scan in a fresh process: what the process cost, and what it says of the scan itself."""
    traces = folder / "traces"
    shutil.rmtree(traces, ignore_errors=True)
    module = [sys.executable, "-m", "benchmarks.scan"]
    whole = timed_command([*module, "--child", str(film), str(traces)], folder)
    said: dict[str, float] = json.loads((folder / LOG).read_text().splitlines()[-1])
    return whole, said


class Contest:
    """The contestants, on one film."""

    def __init__(self, film: Path, folder: Path) -> None:
        self.film, self.folder = film, folder
        self.whole: list[Cost] = []
        """The whole processes of our scans."""

    def contestants(self) -> dict[str, Callable[[], Cost]]:
        """By name; peers that are not installed are left out."""
        found: dict[str, Callable[[], Cost]] = {}
        ffmpeg = shutil.which("ffmpeg")
        if ffmpeg:
            decode = [ffmpeg, "-v", "error", "-i", str(self.film), "-f", "null", "-"]
            found[FFMPEG] = lambda: timed_command(decode, self.folder)
        else:
            print("ffmpeg is not installed: no figure for decoding alone")
        found[SCAN] = self._scan
        scenedetect = Path(sys.executable).with_name("scenedetect")
        listing = ["-i", str(self.film), "-o", str(self.folder), "detect-adaptive", "list-scenes"]
        found[DETECT] = lambda: timed_command([str(scenedetect), *listing], self.folder)
        return found

    def _scan(self) -> Cost:
        whole, said = scan_afresh(self.film, self.folder)
        self.whole.append(whole)
        return Cost(said["wall"], said["cpu"])


def report(medians: dict[str, tuple[Cost, float]], contest: Contest, frames: int) -> None:
    """Print the table, and the ratios to the peers."""
    whole = summary(contest.whole)
    print_costs(medians | {PROCESS: whole}, frames)
    start = whole[0].wall - medians[SCAN][0].wall
    print(f"start of Python and imports, not counted in '{SCAN}': {start:.2f} s wall")
    for peer, target in ((FFMPEG, TARGET_DECODING), (DETECT, TARGET_DETECTION)):
        if peer in medians:
            for name, ours in ((SCAN, medians[SCAN][0]), (PROCESS, whole[0])):
                print_ratio(name, ours, peer, medians[peer][0], target)


def memory(film: Path, folder: Path) -> None:
    """Print the peak memory of a scan of the film, and of one that is `LONGER` times as long."""
    longer = folder / "longer.mp4"
    repeat_film(film, longer, LONGER)
    for path in (film, longer):
        _, said = scan_afresh(path, folder)
        print(
            f"peak memory of a scan of {film_seconds(path) / 60:.1f} minutes: "
            f"{said['peak'] / 2**20:.0f} MiB ({said['frames'] / said['wall']:.1f} frames/s)"
        )


def main() -> None:
    """Make the film, run, report."""
    parser = contest_options(__doc__, seconds=60.0)
    parser.add_argument("--no-memory", action="store_true", help="leave out the ten times longer")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(scan(*options.child)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = options.film or benchmark_film(folder, options.seconds)
        seconds = film_seconds(film)
        rate = film.stat().st_size * 8 / seconds / 1e6
        print(f"film: {seconds:.0f} s, {rate:.1f} Mbit/s; {options.runs} interleaved runs, medians")
        print(f"machine: {machine()}")
        _, said = scan_afresh(film, folder)  # also warms the file cache
        contest = Contest(film, folder)
        medians = interleaved(contest.contestants(), options.runs)
        report(medians, contest, int(said["frames"]))
        if not options.no_memory:
            memory(film, folder)


if __name__ == "__main__":
    main()
