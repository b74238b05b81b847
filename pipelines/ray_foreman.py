"""What stands on a node of a Ray cluster for one stage: a foreman, and what its machine runs.

Knows nothing of Ray, which makes an actor of it. A foreman leads one worker process, so that an
item is held to the limits that it has at home, and outlives whatever the item does to its worker.
"""

import dataclasses
import importlib.metadata

from curation.components import COMPONENTS
from pipelines.crew import Crew, Limits, StageSetupError
from pipelines.worker import Answer

_DECIDES_BYTES = ("tempomaster", "av", "numpy", "onnxruntime", "opencv-python", "pyarrow", "torch")


@dataclasses.dataclass(frozen=True, slots=True)
class NoSetup:
    """A foreman's answer when the stage cannot be set up; an exception would lose its cause."""

    message: str
    cause: BaseException | None
    notes: tuple[str, ...]

    def raised(self) -> StageSetupError:
        """The exception that it was."""
        error = StageSetupError(self.message)
        error.__cause__ = self.cause
        for note in self.notes:
            error.add_note(note)
        return error


class Foreman:
    """On a node: one worker process and its limits. Ray makes an actor of it."""

    def __init__(self, name: str, functions: bytes, limits: Limits) -> None:
        self._crew: Crew[None, object] = Crew(name, functions, limits, size=1)
        self._crew.__enter__()

    def versions(self) -> dict[str, str]:
        """What this node runs; answering at all says that the foreman is there."""
        return versions()

    def run(self, payload: bytes) -> "Answer[bytes] | NoSetup":
        """Have the worker do an item."""
        self._crew.submit_sealed(None, payload)
        try:
            _, answer = self._crew.next_sealed()
        except StageSetupError as error:
            return NoSetup(str(error), error.__cause__, tuple(getattr(error, "__notes__", ())))
        return answer

    def end(self) -> None:
        """End the worker, also while `run` waits for it."""
        self._crew.__exit__()


def versions() -> dict[str, str]:
    """What decides the bytes of traces, shards and videos on a machine, by name."""
    packages = {name: _version(name) for name in _DECIDES_BYTES}
    return packages | {name: f"v{part.version}" for name, part in COMPONENTS.items()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # an extra
        return "absent"
