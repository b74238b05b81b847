"""Run a stage on the machines of a Ray cluster, item by item within the same limits as at home.

An actor on a node is a foreman: it leads one worker process of `pipelines.crew`, so a segfault, a
hang or too much memory costs its item exactly what it costs on one machine. What a cluster adds is
that foremen vanish, with their node or alone: what such a one held is given to another, and after
some tries given up as a crash. Items and values travel pickled and small; films, traces and shards
do not travel: every node sees the home and the films at the same path. The trade-off: each map
hires its own foremen (about a second each), so that a node that joins late is used by the next.
"""

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, Self, cast

from curation.components import COMPONENTS
from pipelines.crew import Crew, Limits, StageSetupError
from pipelines.engine import (
    WINDOW_PER_WORKER,
    ItemT,
    Outcome,
    Stage,
    StateT,
    ValueT,
    outcome_of,
    sealed_functions,
)
from pipelines.worker import Answer, Fault, opened

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if not os.environ.get("RAY_ADDRESS"):
    # A cluster that is started here has no password: Ray takes this variable, which it reads when
    # it is imported, as the wish to stay on the loopback interface, on Linux too.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import exceptions

TRIES = 3
"""Foremen that an item may cost before it is given up."""

_LOST = (
    exceptions.RayActorError,
    exceptions.ObjectLostError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
)
_DISMISSAL_SECONDS = 10.0
_DECIDES_BYTES = ("tempomaster", "av", "numpy", "opencv-python", "pyarrow")


@dataclasses.dataclass(frozen=True, slots=True)
class _NoSetup:
    """A foreman's answer when the stage cannot be set up; an exception would lose its cause."""

    message: str
    cause: BaseException | None
    notes: tuple[str, ...]


class _Foreman:
    """On a node: one worker process and its limits. Ray makes an actor of it."""

    def __init__(self, name: str, functions: bytes, limits: Limits) -> None:
        self._crew: Crew[None, object] = Crew(name, functions, limits, size=1)
        self._crew.__enter__()

    def versions(self) -> dict[str, str]:
        """What this node runs; answering at all says that the foreman is there."""
        return versions()

    def run(self, payload: bytes) -> "Answer[bytes] | _NoSetup":
        """Have the worker do an item."""
        self._crew.submit_sealed(None, payload)
        try:
            _, answer = self._crew.next_sealed()
        except StageSetupError as error:
            return _NoSetup(str(error), error.__cause__, tuple(getattr(error, "__notes__", ())))
        return answer

    def end(self) -> None:
        """End the worker, also while `run` waits for it."""
        self._crew.__exit__()


