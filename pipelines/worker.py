"""One worker process of the local engine, seen from both ends.

A worker is a fresh interpreter with a pipe of its own. That costs a start (about 0.1 s, and what
the stage imports) and buys isolation: a worker that dies, even while it writes its answer, takes
down nothing but the item it held, and the parent always knows which item that was.
"""

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Generic, Literal, NoReturn, TypeVar

import psutil

from pipelines.imports import lasting_imports

ArgumentT = TypeVar("ArgumentT")
ValueT = TypeVar("ValueT")
FaultKind = Literal["error", "crash", "timeout", "memory"]

_BOOT = "from pipelines.worker import serve; serve()"
_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
_STDERR = 2
_EXIT_SECONDS = 5.0
# Read when the libraries are loaded, so they are in place before the interpreter starts. OpenMP and
# MKL cover torch; OpenCV's name is its own.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no value."""

    kind: FaultKind
    message: str
    error: Exception | None = None
    """The exception itself, where it survives the way between processes unchanged."""
    trace: str = ""
    """The traceback inside the worker."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer(Generic[ValueT]):
    """What came of one call. The value counts only where there is no fault."""

    value: ValueT | None
    fault: Fault | None
    seconds: float
    cpu_seconds: float = 0.0
    """Of the whole process, all its threads; unknown (0) where it did not live to say."""


def opened(answer: Answer[bytes]) -> Answer[ValueT]:
    """The answer with its value unpickled."""
    value = None if answer.value is None else ForkingPickler.loads(answer.value)
    return Answer(value, answer.fault, answer.seconds, answer.cpu_seconds)


class Worker:
    """The parent's end. Only one thread may use it, and that thread must outlive the process.

    Args:
        stage: the pickled pair of setup and run.
        threads: how many threads the numeric libraries may use inside the process.
    """

    def __init__(self, stage: bytes, threads: int) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            # The child must find what the parent finds: the import path is its path, its threads
            # are set before a library can read them, and stray prints go to stderr (the parent's
            # stdout may be somebody's JSON). -P: no module is found in the folder it is started in.
            # Unlike multiprocessing's spawn, the parent's __main__ is not run a second time.
            environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
            environment["PYTHONPATH"] = os.pathsep.join(
                entry or str(Path.cwd()) for entry in sys.path
            )
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-c", _BOOT, str(descriptor), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                env=os.environ | environment,
                pass_fds=[descriptor],
            )
        self._memory = psutil.Process(self._process.pid)
        self.send(stage)  # a process that is gone is heard of before its first item

    def send(self, payload: bytes) -> bool:
        """Send a pickled item; False when the process is gone already."""
        try:
            self.connection.send_bytes(payload)
        except OSError:
            return False
        return True

    def receive(self) -> Answer[bytes] | None:
        """Read the answer that is waiting, or None when the worker died before it was complete.

        The value is still pickled. The first answer is about the setup and has no value.
        """
        try:
            payload = self.connection.recv_bytes()
        except (EOFError, OSError):
            return None
        answer: Answer[bytes] = ForkingPickler.loads(payload)
        return answer

    def resident_bytes(self) -> int:
        """Resident memory of the process now; 0 when it is gone."""
        try:
            return int(self._memory.memory_info().rss)
        except psutil.Error:
            return 0

    def end(self, *, gently: bool) -> str:
        """End the process if it still runs, and say how it ended.

        Gently: one that waits finds its pipe closed, and has a moment to run its exit handlers.
        Otherwise SIGKILL at once: a worker owns nothing that a later run could not make again, and
        a hang in native code listens to nothing milder.
        """
        self.connection.close()
        if gently:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_SECONDS)
        self._process.kill()
        status = self._process.wait()
        if status < 0:
            return f"the worker was ended by {signal.Signals(-status).name}"
        return f"the worker exited with status {status}"


def serve() -> None:
    """The child's end: set up once, then answer item by item until the pipe is closed.

    Started as ``python -c _BOOT DESCRIPTOR PARENT``.
    """
    descriptor, parent = map(int, sys.argv[1:])
    die_with(parent)
    # Ctrl-C reaches the whole process group; the parent decides what it means for the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    # A parent that closes its end, or is gone, has no more items: that is how a worker's life ends.
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        hired = attempt(_set_up, connection.recv_bytes())
        connection.send_bytes(ForkingPickler.dumps(dataclasses.replace(hired, value=None)))
        while hired.value is not None:
            answer = attempt(hired.value, connection.recv_bytes())
            connection.send_bytes(ForkingPickler.dumps(answer))


def _set_up(stage: bytes) -> Callable[[bytes], bytes]:
    """Import and set up the stage; what comes back turns a pickled item into a pickled value."""
    with lasting_imports():
        setup, run = ForkingPickler.loads(stage)
        state = setup()

    def work(item: bytes) -> bytes:
        return bytes(ForkingPickler.dumps(run(state, ForkingPickler.loads(item))))

    return work


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however it dies.

    A closed pipe tells only a worker that listens, and a decoder in a long film does not. The
    signal is sent when the *thread* that started this process ends. A parent that died before the
    request could be made sends nothing any more, so look whether it is still there afterwards.
    Elsewhere than on Linux a busy worker ends with its item, when it finds the pipe closed.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


def leave(status: int = 0) -> NoReturn:
    """End this process, a rank that has told and written everything, and end it at once.

    Taking down libraries can last, or hang, where another rank is gone. And a process group that
    something still holds (a device mesh does) keeps its threads when it is destroyed; one that is
    letting go of the last message's tensors asks for the interpreter, which by then is being taken
    down, and the process that had done all its work ends with SIGABRT.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def attempt(function: Callable[[ArgumentT], ValueT], argument: ArgumentT) -> Answer[ValueT]:
    """Call the function; whatever it raises becomes the answer's fault."""
    start, cpu = time.perf_counter(), time.process_time()
    value, fault = None, None
    try:
        value = function(argument)
    except Exception as error:  # noqa: BLE001 - the runner's duty: an item's error is its outcome
        fault = _fault_of(error)
    return Answer(value, fault, time.perf_counter() - start, time.process_time() - cpu)


def _fault_of(error: Exception) -> Fault:
    return Fault(
        kind="memory" if isinstance(error, MemoryError) else "error",
        message=f"{type(error).__name__}: {error}",
        error=error if _is_portable(error) else None,
        trace="".join(traceback.format_exception(error)),
    )


def _is_portable(error: Exception) -> bool:
    """Whether pickling brings the exception back as what it is.

    Many do not survive it: their constructor wants other arguments than `args`, or they hold a
    lock or a file. Found out here, where it costs the exception object, not the whole answer.
    """
    try:
        copy = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001 - a foreign class may raise anything while it is pickled
        return False
    return type(copy) is type(error)
