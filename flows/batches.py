"""The engine's work as Prefect tasks: one task for each batch of films or clips, and each shard.

A job runs under this engine as it runs under its inner one: the same items go to the same workers
in the same order, and the job's one thread commits what comes back. Beside it, each batch has a
task run that starts when the batch is handed out and ends when its last outcome is in; when items
failed in a way that may pass, the task fails, Prefect waits, and the task's next attempt has just
those items done again. So Prefect shows, times and retries the work without holding any of it: a
batch costs a thread that sleeps, and no worker ever waits for the server.
"""

import dataclasses
import itertools
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.retrying import ITEM_DELAYS, ITEM_RETRIES, JITTER, item_can_pass
from pipelines.engine import Done, Engine, Failed, Outcome, Stage

StateT = TypeVar("StateT")
ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")

_SIZES = {"identify": 256, "scan": 16, "pack": 1, "try": 1}
_SIZE = 32
_NAMED_FAILURES = 3


class MayPassError(Exception):
    """Items of a batch failed in a way that may pass: the batch is to be tried again."""


class AbandonedError(Exception):
    """The job ended before this batch did."""


class TaskEngine:
    """An `Engine` that has Prefect watch over each batch. Only within a flow run.

    Args:
        inner: who does the work.
        name_of: what an item is called in a task run's name.
    """

    def __init__(self, inner: Engine, name_of: Callable[[Any], str]) -> None:
        self._inner = inner
        self._name_of = name_of

    def map(
        self, stage: Stage[StateT, ItemT, ValueT], items: Iterable[ItemT]
    ) -> Iterator[Outcome[ItemT, ValueT]]:
        """See `Engine.map`. Items are taken by whole batches."""
        desk: _Desk[ItemT, ValueT] = _Desk(stage.name, self._name_of)
        numbered = stage.numbered()
        try:
            for outcome in self._inner.map(numbered, desk.hand_out(items)):
                yield from desk.take(outcome)
            while desk.open:
                again, given_up = desk.next_attempt()
                yield from given_up
                for outcome in self._inner.map(numbered, again):
                    yield from desk.take(outcome)
        finally:
            desk.close()

    def at_most(self, workers: int) -> "TaskEngine":
        """See `Engine.at_most`."""
        return TaskEngine(self._inner.at_most(workers), self._name_of)


@dataclasses.dataclass(slots=True)
class _Batch(Generic[ItemT]):
    """Items that were handed out together, as the job's thread sees them."""

    waiting: int
    """Items whose outcome is not in yet."""
    attempt: int = 1
    held: list[Failed[tuple[int, ItemT]]] = dataclasses.field(default_factory=list)
    """Failures of this attempt that the next one may mend."""
    news: "queue.SimpleQueue[str | None]" = dataclasses.field(default_factory=queue.SimpleQueue)
    """For the task: None when an attempt is settled, else what failed in it."""


_GONE = "the job ended before this batch did"


class _Desk(Generic[ItemT, ValueT]):
    """Hands out items by batches, and tells each batch's task what became of them.

    All but `_watch` runs in the job's thread.
    """

    def __init__(self, stage: str, name_of: Callable[[Any], str]) -> None:
        self.open = 0
        """Batches with outcomes still to come."""
        self._stage = stage
        self._name_of = name_of
        self._size = _SIZES.get(stage, _SIZE)
        self._batches: dict[int, _Batch[ItemT]] = {}
        self._futures: list[PrefectFuture[str]] = []
        self._knocks: queue.SimpleQueue[tuple[_Batch[ItemT], bool]] = queue.SimpleQueue()
        """Tasks that begin another attempt (True), or have ended for good (False)."""

    def hand_out(self, items: Iterable[ItemT]) -> Iterator[tuple[int, ItemT]]:
        """Number the items, and start a task for each batch of them."""
        stream = iter(items)
        for number in itertools.count():
            chunk = list(itertools.islice(stream, self._size))
            if not chunk:
                return
            self._start(number, chunk)
            yield from enumerate(chunk, number * self._size)

    def take(self, outcome: Outcome[tuple[int, ItemT], ValueT]) -> Iterator[Outcome[ItemT, ValueT]]:
        """Pass an outcome on, or hold it back for another attempt."""
        number, _ = outcome.item
        batch = self._batches[number // self._size]
        if isinstance(outcome, Failed) and batch.attempt <= ITEM_RETRIES and item_can_pass(outcome):
            batch.held.append(outcome)
        else:
            yield _plain(outcome)
        batch.waiting -= 1
        if not batch.waiting:
            if not batch.held:
                self.open -= 1
                del self._batches[number // self._size]
            batch.news.put(self._told(batch) if batch.held else None)

    def next_attempt(
        self,
    ) -> tuple[list[tuple[int, ItemT]], list[Outcome[ItemT, ValueT]]]:
        """Wait until a task wants its items done again.

        Returns:
            The items; or, where a task has ended without trying again, their failures.
        """
        while True:
            batch, again = self._knocks.get()
            if batch.waiting or not batch.held:
                continue  # a task that has ended after its batch
            held, batch.held = batch.held, []
            if not again:
                self.open -= 1
                del self._batches[held[0].item[0] // self._size]
                return [], [_plain(failure) for failure in held]
            batch.attempt += 1
            batch.waiting = len(held)
            return [failure.item for failure in held], []

    def close(self) -> None:
        """Tell the tasks that wait still that nothing more comes; wait for those that end."""
        for batch in self._batches.values():
            batch.news.put(_GONE)
        for future in self._futures:
            future.wait()

    def _start(self, number: int, chunk: list[ItemT]) -> None:
        batch: _Batch[ItemT] = _Batch(waiting=len(chunk))
        self._batches[number] = batch
        self.open += 1
        attempts = itertools.count(1)

        def watch() -> str:
            if next(attempts) > 1:
                self._knocks.put((batch, True))
            said = batch.news.get()
            if said == _GONE:
                raise AbandonedError(said)
            if said is not None:
                raise MayPassError(said)
            return f"{len(chunk)} settled"

        watched = task(
            name=self._stage,
            task_run_name=self._name(number, chunk),
            retries=ITEM_RETRIES,
            retry_delay_seconds=ITEM_DELAYS,
            retry_jitter_factor=JITTER,
            retry_condition_fn=_is_to_be_retried,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(watch)
        future = watched.submit()
        future.add_done_callback(lambda _: self._knocks.put((batch, False)))
        self._futures.append(future)

    def _name(self, number: int, chunk: list[ItemT]) -> str:
        first = self._name_of(chunk[0])
        if self._size == 1:
            return f"{self._stage} {first}"
        start = number * self._size + 1
        return f"{self._stage} {start}-{start + len(chunk) - 1} from {first}"

    def _told(self, batch: _Batch[ItemT]) -> str:
        named = "; ".join(
            f"{self._name_of(failure.item[1])}: {failure.message}"
            for failure in batch.held[:_NAMED_FAILURES]
        )
        return f"{len(batch.held)} to be tried again ({named})"


def _is_to_be_retried(_task: object, _run: object, state: Any) -> bool:  # noqa: ANN401 - Prefect's
    return isinstance(state.data, MayPassError)


def _plain(outcome: Outcome[tuple[int, ItemT], ValueT]) -> Outcome[ItemT, ValueT]:
    """The outcome of an item without its number."""
    _, item = outcome.item
    if isinstance(outcome, Done):
        return Done(item, outcome.value, outcome.seconds)
    return Failed(
        item, outcome.kind, outcome.message, outcome.seconds, outcome.error, outcome.trace
    )
