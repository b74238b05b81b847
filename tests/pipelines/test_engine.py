"""The engine against real crashes: signals, exits, hangs, memory, and a parent that is killed."""

import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from curation.errors import FilmError
from pipelines.crew import Limits, StageSetupError
from pipelines.engine import (
    WINDOW_PER_WORKER,
    Done,
    Engine,
    Failed,
    LocalEngine,
    SerialEngine,
    Stage,
)
from tests.pipelines import stages_for_engine as stages

MIB = 2**20
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENT = Limits(timeout_seconds=60.0, memory_bytes=2048 * MIB)


def stage_of(run: Callable[..., object], limits: Limits = PATIENT) -> Stage[None, object, object]:
    return Stage(run.__name__, stages.nothing, run, limits)


def only_outcome(how: str, limits: Limits = PATIENT) -> Failed[object]:
    (outcome,) = LocalEngine(1).map(stage_of(stages.misbehave, limits), [how])
    assert isinstance(outcome, Failed)
    assert outcome.item == how
    return outcome


_OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def others() -> None:
    """Other tests' helpers (multiprocessing keeps a resource tracker) are not the engine's."""
    _OTHERS.clear()
    _OTHERS.update(own_children())


def own_children() -> set[int]:
    """Processes that the engine has started and not ended."""
    return {child.pid for child in psutil.Process().children(recursive=True)} - _OTHERS


@pytest.mark.parametrize("engine", [SerialEngine(), LocalEngine(1), LocalEngine(3)])
def test_every_item_has_one_outcome(engine: Engine) -> None:
    stage = Stage("square", stages.nothing, stages.square, PATIENT)
    outcomes = list(engine.map(stage, range(50)))
    values = {outcome.item: outcome.value for outcome in outcomes if isinstance(outcome, Done)}
    assert len(outcomes) == 50
    assert values == {number: number * number for number in range(50)}


def test_a_segfault_costs_its_own_item_only() -> None:
    stage = Stage("square", stages.nothing, stages.square_or_segfault, PATIENT)
    outcomes = list(LocalEngine(2).map(stage, range(200)))
    assert Counter(outcome.item for outcome in outcomes) == Counter(range(200))
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert (failed.item, failed.kind) == (77, "crash")
    assert "SIGSEGV" in failed.message


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "SIGSEGV"),
        ("sigkill", "SIGKILL"),
        ("die while answering", "SIGKILL"),
        ("exit 0", "status 0"),
        ("exit 3", "status 3"),
        ("sys.exit", "status 4"),
    ],
)
def test_a_dead_worker_is_a_crash_and_says_how(how: str, words: str) -> None:
    outcomes = list(LocalEngine(2).map(stage_of(stages.misbehave), ["one", how, "two", "three"]))
    by_item = {outcome.item: outcome for outcome in outcomes}
    failed = by_item.pop(how)
    assert isinstance(failed, Failed)
    assert failed.kind == "crash"
    assert words in failed.message
    assert {
        item: outcome.value for item, outcome in by_item.items() if isinstance(outcome, Done)
    } == {"one": "eno", "two": "owt", "three": "eerht"}


def test_a_hang_is_a_timeout_and_its_worker_is_gone() -> None:
    limits = Limits(timeout_seconds=0.3, memory_bytes=2048 * MIB)
    outcomes = list(LocalEngine(1).map(stage_of(stages.misbehave, limits), ["hang", "after"]))
    hung, after = outcomes
    assert isinstance(hung, Failed)
    assert (hung.item, hung.kind) == ("hang", "timeout")
    assert "0.3 s" in hung.message
    assert hung.seconds >= 0.3
    assert isinstance(after, Done)
    assert own_children() == set()


def test_too_much_memory_is_noticed_by_what_is_resident() -> None:
    limits = Limits(timeout_seconds=60.0, memory_bytes=200 * MIB)
    outcomes = list(LocalEngine(1).map(stage_of(stages.misbehave, limits), ["eat", "after"]))
    greedy, after = outcomes
    assert isinstance(greedy, Failed)
    assert (greedy.kind, "200 are allowed" in greedy.message) == ("memory", True)
    assert isinstance(after, Done)


