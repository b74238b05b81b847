"""Checkpoints: how one is written so that a kill leaves none, and how it is read back.

A checkpoint is a folder of safetensors that hold fragments of parameters and of their states, and a
record that names every file with its hash. It is written under a name that nobody looks for, synced
and renamed; a checkpoint is complete when it has its name. Fragments carry their place in the whole
parameter, so any number of ranks at any ZeRO stage reads what any other wrote, bit for bit. The
trade-off: each rank reads the headers of all files.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from curation.unfinished import sync_file, sync_folder
from training.checkpoint_record import (
    Provenance,
    Record,
    complete_steps,
    digests,
    read_record,
    step_folder,
    write_record,
)
from training.engine import KINDS, Engine, Fragment
from training.errors import CheckpointError
from training.ranks import World

_FILE_BYTES = 2_000_000_000
"""Files are about so large: safetensors copies what it writes, file by file."""
_UNFINISHED = ".unfinished-"


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
    named = step_folder(run, standing.step)
    folder = named.with_name(f"{_UNFINISHED}{named.name}")
    if world.first:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    world.wait()
    own: dict[str, str] = {}
    fragments = [fragment for fragment in engine.fragments if fragment.owned]
    for number, (tensors, places) in enumerate(_files(fragments)):
        name = f"state-{world.rank:05d}-of-{world.size:05d}-{number:04d}.safetensors"
        save_file(tensors, folder / name, metadata={"places": json.dumps(places)})
        sync_file(folder / name)
        own |= digests(folder, [name])
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
        write_record(folder, record)
    return folder


def publish(folder: Path) -> Path:
    """Give a written checkpoint its name: from here on it counts. One rank calls it."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.parent != folder:
            sync_file(path)
    sync_folder(folder)
    named = folder.with_name(folder.name.removeprefix(_UNFINISHED))
    if named.exists():
        shutil.rmtree(named)  # of a run that was set back to an earlier step
    folder.rename(named)
    sync_folder(named.parent)
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
