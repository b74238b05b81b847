"""What each layer of orchestration adds to the same work: direct, in a pool, Prefect, Ray.

    python -m benchmarks.orchestration films/ --rounds 3

The same films are scanned under each engine with one worker, in turn, round by round, so that a
busy machine is as busy for all. The overhead of a layer is its time beyond the direct one's, per
film: what does not grow with films (starting workers, Ray's actors) is measured apart, by a run
over no work. Prefect runs on a server that this script's flow starts for itself.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from curation.records import video_id_of
from curation.scan import ScanConfig, scan_film
from pipelines.crew import Limits
from pipelines.engine import Done, Engine, LocalEngine, SerialEngine, Stage

_LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=4 << 30)
_WARMING = -1


def scan(folder: Path, work: tuple[int, Path]) -> float:
    """In a worker: scan a film; its length in seconds. Work of number -1 is none."""
    number, film = work
    if number == _WARMING:
        return 0.0
    video_id = video_id_of(film)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        row = scan_film(
            film,
            Path(place) / "traces",
            video_id=video_id,
            uri=str(film),
            run_id="benchmark",
            config=ScanConfig(),
        )
    return row.duration_seconds or 0.0


def timed(engine: Engine, films: list[Path], folder: Path) -> tuple[float, float]:
    """Seconds per film, and seconds until the first worker had done nothing at all."""
    stage: Stage[None, tuple[int, Path], float]
    stage = Stage.stateless("scan", functools.partial(scan, folder), _LIMITS)
    times = []

    def work() -> Iterator[tuple[int, Path]]:
        yield _WARMING, films[0]
        yield from enumerate(films)

    begun = time.perf_counter()
    for outcome in engine.map(stage, work()):
        if not isinstance(outcome, Done):
            raise SystemExit(f"{outcome.item}: {outcome.message}")
        times.append(time.perf_counter())
    return (times[-1] - times[0]) / len(films), times[0] - begun


def layers() -> Iterable[tuple[str, Callable[[Callable[[Engine], None]], None]]]:
    """Each layer's name, and how to run something under it."""
    yield "direct", lambda run: run(SerialEngine())
    yield "pool", lambda run: run(LocalEngine(1))
    yield "Prefect", _under_prefect
    yield "Ray", _under_ray


def _under_prefect(run: Callable[[Engine], None]) -> None:
    from prefect import flow

    from flows.batches import TaskEngine

    def body() -> None:
        run(TaskEngine(LocalEngine(1), lambda item: str(item[0])))

    flow(name="benchmark")(body)()


def _under_ray(run: Callable[[Engine], None]) -> None:
    from pipelines.ray_engine import RayEngine

    run(RayEngine(1))


def _note(
    measured: list[tuple[float, float]], films: list[Path], folder: Path, engine: Engine
) -> None:
    measured.append(timed(engine, films, folder))


def main() -> None:
    """Measure, and print one line per layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
    films = sorted(path for path in chosen.folder.iterdir() if path.suffix == ".mp4")
    results: dict[str, list[tuple[float, float]]] = {}
    lengths = sum(scan(Path(tempfile.gettempdir()), item) for item in enumerate(films))
    for _ in range(chosen.rounds):
        for name, under in layers():
            with tempfile.TemporaryDirectory() as folder:
                under(functools.partial(_note, results.setdefault(name, []), films, Path(folder)))
    direct = statistics.median(seconds for seconds, _ in results["direct"])
    print(f"{len(films)} films of {lengths / len(films):.0f} s on average, {chosen.rounds} rounds")
    print(f"{'layer':<8} {'s per film':>10} {'over direct':>12} {'start s':>8}")
    for name, measured in results.items():
        seconds = statistics.median(seconds for seconds, _ in measured)
        start = statistics.median(start for _, start in measured)
        print(f"{name:<8} {seconds:>10.3f} {seconds / direct - 1:>12.1%} {start:>8.1f}")


if __name__ == "__main__":
    from benchmarks import (
        orchestration,  # workers find `scan` by its module's name, not as __main__
    )

    orchestration.main()