def test_the_limits_hold_while_the_caller_is_busy() -> None:
    limits = Limits(timeout_seconds=0.2, memory_bytes=2048 * MIB)
    outcomes = LocalEngine(2).map(stage_of(stages.misbehave, limits), ["quick", "hang"])
    assert isinstance(next(outcomes), Done)
    children = own_children()
    deadline = time.monotonic() + 30
    while children <= own_children():  # the caller takes nothing from the engine meanwhile
        assert time.monotonic() < deadline, "the hanging worker outlived its limit"
        time.sleep(0.05)
    assert isinstance(next(outcomes), Failed)


def test_a_failed_allocation_is_memory_too() -> None:
    assert only_outcome("memory error").kind == "memory"


def test_a_film_error_arrives_intact() -> None:
    outcome = only_outcome("film error")
    assert outcome.kind == "error"
    assert isinstance(outcome.error, FilmError)
    assert outcome.error.reason == "no_frames"
    assert outcome.error.message == "nothing decodes"
    assert outcome.error.transient is True
    assert outcome.message == "FilmError: no_frames: nothing decodes"
    assert "in misbehave" in outcome.trace


def test_an_exception_that_cannot_be_carried_leaves_its_words() -> None:
    outcome = only_outcome("unportable")
    assert (outcome.kind, outcome.error) == ("error", None)
    assert outcome.message == "UnportableError: a.mp4 is broken at frame 7"


def test_a_value_that_cannot_be_carried_is_an_error_of_its_item() -> None:
    outcome = only_outcome("unpicklable")
    assert outcome.kind == "error"
    assert "lock" in outcome.message


def test_the_serial_engine_reports_errors_the_same_way() -> None:
    serial, local = (
        next(engine.map(stage_of(stages.misbehave), ["film error"]))
        for engine in (SerialEngine(), LocalEngine(1))
    )
    assert isinstance(serial, Failed)
    assert isinstance(local, Failed)
    assert (serial.item, serial.kind, serial.message) == (local.item, local.kind, local.message)


def test_setup_runs_once_in_each_worker(tmp_path: Path) -> None:
    setup = functools.partial(stages.note_setup, tmp_path)
    stage = Stage("note", setup, stages.compare_state, PATIENT)
    outcomes = list(LocalEngine(2).map(stage, range(40)))
    states = [outcome.value for outcome in outcomes if isinstance(outcome, Done)]
    assert len(states) == 40
    assert all(state == process for state, process in states)
    marks = {int(file.name): file.read_text() for file in tmp_path.iterdir()}
    assert marks == dict.fromkeys({process for _, process in states}, "setup\n")
    assert len(marks) == 2
    assert os.getpid() not in marks


def test_no_more_workers_start_than_there_are_items(tmp_path: Path) -> None:
    stage = Stage(
        "note", functools.partial(stages.note_setup, tmp_path), stages.compare_state, PATIENT
    )
    assert len(list(LocalEngine(4).map(stage, ["only"]))) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("setup", "seconds", "words"),
    [
        (stages.broken_setup, 60.0, "no_weights"),
        (stages.dying_setup, 60.0, "status 9"),
        (stages.hanging_setup, 1.0, "no answer after 1 s"),
    ],
)
def test_a_setup_that_fails_ends_the_map(
    setup: Callable[[], None], seconds: float, words: str
) -> None:
    limits = Limits(timeout_seconds=60.0, memory_bytes=2048 * MIB, setup_timeout_seconds=seconds)
    stage = Stage("score", setup, stages.square, limits)
    with pytest.raises(StageSetupError, match=rf"'score'.*{words}"):
        list(LocalEngine(2).map(stage, range(100)))
    assert own_children() == set()


def test_the_cause_of_a_failed_setup_is_kept() -> None:
    for engine in (SerialEngine(), LocalEngine(1)):
        with pytest.raises(StageSetupError) as caught:
            list(engine.map(Stage("score", stages.broken_setup, stages.square, PATIENT), [1]))
        assert isinstance(caught.value.__cause__, FilmError)


def test_a_function_without_a_name_is_refused_before_anything_starts() -> None:
    stage: Stage[None, int, int]
    stage = Stage("square", stages.nothing, lambda _, number: number, PATIENT)
    with pytest.raises(ValueError, match="module-level"):
        LocalEngine(1).map(stage, [1])


