"""What each layer of orchestration adds to the same work: direct, in a pool, Prefect, Ray.

    python -m benchmarks.orchestration films/ --rounds 3

The same films are scanned under each layer with one worker, in turn, round by round. What a layer
adds is measured over items that ask for nothing, many of them after the films: on a busy machine
the difference of two scans says nothing, and handing an item out and back costs the same whatever
is in it. It is set against the seconds that a film's scan took inside its worker. What does not
grow with films (starting workers, actors, a flow) stands apart. Prefect runs on a server that the
flow starts for itself.
"""

import argparse
import dataclasses
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from curation.identities import video_id_of
from curation.scan import ScanConfig, scan_film
from pipelines.crew import Limits
from pipelines.engine import Done, Engine, LocalEngine, SerialEngine, Stage

_LIMITS = Limits(timeout_seconds=3600.0, memory_bytes=4 << 30)
_NOTHING = -1
_EMPTY = 320


def scan(folder: Path, work: tuple[int, Path]) -> float:
    """In a worker: scan a film; its length in seconds. Work of number -1 is none."""
    number, film = work
    if number == _NOTHING:
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


@dataclasses.dataclass(frozen=True)
class Measured:
    """One layer in one round, in seconds."""

    start: float
    """Until the first worker had done nothing at all."""
    film: float
    """Inside the worker, median of the films."""
    added: float
    """By the layer, for each item."""


def timed(engine: Engine, films: list[Path], folder: Path) -> Measured:
    """Scan films, then hand out items that ask for nothing."""
    stage: Stage[None, tuple[int, Path], float]
    stage = Stage.stateless("scan", functools.partial(scan, folder), _LIMITS)
    inside: list[float] = []
    times: list[float] = []

    def work() -> Iterator[tuple[int, Path]]:
        yield _NOTHING, films[0]
        yield from enumerate(films)
        for _ in range(_EMPTY):
            yield _NOTHING, films[0]

    begun = time.perf_counter()
    for outcome in engine.map(stage, work()):
        if not isinstance(outcome, Done):
            raise SystemExit(f"{outcome.item}: {outcome.message}")
        times.append(time.perf_counter())
        if outcome.item[0] != _NOTHING:
            inside.append(outcome.seconds)
    # From the last film on; with one worker outcomes come in the order of the items.
    added = (times[-1] - times[len(films)]) / _EMPTY
    return Measured(times[0] - begun, statistics.median(inside), added)


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


def _note(measured: list[Measured], films: list[Path], folder: Path, engine: Engine) -> None:
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
    results: dict[str, list[Measured]] = {}
    for _ in range(chosen.rounds):
        for name, under in layers():
            with tempfile.TemporaryDirectory() as folder:
                note = functools.partial(_note, results.setdefault(name, []), films, Path(folder))
                under(note)
    film = statistics.median(one.film for one in results["direct"])
    print(f"{len(films)} films, {chosen.rounds} rounds; a film's scan takes {film:.2f} s")
    print(f"{'layer':<8} {'added ms per item':>18} {'of a film':>10} {'start s':>8}")
    for name, measured in results.items():
        added = statistics.median(one.added for one in measured)
        start = statistics.median(one.start for one in measured)
        print(f"{name:<8} {added * 1e3:>18.2f} {added / film:>10.2%} {start:>8.1f}")


if __name__ == "__main__":
    from benchmarks import (
        orchestration,  # workers find `scan` by its module's name, not as __main__
    )

    orchestration.main()
