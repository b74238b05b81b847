"""Checkpoints: what is in one, which there are, and how one is written so that a kill leaves none.

A checkpoint is a folder of safetensors that hold fragments of parameters and of their states, and a
record that names every file with its hash. It is written under a name that nobody looks for, synced
and renamed; a checkpoint is complete when it has its name. Fragments carry their place in the whole
parameter, so any number of ranks at any ZeRO stage reads what any other wrote, bit for bit. Before
a run goes on from one, all of it is read and held against those hashes; a generator in it also
before it generates or is judged. The trade-offs: that read, and that each rank reads the headers of
all files.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.engine import KINDS, Engine, Fragment
from training.errors import CheckpointError, DamagedCheckpointError
from training.ranks import World

RECORD = "record.json"
GENERATOR = "generator"
_FORMAT = 1
_FILE_BYTES = 2_000_000_000
"""Files are about so large: safetensors copies what it writes, file by file."""
_PREFIX = "step-"
_UNFINISHED = ".unfinished-"
_DAMAGED = "damaged-"
_CHUNK = 1 << 24
_READERS = 4
"""Files that are hashed at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """When checkpoints are written, and which are kept.

    Attributes:
        every: steps from one to the next; the last step always has one.
        keep_last: so many of the newest are kept.
        keep_every: those at multiples of so many steps are kept as well; None: none more.
        generator: each holds a folder of the averaged weights that `tempo generate` takes; costs
            that network once more in bytes. `tempo export` makes one of any checkpoint later.
    """

    every: int = 1000
    keep_last: int = 3
    keep_every: int | None = None
    generator: bool = False

    def __post_init__(self) -> None:
        for name in ("every", "keep_last", "keep_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"checkpoint.{name} = {value}: give at least 1")


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
class Standing:
    """Where a run stands between two steps, beside its weights and their states.

    Attributes:
        step: steps behind it.
        skipped: of those, the last ones in a row whose gradients were not finite.
        val_loss: of the averaged weights, where they were validated at this step.
    """

    step: int
    skipped: int = 0
    val_loss: float | None = None


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
    found = _digests(folder, files)
    changed = [name for name, written in files.items() if found[name] != written]
    if changed:
        reason = f"{', '.join(changed)} are not what was written"
        raise DamagedCheckpointError(folder, reason, remedy)


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
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


def write(
    run: Path,
    engine: Engine,
    world: World,
    provenance: Provenance,
    standing: Standing,
) -> Path:
    """Write a checkpoint; all ranks call it together.

    Returns:
        Its folder, not yet under its name: `publish` gives it that.
    """
    folder = run / f"{_UNFINISHED}{_PREFIX}{standing.step:08d}"
    if world.first:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    world.wait()
    own: dict[str, str] = {}
    fragments = [fragment for fragment in engine.fragments if fragment.owned]
    for number, (tensors, places) in enumerate(_files(fragments)):
        name = f"state-{world.rank:05d}-of-{world.size:05d}-{number:04d}.safetensors"
        save_file(tensors, folder / name, metadata={"places": json.dumps(places)})
        _sync(folder / name)
        own[name] = _digest(folder / name)
    files: dict[str, str] = {}
    for listed in world.gathered(own):
        files |= listed
    if world.first:
        record = Record(
            provenance=provenance,
            step=standing.step,
            updates=engine.updates,
            world_size=world.size,
            val_loss=standing.val_loss,
            files=files,
            skipped=standing.skipped,
        )
        _write_record(folder, record)
    return folder


def record_generator(folder: Path) -> None:
    """Name the files of `generator/` in the record of a checkpoint that is not published yet."""
    paths = sorted(path for path in (folder / GENERATOR).rglob("*") if path.is_file())
    hashes = _digests(folder, [path.relative_to(folder).as_posix() for path in paths])
    _write_record(folder, dataclasses.replace(read_record(folder), generator=hashes))


def _write_record(folder: Path, record: Record) -> None:
    path = folder / RECORD
    path.write_text(json.dumps(record.document(), indent=2) + "\n", encoding="utf-8")
    _sync(path)


def publish(folder: Path) -> Path:
    """Give a written checkpoint its name: from here on it counts. One rank calls it."""
    for path in folder.rglob("*"):
        if path.is_dir() or path.parent != folder:
            _sync(path)
    _sync(folder)
    named = folder.with_name(folder.name.removeprefix(_UNFINISHED))
    if named.exists():
        shutil.rmtree(named)  # of a run that was set back to an earlier step
    folder.rename(named)
    _sync(named.parent)
    return named


def prune(run: Path, config: CheckpointConfig) -> list[int]:
    """Delete what the policy does not keep, and what kills have left; returns the kept steps."""
    for leftover in run.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover)
    steps = complete_steps(run)
    kept = set(steps[-config.keep_last :])
    if config.keep_every is not None:
        kept |= {step for step in steps if step % config.keep_every == 0}
    for step in set(steps) - kept:
        # It loses its name first: half deleted it is no checkpoint, and the next call finishes.
        folder = step_folder(run, step)
        doomed = folder.rename(folder.with_name(f"{_UNFINISHED}{folder.name}"))
        shutil.rmtree(doomed)
    return sorted(kept)