class RayEngine:
    """Runs stages on a Ray cluster.

    Args:
        workers: foremen, and so items at a time, over all nodes. Those for which no node has room
            wait and take nothing.
        address: ``ray://HOST:PORT`` of a cluster's client server; None: the cluster at
            ``$RAY_ADDRESS``, else one of this machine alone, started now and ended with us.
        tries: foremen that an item may cost.
        placement_seconds: how long a stage may wait for its first foreman.

    Raises:
        ValueError: no cluster answers there.
    """

    def __init__(
        self,
        workers: int,
        address: str | None = None,
        *,
        tries: int = TRIES,
        placement_seconds: float = 600.0,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: at least one is needed")
        if tries < 1:
            raise ValueError(f"tries is {tries}: at least one is needed")
        self.workers, self.tries, self.placement_seconds = workers, tries, placement_seconds
        self._address = address
        if not ray.is_initialized():
            _connect(address, workers)

    def at_most(self, workers: int) -> "RayEngine":
        """See `Engine.at_most`."""
        return RayEngine(
            min(self.workers, workers),
            self._address,
            tries=self.tries,
            placement_seconds=self.placement_seconds,
        )

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """See `Engine.map`, and `LocalEngine.map` for what must be picklable.

        Raises:
            ValueError: the stage's functions cannot be found by name in another process.
            StageSetupError: also when no node can take the stage, or runs other code.
        """
        gang: _Gang[ItemT, ValueT] = _Gang(self, stage.name, sealed_functions(stage), stage.limits)
        return self._stream(gang, items)

    def _stream(
        self, gang: "_Gang[ItemT, ValueT]", items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        window = WINDOW_PER_WORKER * self.workers
        with gang:
            for item in items:
                gang.submit(item)
                while gang.owed >= window or gang.has_news():
                    yield outcome_of(*gang.next())
            while gang.owed:
                yield outcome_of(*gang.next())


@dataclasses.dataclass(slots=True)
class _Parcel(Generic[ItemT]):
    """An item on its way."""

    item: ItemT
    payload: bytes
    lost: int = 0
    """Foremen that were lost while they held it."""


class _Gang(Generic[ItemT, ValueT]):
    """The foremen of one map, and the thread that leads them.

    Like `Crew`, whose workers are on this machine: the thread's event loop has a task for each
    foreman, which alone speaks to it; the caller hands over items and takes answers by two queues.
    """

    def __init__(self, engine: RayEngine, name: str, functions: bytes, limits: Limits) -> None:
        self.owed = 0
        """Items submitted whose answers were not taken yet."""
        self._engine, self._name, self._functions, self._limits = engine, name, functions, limits
        self._loop = asyncio.new_event_loop()
        self._pending: asyncio.Queue[_Parcel[ItemT]] = asyncio.Queue()
        self._news: queue.SimpleQueue[tuple[ItemT, Answer[bytes]] | BaseException]
        self._news = queue.SimpleQueue()
        self._posts: set[asyncio.Task[None]] = set()
        self._free = 0
        """Posts that wait for an item or for their foreman."""
        self._placed = False
        """Whether any foreman has ever answered."""
        self._failed_starts = 0
        """Foremen that were lost before they answered, since the last one that was not."""
        self._leader = threading.Thread(target=self._lead, name=f"ray-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._leader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the foremen and their workers, whatever they are doing."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._leader.join()

    def submit(self, item: ItemT) -> None:
        """Queue an item; one that cannot be pickled raises here, at its cause."""
        parcel = _Parcel(item, bytes(ForkingPickler.dumps(item)))
        self.owed += 1
        self._loop.call_soon_threadsafe(self._take_in, parcel)

    def has_news(self) -> bool:
        """Whether `next` would return at once."""
        return not self._news.empty()

    def next(self) -> tuple[ItemT, Answer[ValueT]]:
        """Wait for the next item that is done or failed.

        Raises:
            StageSetupError: the stage cannot be set up.
        """
        news = self._news.get()
        if isinstance(news, BaseException):
            raise news
        self.owed -= 1
        item, answer = news
        return item, opened(answer)

    def _lead(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._dissolve())
        finally:
            self._loop.close()

    async def _dissolve(self) -> None:
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)

    def _take_in(self, parcel: _Parcel[ItemT]) -> None:
        """Queue a parcel, with one more post where all others are busy."""
        self._pending.put_nowait(parcel)
        if self._pending.qsize() > self._free and len(self._posts) < self._engine.workers:
            self._free += 1
            post = self._loop.create_task(self._man())
            self._posts.add(post)
            post.add_done_callback(self._look_after)

    def _look_after(self, post: "asyncio.Task[None]") -> None:
        """A post ends only by being cancelled, or by what ends the map."""
        error = None if post.cancelled() else post.exception()
        if error is not None:
            self._news.put(error)

    async def _man(self) -> None:
        """One post: a foreman, or one after the other, doing parcel by parcel."""
        while True:
            foreman = self._appoint()
            try:
                await self._report_in(foreman)
                await self._serve(foreman)
            except _LOST:
                continue  # its parcel was passed on
            finally:
                ray.kill(foreman)

    def _appoint(self) -> Any:  # noqa: ANN401 - Ray's handle has no type
        """Ask for a foreman; a node will start it when it has room."""
        options: dict[str, Any] = {
            "num_cpus": self._limits.cpus,
            "num_gpus": self._limits.gpus,
            "max_restarts": 0,  # a new one is hired instead: who held what stays known
            "max_concurrency": 3,  # `end` is heard while `run` works
            "scheduling_strategy": "SPREAD",
        }
        foreman = ray.remote(_Foreman).options(**options)
        return foreman.remote(self._name, self._functions, self._limits)

    async def _report_in(self, foreman: Any) -> None:  # noqa: ANN401 - as above
        """Wait until the foreman is there.

        Raises:
            StageSetupError: it runs other code than we, or there is no room for even one.
        """
        call = _future(foreman.versions)
        await asyncio.wait([call], timeout=self._engine.placement_seconds)
        if not call.done() and not self._placed:
            call.cancel()
            raise StageSetupError(
                f"stage {self._name!r}: no node of the cluster had {self._limits.cpus:g} CPUs and "
                f"{self._limits.gpus:g} GPUs free in {self._engine.placement_seconds:g} s; add "
                "one, or let what holds them end"
            )
        try:
            theirs = await call
        except _LOST as loss:
            self._failed_starts += 1
            if self._failed_starts > self._engine.tries * self._engine.workers:
                raise StageSetupError(
                    f"stage {self._name!r}: no foreman lives to begin: {_first_line(loss)}"
                ) from loss
            raise
        self._placed, self._failed_starts = True, 0
        if theirs != versions():
            told = ", ".join(
                f"{name} {theirs.get(name)} (here {ours})"
                for name, ours in versions().items()
                if theirs.get(name) != ours
            )
            raise StageSetupError(
                f"stage {self._name!r}: a node runs {told}; install the same everywhere, or the "
                "nodes' films differ"
            )

    async def _serve(self, foreman: Any) -> None:  # noqa: ANN401 - as above
        try:
            while True:
                parcel = await self._pending.get()
                self._free -= 1
                await self._hand_over(foreman, parcel)
                self._free += 1
        finally:
            await self._stop_worker(foreman)

    async def _hand_over(self, foreman: Any, parcel: _Parcel[ItemT]) -> None:  # noqa: ANN401 - as above
        begun = time.monotonic()
        try:
            reply: Answer[bytes] | _NoSetup = await _future(foreman.run, parcel.payload)
        except _LOST as loss:
            self._free += 1
            self._pass_on(parcel, loss, time.monotonic() - begun)
            raise
        if isinstance(reply, _NoSetup):
            raise _setup_error(reply)
        self._news.put((parcel.item, reply))

    def _pass_on(self, parcel: _Parcel[ItemT], loss: Exception, seconds: float) -> None:
        """Queue the parcel of a lost foreman again, or give it up."""
        parcel.lost += 1
        if parcel.lost < self._engine.tries:
            self._pending.put_nowait(parcel)
            return
        message = f"its actor was lost {parcel.lost} times, at last: {_first_line(loss)}"
        self._news.put((parcel.item, Answer(None, Fault("crash", message), seconds)))

    async def _stop_worker(self, foreman: Any) -> None:  # noqa: ANN401 - as above
        """End a foreman's worker, so that nothing is written any more when this returns."""
        call = _future(foreman.end)
        done, _ = await asyncio.wait([call], timeout=_DISMISSAL_SECONDS)
        with contextlib.suppress(*_LOST):
            for ended in done:
                ended.result()


def versions() -> dict[str, str]:
    """What decides the bytes of traces and shards on a machine, by name."""
    packages = {name: importlib.metadata.version(name) for name in _DECIDES_BYTES}
    return packages | {name: f"v{part.version}" for name, part in COMPONENTS.items()}


def _connect(address: str | None, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            ray.init(address, **quiet)
        elif os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            cpus = max(workers, os.cpu_count() or 1)
            ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
    except (ConnectionError, TimeoutError, exceptions.RayError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address or os.environ.get('RAY_ADDRESS')} ({error}); "
            "check the address, and that Ray's version there is that of here"
        ) from error


def _future(method: Any, *arguments: object) -> "asyncio.Future[Any]":  # noqa: ANN401 - Ray's
    """Call an actor's method; works with a driver in the cluster and with a client outside."""
    call = asyncio.wrap_future(cast("Any", method.remote(*arguments).future()))
    call.add_done_callback(_heard)
    return call


def _heard(call: "asyncio.Future[Any]") -> None:
    """Look at what a call has raised, also where nobody waits any more: asyncio complains else."""
    if not call.cancelled():
        call.exception()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _setup_error(reply: _NoSetup) -> StageSetupError:
    error = StageSetupError(reply.message)
    error.__cause__ = reply.cause
    for note in reply.notes:
        error.add_note(note)
    return error
