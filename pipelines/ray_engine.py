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
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, Self, cast

from pipelines.crew import Limits, StageSetupError
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
from pipelines.ray_foreman import Foreman, NoSetup, versions
from pipelines.worker import Answer, Fault, opened

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if not os.environ.get("RAY_ADDRESS"):
    # A cluster that is started here has no password: Ray takes this variable, which it reads when
    # it is imported, as the wish to stay on the loopback interface, on Linux too.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import exceptions

PLACEMENT_SECONDS = 600.0
"""How long a map may be without any foreman: ``$TEMPO_RAY_SECONDS`` says otherwise."""
TRIES = 3
"""Foremen that an item may cost before it is given up."""

_LOST = (
    exceptions.RayActorError,
    exceptions.ObjectLostError,
    exceptions.NodeDiedError,
    exceptions.OutOfMemoryError,
)
_DISMISSAL_SECONDS = 10.0


class RayEngine:
    """Runs stages on a Ray cluster.

    Args:
        workers: foremen, and so items at a time, over all nodes. Those for which no node has room
            wait and take nothing.
        address: ``ray://HOST:PORT`` of a cluster's client server; None: the cluster at
            ``$RAY_ADDRESS``, else one of this machine alone, started now and ended with us.
        tries: foremen that an item may cost.
        placement_seconds: how long a map may be without any foreman: before the first is there, or
            after the last was lost; None: ``$TEMPO_RAY_SECONDS``, else `PLACEMENT_SECONDS`.

    Raises:
        ValueError: no cluster answers there, or an argument is refused.
    """

    def __init__(
        self,
        workers: int,
        address: str | None = None,
        *,
        tries: int = TRIES,
        placement_seconds: float | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: at least one is needed")
        if tries < 1:
            raise ValueError(f"tries is {tries}: at least one is needed")
        self.workers, self.tries = workers, tries
        self.placement_seconds = _patience() if placement_seconds is None else placement_seconds
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
            StageSetupError: also when no node can take the stage for `placement_seconds`, be it in
                the middle, or runs other code. What was yielded until then is done.
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
        self._there = 0
        """Foremen that have answered and were not lost."""
        self._deserted = time.monotonic()
        """When the last of them was lost, or the first was asked for; while none is there."""
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
            if not self._posts:
                self._deserted = time.monotonic()
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
                with self._counted():
                    await self._serve(foreman)
            except _LOST:
                continue  # its parcel was passed on
            finally:
                ray.kill(foreman)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """A foreman is there, until it is lost."""
        self._there += 1
        self._failed_starts = 0
        try:
            yield
        finally:
            self._there -= 1
            self._deserted = time.monotonic()

    def _appoint(self) -> Any:  # noqa: ANN401 - Ray's handle has no type
        """Ask for a foreman; a node will start it when it has room."""
        options: dict[str, Any] = {
            "num_cpus": self._limits.cpus,
            "num_gpus": self._limits.gpus,
            "max_restarts": 0,  # a new one is hired instead: who held what stays known
            "max_concurrency": 3,  # `end` is heard while `run` works
            "scheduling_strategy": "SPREAD",
        }
        foreman = ray.remote(Foreman).options(**options)
        return foreman.remote(self._name, self._functions, self._limits)

    async def _report_in(self, foreman: Any) -> None:  # noqa: ANN401 - as above
        """Wait until the foreman is there.

        Raises:
            StageSetupError: it runs other code than we, or there is no room for even one.
        """
        call = _future(foreman.versions)
        while not call.done():
            await asyncio.wait([call], timeout=self._patience_left())
            if not call.done() and self._patience_left() <= 0:
                call.cancel()
                raise StageSetupError(
                    f"stage {self._name!r}: no node of the cluster had {self._limits.cpus:g} CPUs "
                    f"and {self._limits.gpus:g} GPUs free in {self._engine.placement_seconds:g} s; "
                    "add one, or let what holds them end; TEMPO_RAY_SECONDS has it wait longer"
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

    def _patience_left(self) -> float:
        """Seconds for which a foreman that is not there may be waited for, from now."""
        alone = 0.0 if self._there else time.monotonic() - self._deserted
        return self._engine.placement_seconds - alone

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
            reply: Answer[bytes] | NoSetup = await _future(foreman.run, parcel.payload)
        except _LOST as loss:
            self._free += 1
            self._pass_on(parcel, loss, time.monotonic() - begun)
            raise
        if isinstance(reply, NoSetup):
            raise reply.raised()
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


def _patience() -> float:
    given = os.environ.get("TEMPO_RAY_SECONDS")
    if given is None:
        return PLACEMENT_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"TEMPO_RAY_SECONDS={given!r}: give seconds, more than 0")
    return seconds


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
            "check the address, that Ray's version there is that of here, and whether a token is "
            "asked for there: RAY_AUTH_MODE=token sends the one in ~/.ray/auth_token"
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
