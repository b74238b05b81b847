"""What a checkpoint says of itself, which there are, and whether one is still what was written.

A record names every file with its hash. Before a run goes on from a checkpoint all its fragments
are read and held against those; a generator in it also before it generates or is judged. Nothing
here imports torch: evaluations and retrainings ask before they load anything. The trade-off: that
read.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from curation.unfinished import sync_file
from training.errors import CheckpointError, DamagedCheckpointError

RECORD = "record.json"
GENERATOR = "generator"
_FORMAT = 1
_PREFIX = "step-"
_DAMAGED = "damaged-"
_READERS = 4
"""Files that are hashed at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run's weights come from; the same in all its checkpoints.

    Attributes:
        training: name of the run.
        stage: 'stage_1' or 'stage_2' of section 3.3.
        recipe: its name.
        config: the whole config, as JSON holds it.
        dataset: ``NAME@3``.
        manifest_sha256: of the dataset version; None where no catalog said it.
        parent: what the weights were before the first step.
        seed: of the data's draws, and of random weights.
        code_version: that made it.
    """

    training: str
    stage: str
    recipe: str
    config: dict[str, Any]
    dataset: str
    manifest_sha256: str | None
    parent: str | None
    seed: int
    code_version: str


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What a checkpoint says of itself.

    Attributes:
        provenance: of the run.
        step: steps behind it.
        updates: of those, the ones that changed weights; the others had gradients not finite.
        world_size: ranks that wrote it.
        val_loss: of the averaged weights, where they were validated at this step.
        files: name -> sha256 of each file of fragments.
        skipped: steps in a row up to this one whose gradients were not finite.
        generator: name -> sha256 of each file under ``generator/``; empty where it holds none, or
            was written before they were hashed.
    """

    provenance: Provenance
    step: int
    updates: int
    world_size: int
    val_loss: float | None
    files: dict[str, str]
    skipped: int = 0
    generator: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """Of all fragments."""
        listed = "".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(listed.encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}


def step_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return run / f"{_PREFIX}{step:08d}"


def complete_steps(run: Path) -> list[int]:
    """Steps of which a run has checkpoints, ascending.

    A folder is known by its name alone, which it has got when it was complete: one that has lost
    its record since is damaged, and not as if it had never been.
    """
    folders = filter(_named, run.glob(f"{_PREFIX}*"))
    return sorted(int(folder.name.removeprefix(_PREFIX)) for folder in folders)


def _named(folder: Path) -> bool:
    """Whether a folder is named as a complete checkpoint is; a person's copy is not."""
    number = folder.name.removeprefix(_PREFIX)
    return number.isdecimal() and folder.name == f"{_PREFIX}{int(number):08d}" and folder.is_dir()


def read_record(folder: Path) -> Record:
    """What a checkpoint says of itself.

    Raises:
        DamagedCheckpointError: the record is cut short or gone, or files that it names are gone.
        CheckpointError: it is none, or of another version of this code.
    """
    record = _recorded(folder)
    _refuse_missing(folder, record.files)
    return record


def _recorded(folder: Path) -> Record:
    """What a record says, whether or not the files that it names are there; raises likewise."""
    path = folder / RECORD
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedCheckpointError(folder, f"{RECORD} cannot be read ({error})") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _named(folder):
            raise DamagedCheckpointError(folder, f"it lacks {RECORD}") from error
        raise _no_checkpoint(folder, error) from error
    try:
        if document.pop("format") != _FORMAT:
            raise CheckpointError(f"{folder} was written by another version of tempomaster")
        provenance = Provenance(**document.pop("provenance"))
        return Record(provenance=provenance, **document)
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_checkpoint(folder, error) from error


def _refuse_missing(folder: Path, names: Iterable[str], remedy: str | None = None) -> None:
    with _answering(folder):
        missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DamagedCheckpointError(folder, f"it lacks {', '.join(missing)}", remedy)


def _no_checkpoint(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{folder} is no checkpoint of a training run ({error}): name a folder "
        f"checkpoints/RUN/{_PREFIX}NNNNNNNN"
    )


def verify(folder: Path) -> Record:
    """Read all fragments of a checkpoint, and hold them against the hashes in its record.

    Raises:
        DamagedCheckpointError: it is not what was written.
        CheckpointError: it cannot be read now, which another time it may be; or it is none.
    """
    record = read_record(folder)
    _check(folder, record.files)
    return record


def check_generator(generator: Path) -> None:
    """Hold a generator inside of a checkpoint against the hashes in the record; others pass.

    Fragments are not looked at: none is needed to generate, and `tempo export` mends by them.

    Args:
        generator: its folder, however it is named. That it is gone is no damage.

    Raises:
        DamagedCheckpointError, CheckpointError: as `verify`; the remedy is another generator of the
            same checkpoint.
    """
    folder = _checkpoint_around(generator)
    if folder is None:
        return
    files = _recorded(folder).generator
    remedy = (
        f"`tempo export {folder} --to DIR` makes another of the same checkpoint: name that one, or "
        f"put it in the place of {GENERATOR}/"
    )
    _refuse_missing(folder, files, remedy)
    _check(folder, files, remedy)


def _checkpoint_around(generator: Path) -> Path | None:
    """The checkpoint that a generator is inside of, by its path or, where links lead to it, really.

    Both count: a person may have a link to `generator/`, or have moved it and left one there.
    """
    with _answering(generator):
        if not generator.is_dir():
            return None
        for path in (generator.absolute(), generator.resolve()):
            if path.name == GENERATOR and (path.parent / RECORD).is_file():
                return path.parent
    return None


def _check(folder: Path, files: dict[str, str], remedy: str | None = None) -> None:
    found = digests(folder, files)
    changed = [name for name, written in files.items() if found[name] != written]
    if changed:
        reason = f"{', '.join(changed)} are not what was written"
        raise DamagedCheckpointError(folder, reason, remedy)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> sha256 of files of a checkpoint.

    Raises:
        CheckpointError: the disk does not answer.
    """
    names = list(names)
    with _answering(folder), ThreadPoolExecutor(_READERS) as readers:
        return dict(
            zip(names, readers.map(lambda name: _digest(folder / name), names), strict=True)
        )


@contextlib.contextmanager
def _answering(folder: Path) -> Iterator[None]:
    """Say of a disk that does not answer that this is no damage."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error}): see to the disk, and try again once it answers"
        ) from error


def set_aside(folder: Path) -> Path:
    """Take its name from a damaged checkpoint: it counts no more, and can still be looked at."""
    aside = folder.with_name(f"{_DAMAGED}{folder.name}")
    if aside.exists():
        shutil.rmtree(aside)  # the same step was damaged before
    return folder.rename(aside)


def record_generator(folder: Path) -> None:
    """Name the files of `generator/` in the record of a checkpoint that is not published yet."""
    paths = sorted(path for path in (folder / GENERATOR).rglob("*") if path.is_file())
    hashes = digests(folder, [path.relative_to(folder).as_posix() for path in paths])
    write_record(folder, dataclasses.replace(read_record(folder), generator=hashes))


def write_record(folder: Path, record: Record) -> None:
    """Put a record into a checkpoint that is not published yet."""
    path = folder / RECORD
    path.write_text(json.dumps(record.document(), indent=2) + "\n", encoding="utf-8")
    sync_file(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
