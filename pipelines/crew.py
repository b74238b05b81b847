"""Lead a few worker processes through a queue of items, and name the culprit when one falls.

Each worker has a pipe of its own and at most one item. The trade-off against a shared queue is that
a worker waits for its next item while its last answer is read (well under a millisecond, where an
item costs seconds); in return it is always known which item a dead worker held. The pools that were
tried lose that: the standard library's breaks as a whole, and pebble 5 waits for ever for an item
whose worker calls ``_exit(0)``, and for the neighbours of a worker that is killed while it writes
to the pipe they share.
"""

import collections
import dataclasses
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import ForkingPickler
from typing import Generic, Self, TypeVar, cast

from pipelines.worker import Answer, Fault, FaultKind, Worker, opened

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")

_WATCH_SECONDS = 0.1
_MIB = 2**20


class StageSetupError(RuntimeError):
    """A stage cannot be set up at all, so no item can be blamed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one item, and one worker, may cost.

    Memory is watched from outside, ten times a second, as resident bytes. A limit inside the
    process (RLIMIT_DATA, RLIMIT_AS) would make some allocation fail, and libraries answer that in
    ways that cannot be told from a bad film: FFmpeg drops the packet and goes on, C++ aborts. The
    price is that a process can overshoot by what it touches in a tenth of a second.
    """

    timeout_seconds: float
    """Wall time per item, without the setup."""
    memory_bytes: int
    """Resident memory of the whole worker process, models included."""
    setup_timeout_seconds: float = 600.0
    threads: int = 1
    """For BLAS, OpenMP and OpenCV in each worker: the parallelism is across items."""
    cpus: float = 1.0
    """Cores that a cluster's scheduler sets aside for a worker; on one machine nobody asks."""
    gpus: float = 0.0
    """GPUs, likewise; a half lets two workers share one."""

    def __post_init__(self) -> None:
        """Refuse limits that no item could keep."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "gpus" and value >= 0:
                continue
            if not value > 0:
                raise ValueError(f"{field.name} is {value}: make it positive")


@dataclasses.dataclass(slots=True)
class _Place(Generic[ItemT]):
    """A worker and what it is doing: setting up, holding an item, or waiting for one."""

    worker: Worker
    since: float
    """When it began what it is doing now, on the monotonic clock."""
    ready: bool = False
    resident_at_rest: int = 0
    """Resident bytes after the setup."""
    held: tuple[ItemT] | None = None
    """Its item, in a tuple because an item may be None."""

    @property
    def idle(self) -> bool:
        return self.ready and self.held is None


class Crew(Generic[ItemT, ValueT]):
    """The workers of one stage, and the thread that leads them.

    The thread keeps the limits while the caller is busy with an outcome. It alone touches workers:
    the caller hands over items and takes answers through two queues. It outlives every worker, as
    `worker.die_with` asks of the thread that starts one.

    Args:
        name: of the stage, for messages.
        functions: the pickled pair of setup and run.
        limits: what an item and a worker may cost.
        size: how many workers at most.
    """

    def __init__(self, name: str, functions: bytes, limits: Limits, size: int) -> None:
        self.owed = 0
        """Items submitted whose answers were not taken yet."""
        self._name = name
        self._functions = functions
        self._limits = limits
        self._size = size
        self._places: dict[Connection, _Place[ItemT]] = {}
        self._pending: collections.deque[tuple[ItemT, bytes]] = collections.deque()
        self._news: queue.SimpleQueue[tuple[ItemT, Answer[bytes]] | BaseException]
        self._news = queue.SimpleQueue()
        self._bell, self._rope = Pipe(duplex=False)
        self._over = False
        self._leader = threading.Thread(target=self._lead, name=f"stage-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._leader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, whatever they are doing."""
        self._over = True
        self._rope.send_bytes(b"")
        self._leader.join()
        self._bell.close()
        self._rope.close()

    def submit(self, item: ItemT) -> None:
        """Queue an item; one that cannot be pickled raises here, at its cause."""
        self.submit_sealed(item, bytes(ForkingPickler.dumps(item)))

    def submit_sealed(self, item: ItemT, payload: bytes) -> None:
        """Queue an item that was pickled elsewhere; `item` is only what it is called here."""
        self._pending.append((item, payload))
        self.owed += 1
        self._rope.send_bytes(b"")

    def has_news(self) -> bool:
        """Whether `next` would return at once."""
        return not self._news.empty()

    def next(self) -> tuple[ItemT, Answer[ValueT]]:
        """Wait for the next item that is done or failed.

        Raises:
            StageSetupError: the stage cannot be set up.
            OSError: the machine cannot start another process.
        """
        item, answer = self.next_sealed()
        return item, opened(answer)

    def next_sealed(self) -> tuple[ItemT, Answer[bytes]]:
        """As `next`, with the value still pickled: for who passes it on."""
        news = self._news.get()
        if isinstance(news, BaseException):
            raise news
        self.owed -= 1
        return news

    def _lead(self) -> None:
        # Inherited by the workers: they are deaf to Ctrl-C from their first instruction on.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            while not self._over:
                self._hire()
                self._hand_out()
                for connection in wait([self._bell, *self._places], _WATCH_SECONDS):
                    if connection is self._bell:
                        self._bell.recv_bytes()
                    else:
                        self._hear(self._places[cast("Connection", connection)])
                self._enforce_limits()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._news.put(error)
        finally:
            for place in list(self._places.values()):
                self._remove(place, gently=place.idle)

    def _hire(self) -> None:
        """Start workers while items wait for which none is free or getting ready."""
        free = sum(place.held is None for place in self._places.values())
        for _ in range(min(len(self._pending) - free, self._size - len(self._places))):
            worker = Worker(self._functions, self._limits.threads)
            self._places[worker.connection] = _Place(worker, time.monotonic())

    def _hand_out(self) -> None:
        for place in [place for place in self._places.values() if place.idle]:
            if not self._pending:
                return
            item, payload = self._pending.popleft()
            if place.worker.send(payload):
                place.held, place.since = (item,), time.monotonic()
            else:  # it died while it waited: not this item's doing
                self._pending.appendleft((item, payload))
                self._remove(place, gently=True)

    def _hear(self, place: _Place[ItemT]) -> None:
        answer = place.worker.receive()
        if answer is None:
            self._lose(place, "crash")
        elif place.held is not None:
            (item,), place.held = place.held, None
            self._news.put((item, answer))
            self._remove_if_worn(place)
        elif answer.fault is not None:
            raise self._setup_error(answer.fault)
        else:
            place.ready, place.resident_at_rest = True, place.worker.resident_bytes()

    def _enforce_limits(self) -> None:
        limits = self._limits
        for place in [place for place in self._places.values() if not place.idle]:
            if place.worker.connection.poll():
                continue  # it answered in time: the next round hears it
            seconds = limits.timeout_seconds if place.ready else limits.setup_timeout_seconds
            resident = place.worker.resident_bytes()
            if resident > limits.memory_bytes:
                used, allowed = resident // _MIB, limits.memory_bytes // _MIB
                self._lose(place, "memory", f"{used} MiB resident, where {allowed} are allowed")
            elif time.monotonic() - place.since > seconds:
                self._lose(place, "timeout", f"no answer after {seconds:g} s")

    def _lose(self, place: _Place[ItemT], kind: FaultKind, message: str = "") -> None:
        """Remove a worker, and let its item bear the fault; a crash's message is how it ended."""
        seconds = time.monotonic() - place.since
        # A pipe that is closed is a process on its way out: let it get there, for its exit status.
        ending = self._remove(place, gently=kind == "crash")
        fault = Fault(kind, message or ending)
        if not place.ready:
            raise self._setup_error(fault)
        if place.held is not None:
            self._news.put((place.held[0], Answer(None, fault, seconds)))

    def _remove_if_worn(self, place: _Place[ItemT]) -> None:
        """Replace a worker that kept half of its headroom, so that no item pays for another's."""
        headroom = self._limits.memory_bytes - place.resident_at_rest
        if place.worker.resident_bytes() - place.resident_at_rest > headroom / 2:
            self._remove(place, gently=True)

    def _remove(self, place: _Place[ItemT], *, gently: bool) -> str:
        """End a worker and say how it ended."""
        del self._places[place.worker.connection]
        return place.worker.end(gently=gently)

    def _setup_error(self, fault: Fault) -> StageSetupError:
        error = StageSetupError(
            f"stage {self._name!r} cannot be set up in a worker ({fault.kind}): {fault.message}"
        )
        error.__cause__ = fault.error
        if fault.trace:
            error.add_note(fault.trace)
        return error
