"""What a library will cost, from a pilot: a few of its films, curated for real and thrown away.

Everything is measured in CPU seconds of the process that did the work, so that a busy machine does
not make films look dearer. From the pilot to the whole all numbers grow in proportion: by bytes for
a library that is there, by kept clips for one that is imagined. The trade-off of so simple a rule:
what a run costs once (start, report) is counted as if it grew, so small pilots overstate the job's
own process.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from curation.catalog.connection import CatalogSettings
from curation.errors import CurationError
from curation.identities import digest
from pipelines.curate import CurateConfig, CurateRequest, curate
from pipelines.engine import Engine, ItemT, Outcome, Stage, StateT, ValueT
from pipelines.inputs import FilmInput
from pipelines.job import Progress
from pipelines.settings import Home
from pipelines.steps.identify import current_size

JOB = "job"
"""The one process that plans and commits, beside the workers' stages."""
_HOUR = 3600.0
_PREFIX, _IN_USE, _UNNAMED = "tempo-estimate-", ".in-use", ".in-use.new"


@dataclasses.dataclass(frozen=True, slots=True)
class Prices:
    """What an hour costs, in any currency."""

    cpu_hour: float
    """Of one core."""
    gpu_hour: float
    """Of one GPU, with the cores that come with it."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} = {getattr(self, field.name)}: give 0 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage took."""

    name: str
    items: int
    cpu_seconds: float
    gpu_seconds: float
    """Of GPUs held, where the stage asks for any; its cores then come with them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pilot:
    """What was measured on the sampled films."""

    films: int
    bytes: int
    """Of the films."""
    film_hours: float
    clips_kept: int
    sample_hours: float
    """Of published video."""
    stages: tuple[StageCost, ...]
    traces_bytes: int
    """Traces and evidence."""
    shards_bytes: int
    catalog_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Projection:
    """The pilot, scaled."""

    what: str
    times: float
    """How many pilots it is."""
    film_hours: float
    clips: float
    cpu_hours: dict[str, float]
    """By stage; the job's own process among them."""
    gpu_hours: dict[str, float]
    cost: float
    hours: float
    """On the wall, with the workers that were named, all busy, beside the one job process."""
    traces_bytes: float
    shards_bytes: float
    catalog_bytes: float

    @property
    def slowest(self) -> str:
        """The stage with the most hours."""
        return max(
            self.cpu_hours,
            key=lambda name: self.cpu_hours[name] + self.gpu_hours.get(name, 0.0),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """A pilot, and what it says of the library and of imagined ones."""

    pilot: Pilot
    workers: int
    prices: Prices
    projections: tuple[Projection, ...]


class _ScratchHome(Home):
    """A home that nothing outside is told of, whatever the environment says."""

    __slots__ = ()

    def catalog(self) -> CatalogSettings:
        """An embedded catalog."""
        return CatalogSettings(home=self.root)

    @property
    def published(self) -> str | None:
        """Nowhere."""
        return None


class MeteredEngine:
    """Another engine, with an account of what each stage took."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.costs: dict[str, StageCost] = {}

    def at_most(self, workers: int) -> "MeteredEngine":
        """See `Engine.at_most`; the account stays one."""
        limited = MeteredEngine(self._inner.at_most(workers))
        limited.costs = self.costs
        return limited

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """See `Engine.map`."""
        for outcome in self._inner.map(stage, items):
            known = self.costs.get(stage.name, StageCost(stage.name, 0, 0.0, 0.0))
            on_gpu = stage.limits.gpus * outcome.seconds
            self.costs[stage.name] = StageCost(
                stage.name,
                known.items + 1,
                known.cpu_seconds + (0.0 if on_gpu else outcome.cpu_seconds),
                known.gpu_seconds + on_gpu,
            )
            yield outcome


def estimate(
    films: list[FilmInput],
    config: CurateConfig,
    *,
    sample: int,
    clips: list[int],
    prices: Prices,
    workers: int,
    engine: Engine,
    scratch: Path | None,
    progress: Progress,
    weights: Path | None = None,
) -> Estimate:
    """Curate a sample of films in a scratch home, and scale what it took.

    Args:
        films: the library.
        config: how it would be curated.
        sample: films to try; drawn by the hash of their names, so the same ones each time.
        clips: numbers of kept clips to project to.
        prices: of an hour.
        workers: how many would work at a time.
        engine: does the pilot's work.
        scratch: on which disk; None for the system's folder of temporary files.
        progress: told how far the pilot is.
        weights: a home's folder of model weights, for recipes that need them.

    Raises:
        ValueError: not one film is asked for, or none is readable.
        CurationError: the pilot keeps nothing: take more films.
    """
    if sample < 1:
        raise ValueError(f"sample = {sample}: try at least one film")
    sizes = {film.uri: size for film in films if (size := current_size(film)) >= 0}
    if not sizes:
        raise ValueError("not one of these films can be read")
    chosen = sorted((film for film in films if film.uri in sizes), key=_lot)[:sample]
    with _scratch(scratch) as folder:
        home = _ScratchHome(folder)
        if weights is not None and weights.is_dir():
            home.weights.symlink_to(weights.absolute())
        pilot = _pilot(chosen, sizes, config, home, engine, progress)
    if not pilot.clips_kept:
        raise CurationError("the pilot keeps no clip: give a larger --sample, or another policy")
    whole = sum(sizes.values()) / pilot.bytes
    scales = [(f"these {len(sizes)} films", whole)]
    scales += [(f"{count:,} clips", count / pilot.clips_kept) for count in clips]
    projections = tuple(_projection(pilot, what, times, prices, workers) for what, times in scales)
    return Estimate(pilot, workers, prices, projections)


@contextlib.contextmanager
def _scratch(parent: Path | None) -> Iterator[Path]:
    """A folder that is removed again: by us, or by the next pilot there if we are killed."""
    above = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_left(above)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
    with (folder / _UNNAMED).open("wb") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        Path(mark.name).rename(folder / _IN_USE)  # seen by others only when it is locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _remove_left(above: Path) -> None:
    """Remove the folders of pilots that were killed: nobody holds their locks any more."""
    for folder in above.glob(f"{_PREFIX}*"):
        # What is another's, a link or a file is no affair of ours. One that is locked lives, and
        # one that cannot be removed must not keep this pilot from its work.
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                with (folder / _IN_USE).open("rb") as mark:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)


def _lot(film: FilmInput) -> str:
    return digest("pilot", film.uri)


def _pilot(
    films: list[FilmInput],
    sizes: dict[str, int],
    config: CurateConfig,
    home: Home,
    engine: Engine,
    progress: Progress,
) -> Pilot:
    metered = MeteredEngine(engine)
    before = time.process_time()
    summary = curate(CurateRequest(films, "pilot", config), home, metered, progress)
    own = time.process_time() - before
    assert summary.dataset is not None
    return Pilot(
        films=len(films),
        bytes=sum(sizes[film.uri] for film in films),
        film_hours=summary.film_hours,
        clips_kept=summary.kept.clips,
        sample_hours=summary.dataset.hours,
        stages=(*metered.costs.values(), StageCost(JOB, 1, own, 0.0)),
        traces_bytes=_bytes_below(home.films),
        shards_bytes=summary.dataset.bytes,
        catalog_bytes=_bytes_below(home.root / "warehouse"),
    )


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _projection(pilot: Pilot, what: str, times: float, prices: Prices, workers: int) -> Projection:
    """Scale a pilot: all in proportion."""
    cpu = {stage.name: stage.cpu_seconds * times / _HOUR for stage in pilot.stages}
    gpu = {stage.name: stage.gpu_seconds * times / _HOUR for stage in pilot.stages}
    gpu = {name: hours for name, hours in gpu.items() if hours}
    shared = sum(cpu.values()) + sum(gpu.values()) - cpu[JOB]
    return Projection(
        what=what,
        times=times,
        film_hours=pilot.film_hours * times,
        clips=pilot.clips_kept * times,
        cpu_hours=cpu,
        gpu_hours=gpu,
        cost=sum(cpu.values()) * prices.cpu_hour + sum(gpu.values()) * prices.gpu_hour,
        hours=shared / workers + cpu[JOB],
        traces_bytes=pilot.traces_bytes * times,
        shards_bytes=pilot.shards_bytes * times,
        catalog_bytes=pilot.catalog_bytes * times,
    )