def test_items_are_taken_only_as_outcomes_are() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    window = 2 * WINDOW_PER_WORKER
    outcomes = LocalEngine(2).map(
        Stage("square", stages.nothing, stages.square, PATIENT), endless()
    )
    assert taken == 0
    for returned in range(1, 30):
        next(outcomes)
        assert taken - returned < window
    before = taken
    time.sleep(0.2)
    assert taken == before
    outcomes.close()  # type: ignore[attr-defined]  # an Iterator here, a generator in fact
    assert own_children() == set()


def test_items_come_from_the_callers_thread() -> None:
    threads = []

    def items() -> Iterator[int]:
        for number in range(20):
            threads.append(threading.get_ident())
            yield number

    list(LocalEngine(2).map(Stage("square", stages.nothing, stages.square, PATIENT), items()))
    assert set(threads) == {threading.get_ident()}


def test_an_error_of_the_source_reaches_the_caller_and_ends_the_workers() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("the list of films broke off")

    with pytest.raises(LookupError, match="broke off"):
        list(LocalEngine(2).map(stage_of(stages.square), items()))
    assert own_children() == set()


def test_a_worker_that_stays_fat_is_replaced_before_it_harms_another_item() -> None:
    limits = Limits(timeout_seconds=60.0, memory_bytes=300 * MIB)
    stage: Stage[list[bytes], int, int]
    stage = Stage("hoard", stages.cupboard, stages.hoard, limits)
    outcomes = list(LocalEngine(1).map(stage, [60] * 12))  # 720 MB in all, 60 MB each
    processes = [outcome.value for outcome in outcomes if isinstance(outcome, Done)]
    assert len(processes) == 12
    assert 1 < len(set(processes)) < 12


def test_numeric_libraries_get_the_threads_they_are_allowed() -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"]
    ours = dict(os.environ)
    two_threads = dataclasses.replace(PATIENT, threads=2)
    outcomes = LocalEngine(1).map(stage_of(stages.environment, two_threads), names)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Done)] == ["2"] * 3
    assert dict(os.environ) == ours


def test_workers_ignore_ctrl_c() -> None:
    (outcome,) = LocalEngine(1).map(stage_of(stages.interrupt_handling), [0])
    assert isinstance(outcome, Done)
    assert outcome.value == (True, False)


def test_prints_of_a_stage_stay_out_of_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    list(LocalEngine(1).map(stage_of(stages.print_and_return), ["hello"]))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "hello")


@pytest.mark.parametrize("wrong", [{"timeout_seconds": 0.0}, {"memory_bytes": -1}, {"threads": 0}])
def test_impossible_limits_are_refused(wrong: dict[str, Any]) -> None:
    limits = Limits(timeout_seconds=1.0, memory_bytes=1)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        dataclasses.replace(limits, **wrong)


def test_an_engine_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="workers"):
        LocalEngine(0)


HANGING_RUN = textwrap.dedent(
    """
    import signal

    from pipelines.crew import Limits
    from pipelines.engine import LocalEngine, Stage
    from tests.pipelines import stages_for_engine as stages

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits SIG_IGN
    limits = Limits(timeout_seconds=3600, memory_bytes=2**31)
    stage = Stage("hang", stages.nothing, stages.misbehave, limits)
    outcomes = LocalEngine(2).map(stage, ["quick", "hang", "hang"])
    print(next(outcomes).value, flush=True)
    next(outcomes)
    """
)


HangingRun = tuple[subprocess.Popen[str], list[psutil.Process]]


@pytest.fixture
def hanging_run() -> Iterator[HangingRun]:
    """A run in a process of its own, and its two workers, which hang."""
    run = subprocess.Popen(
        [sys.executable, "-c", HANGING_RUN],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        assert run.stdout.readline() == "kciuq\n"
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) == 2
        try:
            yield run, workers
        finally:
            run.kill()
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()


def test_no_worker_outlives_a_killed_parent(hanging_run: HangingRun) -> None:
    run, workers = hanging_run
    run.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_ctrl_c_ends_the_workers_and_is_raised(hanging_run: HangingRun) -> None:
    run, workers = hanging_run
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == 1  # the caller's own, none from a worker
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_the_kernel_kills_what_its_parent_left_too_early() -> None:
    """A parent that died before the worker could ask to die with it: the worker looks, and goes."""
    code = "from pipelines.worker import die_with; die_with(1 << 30); print('still here')"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (1, "")