class StoredState:
    """The parameters of a checkpoint, put together from its fragments.

    Args:
        folder: a complete checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(folder)
        self._pieces: dict[str, list[tuple[Path, int, int]]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Trained parameter -> its shape."""
        for name in self.record.files:
            with safe_open(folder / name, framework="pt") as file:
                places = json.loads(file.metadata()["places"])
            for parameter, (start, length, shape) in places.items():
                self._pieces.setdefault(parameter, []).append((folder / name, start, length))
                self.shapes[parameter] = tuple(shape)

    def whole(self, name: str, kind: str) -> Tensor:
        """A parameter or one of its states, float32."""
        shape = self.shapes[name]
        flat = torch.empty(int(torch.Size(shape).numel()))
        self.fill(flat, name, kind, 0)
        return flat.view(shape)

    def fill(self, out: Tensor, name: str, kind: str, start: int) -> None:
        """Fill a part of a flattened parameter, or of one of its states.

        Raises:
            CheckpointError: the checkpoint does not hold all of it.
        """
        missing, end = out.numel(), start + out.numel()
        for path, first, length in self._pieces.get(name, []):
            low, high = max(start, first), min(end, first + length)
            if low < high:
                with safe_open(path, framework="pt") as file:
                    part = file.get_slice(f"{kind}/{name}")[low - first : high - first]
                out[low - start : high - start].copy_(part)
                missing -= high - low
        if missing:
            raise CheckpointError(
                f"{self.folder} lacks {missing} values of {name}: its network is another one, or "
                "files are missing"
            )


def restore(engine: Engine, stored: StoredState) -> None:
    """Set weights, optimiser and average to those of a checkpoint; all ranks call it together.

    Raises:
        CheckpointError: it is of another network.
    """
    for fragment in engine.fragments:
        found = stored.shapes.get(fragment.name)
        if found != fragment.shape:
            raise CheckpointError(
                f"{stored.folder} has {fragment.name} of shape {found}, and the network "
                f"{fragment.shape}: it is of another network"
            )
        for kind in KINDS:
            stored.fill(fragment.values[kind], fragment.name, kind, fragment.start)
    engine.updates = stored.record.updates
    engine.refresh()


def _files(
    fragments: list[Fragment],
) -> Iterator[tuple[dict[str, Tensor], dict[str, tuple[int, int, tuple[int, ...]]]]]:
    """What goes into each file: tensors, and the place of each fragment."""
    tensors: dict[str, Tensor] = {}
    places: dict[str, tuple[int, int, tuple[int, ...]]] = {}
    held = 0
    for fragment in fragments:
        length = fragment.values[KINDS[0]].numel()
        if held and held + length * 4 * len(KINDS) > _FILE_BYTES:
            yield tensors, places
            tensors, places, held = {}, {}, 0
        for kind, value in fragment.values.items():
            tensors[f"{kind}/{fragment.name}"] = value.detach().cpu().contiguous()
        places[fragment.name] = (fragment.start, length, fragment.shape)
        held += length * 4 * len(KINDS)
    if tensors:
        yield tensors, places


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
