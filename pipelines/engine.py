"""Run a stage over many items, so that a bad item costs itself and nothing else.

Films from strangers crash decoders, hang them, and make them eat memory; a library call cannot
defend itself against that, a process can. The engine is the seam where a job meets its processes:
the same stage runs in this process (`SerialEngine`), in a pool of them (`LocalEngine`), or on the
machines of a cluster (`pipelines.ray_engine`). Its one trade-off is that outcomes come in the order
of completion, so that no slow item holds back others.
"""

import dataclasses
import functools
import pickle
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Generic, Protocol, TypeVar, cast

from pipelines.crew import Crew, Limits, StageSetupError
from pipelines.worker import Answer, FaultKind, attempt

StateT = TypeVar("StateT")
ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")

WINDOW_PER_WORKER = 4
"""Items taken from the source and not yet handed back, per worker: enough that no worker starves
while the caller stores an outcome, few enough that a million films are never queued."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage(Generic[StateT, ItemT, ValueT]):
    """What is done to each item, and what it may cost.

    `setup` and `run` are module-level functions, or `functools.partial` of such with a config:
    workers import them by name. Items and values are paths, ids and rows, never frames.
    """

    name: str
    setup: Callable[[], StateT]
    """Called once in each worker before its first item, e.g. to load a model."""
    run: Callable[[StateT, ItemT], ValueT]
    limits: Limits

    @staticmethod
    def stateless(
        name: str, run: Callable[[ItemT], ValueT], limits: Limits
    ) -> "Stage[None, ItemT, ValueT]":
        """A stage whose work needs no setup.

        Workers then import only the module that `run` stands in.
        """
        return Stage(name, _nothing, functools.partial(_without_state, run), limits)

    def numbered(self) -> "Stage[StateT, tuple[int, ItemT], ValueT]":
        """The same stage over items that carry a number, for a caller that must know them again."""
        run = functools.partial(_without_number, self.run)
        return Stage(self.name, self.setup, run, self.limits)


@dataclasses.dataclass(frozen=True, slots=True)
class Done(Generic[ItemT, ValueT]):
    """The stage returned a value for this item, after so many seconds of wall time."""

    item: ItemT
    value: ValueT
    seconds: float
    cpu_seconds: float = 0.0
    """What the worker's cores spent on it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Failed(Generic[ItemT]):
    """The stage has no value for this item; every other item is unharmed."""

    item: ItemT
    kind: FaultKind
    """'error' (it raised), 'crash' (the process died), 'timeout' or 'memory' (over its limit)."""
    message: str
    seconds: float
    error: Exception | None = None
    """What was raised, where it can be carried between processes unchanged."""
    trace: str = ""
    """The traceback inside the worker, of an error."""
    cpu_seconds: float = 0.0
    """As of `Done`; 0 where the worker did not live to say."""


Outcome = Done[ItemT, ValueT] | Failed[ItemT]


class Engine(Protocol):
    """Anything that can run a stage over items."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """Yield exactly one outcome per item, in the order of completion.

        Items are taken from the iterable only as outcomes are taken from the result, in the
        caller's thread; it may be an endless generator. A caller that needs the order puts a number
        into the item.

        Raises:
            StageSetupError: the stage's setup failed; the map is over.
        """

    def at_most(self, workers: int) -> "Engine":
        """This engine with no more workers at once than so many: for a model that fills a GPU."""


class SerialEngine:
    """Runs everything in this process, in order and without protection: for tests and debugging."""

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """See `Engine.map`; the limits are not enforced."""
        try:
            state = stage.setup()
        except Exception as error:
            raise StageSetupError(f"stage {stage.name!r} cannot be set up: {error!r}") from error
        for item in items:
            yield outcome_of(item, attempt(functools.partial(stage.run, state), item))

    def at_most(self, workers: int) -> "SerialEngine":  # noqa: ARG002 - one is the fewest
        """See `Engine.at_most`."""
        return self


class LocalEngine:
    """Runs a stage in a pool of processes on this machine, each item within its limits.

    Workers start as items come, so a single item loads a single model. They are ended when the map
    is exhausted, closed or interrupted, and by the kernel when this process dies.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: at least one is needed")
        self.workers = workers

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """See `Engine.map`. Items and values cross a pipe, so they must be picklable.

        Raises:
            ValueError: the stage's functions cannot be found by name in another process.
        """
        crew: Crew[ItemT, ValueT]
        crew = Crew(stage.name, sealed_functions(stage), stage.limits, self.workers)
        return self._stream(crew, items)

    def at_most(self, workers: int) -> "LocalEngine":
        """See `Engine.at_most`."""
        return LocalEngine(min(self.workers, workers))

    def _stream(
        self, crew: Crew[ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        window = WINDOW_PER_WORKER * self.workers
        with crew:
            for item in items:
                crew.submit(item)
                while crew.owed >= window or crew.has_news():
                    yield outcome_of(*crew.next())
            while crew.owed:
                yield outcome_of(*crew.next())


def _nothing() -> None:
    """The setup of a stage without state."""


def _without_state(run: Callable[[ItemT], ValueT], _: None, item: ItemT) -> ValueT:
    return run(item)


def _without_number(
    run: Callable[[StateT, ItemT], ValueT], state: StateT, numbered: tuple[int, ItemT]
) -> ValueT:
    return run(state, numbered[1])


def sealed_functions(stage: Stage[StateT, ItemT, ValueT]) -> bytes:
    """The pickled pair of setup and run, as a worker wants it.

    Raises:
        ValueError: they cannot be found by name in another process.
    """
    try:
        return bytes(ForkingPickler.dumps((stage.setup, stage.run)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"stage {stage.name!r} cannot be sent to a worker ({error}): "
            "make setup and run module-level functions"
        ) from error


def outcome_of(item: ItemT, answer: Answer[ValueT]) -> Outcome[ItemT, ValueT]:
    """The outcome that an answer about an item stands for."""
    fault = answer.fault
    if fault is None:
        return Done(item, cast("ValueT", answer.value), answer.seconds, answer.cpu_seconds)
    return Failed(
        item,
        fault.kind,
        fault.message,
        answer.seconds,
        fault.error,
        fault.trace,
        answer.cpu_seconds,
    )
