"""Bytes of shards by offset, from a disk or an object store (``s3://…``, ``gs://…``).

Files are read at offsets, so that threads share one handle and none has a position of its own; of
many shards the least recently used are let go. The trade-off: a remote sample is one ranged
request, which wants a store near by; a disk that is filled first is faster.
"""

import threading
from collections import OrderedDict
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from curation.remote import SCHEME, file_system, is_stored, stored_address

_OPEN_SHARDS = 64


class ShardFolder:
    """The folder of a dataset version. Threads share it.

    Args:
        address: a path, or what `pyarrow.fs` understands: ``s3://bucket/prefix``, ``gs://…``.
        open_files: at most so many files stay open between reads.

    Raises:
        ValueError: an address of no file system that is known here.
    """

    def __init__(self, address: str | Path, open_files: int = _OPEN_SHARDS) -> None:
        self.address = str(address).rstrip("/")
        self._limit = open_files
        self._files: OrderedDict[str, pa.NativeFile] = OrderedDict()
        self._lock = threading.Lock()
        if is_stored(self.address):
            self._system = file_system()
            self._root = stored_address(self.address)[len(SCHEME) :]
        elif "://" in self.address:
            try:
                self._system, self._root = fs.FileSystem.from_uri(self.address)
            except pa.ArrowInvalid as error:
                raise ValueError(f"shards at {self.address}: {error}") from error
        else:
            self._system, self._root = fs.LocalFileSystem(), self.address

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a file, to its end by default; fewer where the file ends early.

        Raises:
            OSError: missing or unreadable.
        """
        file = self._open(name)
        data: bytes = file.read_at(file.size() - offset if size is None else size, offset)
        return data

    def sizes(self) -> dict[str, int]:
        """Bytes of every file in the folder, by name. Raises as `read` does."""
        found = self._system.get_file_info(fs.FileSelector(self._root))
        return {info.base_name: info.size for info in found if info.is_file}

    def close(self) -> None:
        """Let go of all files; one that is being read stays open until that is done."""
        with self._lock:
            self._files.clear()

    @property
    def open_files(self) -> int:
        """Files that are open now."""
        return len(self._files)

    def _open(self, name: str) -> pa.NativeFile:
        with self._lock:
            file = self._files.pop(name, None)
            if file is None:
                file = self._system.open_input_file(f"{self._root}/{name}")
            self._files[name] = file
            # Whoever reads from a file that is let go here still holds it; it closes after that.
            while len(self._files) > self._limit:
                self._files.popitem(last=False)
        return file
