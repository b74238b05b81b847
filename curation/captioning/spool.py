"""Answers on the disk as they come, so that a killed run has not paid for nothing.

A file of JSON lines that is only appended to: when `Spool.add` returns, the answer is on the disk.
The catalog takes thousands of answers in one commit; what a run gathered in between waits here, and
the next run reads it back. The trade-off is one sync for each answer, milliseconds beside seconds.
"""

import dataclasses
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import pydantic

from curation.captioning.words import Answer
from curation.unfinished import sync_folder

_SUFFIX = ".answers.jsonl"
_READ = pydantic.TypeAdapter(Answer)


class Spool:
    """Appends answers to a file of its own; threads may share it.

    The file comes into being with the first answer. Use as a context manager.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{_SUFFIX}"
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def add(self, *answers: Answer) -> None:
        """Have answers on the disk before returning."""
        lines = [json.dumps(dataclasses.asdict(answer), sort_keys=True) for answer in answers]
        data = "".join(f"{line}\n" for line in lines).encode()
        with self._lock:
            if self._descriptor is None:
                self._descriptor = self._created()
            while data:  # a kill in here tears the last line, which is then asked again
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)

    def _created(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        sync_folder(self._path.parent)
        return descriptor


def spools(folder: Path) -> list[Path]:
    """The files that runs have left, in the order of their names."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def spooled(path: Path) -> tuple[list[Answer], int]:
    """The answers in a file, and how many lines are torn: those clips are asked about again."""
    answers, torn = [], 0
    for line in path.read_bytes().splitlines():
        try:
            answers.append(_READ.validate_json(line))
        except pydantic.ValidationError:
            torn += 1
    return answers, torn
