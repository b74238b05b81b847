"""Frames of finished nodes on disk, so that a killed run continues and one node can be remade.

Frames are kept as the float32 that they were decoded to: 8 bits would change what they condition. A
483-frame tree at 832x480 takes 4 GB so; delete the folder when the video is what it should be. The
nodes of a batch appear together, by one rename: a killed run repeats whole batches, and so makes
the same bytes as an undisturbed one.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.errors import NodeStoreError

_UNFINISHED = ".part-"


class NodeStore:
    """A folder of node results by key; one run at a time. Use as a context manager.

    Args:
        folder: where; made if needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path] = {}
        self._lock = filelock.FileLock(folder / ".lock")

    def __enter__(self) -> Self:
        """Take the folder, and clear what a killed run left half written.

        Raises:
            NodeStoreError: another run has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise NodeStoreError(
                f"{self.folder} is being written by another run: wait for it, or name another"
            ) from error
        for unfinished in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished)
        self._paths = {path.stem: path for path in sorted(self.folder.glob("*/*.safetensors"))}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __contains__(self, key: str) -> bool:
        return key in self._paths

    def write(self, results: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
        """Keep the frames of a batch, all of them or, if it is killed, none.

        Args:
            results: float32 frames `[3,F,H,W]` by key.
            notes: for people who look into a file.
        """
        name = hashlib.sha256(" ".join(sorted(results)).encode()).hexdigest()[:32]
        unfinished = self.folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
        unfinished.mkdir()
        for key, frames in results.items():
            path = unfinished / f"{key}.safetensors"
            save_file({"frames": frames.contiguous()}, path, metadata=dict(notes))
            _sync(path)
        folder = self.folder / name
        if folder.exists():
            shutil.rmtree(folder)  # the same keys, so the same frames
        unfinished.rename(folder)
        _sync(self.folder)
        self._paths |= {key: folder / f"{key}.safetensors" for key in results}

    def read(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """Frames that are there.

        Raises:
            NodeStoreError: the file is damaged, or holds frames of another shape.
        """
        path = self._paths[key]
        try:
            with safe_open(path, framework="pt") as file:
                frames: Tensor = file.get_tensor("frames")
        except (SafetensorError, OSError) as error:
            raise NodeStoreError(f"{path} cannot be read ({error}); delete it") from error
        if tuple(frames.shape) != shape:
            raise NodeStoreError(f"{path} holds {tuple(frames.shape)}, not {shape}; delete it")
        return frames


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
