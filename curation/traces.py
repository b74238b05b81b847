"""What a scan leaves of a film: traces and evidence, never a verdict.

One folder per film and scan fingerprint::

    films/ab/abcd…-0123…/
        frames.parquet     a row per frame: pts, keyframe, cut statistics, luma thumbnail
        samples.parquet    a row per sampled frame: clarity, exposure, motion
        evidence.parquet   a JPEG per sampled frame
        transitions.parquet  what a network says of each frame, where one was asked
        film.json          the film's row; written last

The folder is written under a temporary name, synced and renamed, so it is there whole or not at
all. Row groups are small and written as they fill: memory does not grow with the film.
"""

import contextlib
import dataclasses
import datetime as dt
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import CurationError
from curation.records import VideoRow
from curation.unfinished import sync_file, sync_folder

FRAMES, SAMPLES, EVIDENCE, FILM = (
    "frames.parquet",
    "samples.parquet",
    "evidence.parquet",
    "film.json",
)
TRANSITIONS = "transitions.parquet"
EVIDENCE_SCHEMA = pa.schema(
    [
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("jpeg", pa.binary(), nullable=False),
    ]
)
TRANSITION_SCHEMA = pa.schema([pa.field("probability", pa.float32(), nullable=False)])
_JUDGED = {b"tempomaster.judged": b"transitions"}
"""In the footer of FRAMES: TRANSITIONS belongs to these traces too."""
_ROWS_PER_GROUP = {SAMPLES: 1024, EVIDENCE: 64, TRANSITIONS: 1024}


def trace_folder(films: Path, video_id: str, scan_fingerprint: str) -> Path:
    """Where the traces of a film lie below the home's ``films`` folder."""
    return films / video_id[:2] / f"{video_id}-{scan_fingerprint}"


def discard_partial(folder: Path) -> None:
    """Remove what scans have written of a film's traces and not finished."""
    for partial in folder.parent.glob(f".{folder.name}.*.partial"):
        shutil.rmtree(partial, ignore_errors=True)


class TraceWriter:
    """Write the traces of one film; nothing is visible before `finish`.

    Use as a context manager: leaving it without `finish` removes what was written.

    Args:
        folder: where they will be.
        frames: columns of FRAMES.
        samples: columns of SAMPLES.
        judged: whether a network judges every frame.
    """

    def __init__(
        self, folder: Path, frames: pa.Schema, samples: pa.Schema, *, judged: bool = False
    ) -> None:
        self.folder = folder
        # A name of its own: where a node of a cluster was given up and lives on, two scan one film.
        self._partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
        discard_partial(folder)
        self._partial.mkdir(parents=True)
        self._tables = {
            FRAMES: _Table(
                self._partial / FRAMES, frames.with_metadata(_JUDGED) if judged else frames
            ),
            SAMPLES: _Table(self._partial / SAMPLES, samples, _ROWS_PER_GROUP[SAMPLES]),
            EVIDENCE: _Table(self._partial / EVIDENCE, EVIDENCE_SCHEMA, _ROWS_PER_GROUP[EVIDENCE]),
        }
        if judged:
            self._tables[TRANSITIONS] = _Table(
                self._partial / TRANSITIONS, TRANSITION_SCHEMA, _ROWS_PER_GROUP[TRANSITIONS]
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as closing:
            closing.callback(shutil.rmtree, self._partial, ignore_errors=True)
            for table in self._tables.values():  # all of them, though the disk may be full
                closing.callback(table.close)

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Add a row to SAMPLES, EVIDENCE or TRANSITIONS; values in the schema's order."""
        self._tables[table].add(row)

    def add_frames(self, columns: dict[str, Any]) -> None:
        """Add a row group to FRAMES: arrays by column."""
        self._tables[FRAMES].add_columns(columns)

    def finish(self, row: VideoRow) -> None:
        """Make the traces visible, the film's row with them."""
        for table in self._tables.values():
            table.close()
        (self._partial / FILM).write_text(video_row_to_json(row), encoding="utf-8")
        # A rename can reach the disk before what was written under the old name.
        for name in (*self._tables, FILM):
            sync_file(self._partial / name)
        sync_folder(self._partial)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._partial.rename(self.folder)
        sync_folder(self.folder.parent)


class _Table:
    """A Parquet file that is written a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema, rows_per_group: int = 0) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._rows_per_group = rows_per_group
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) == self._rows_per_group:
            assert self._writer is not None
            self._flush(self._writer)

    def add_columns(self, columns: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def _flush(self, writer: pq.ParquetWriter) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(columns, self._schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows.clear()

    def close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with writer:
                self._flush(writer)


@dataclasses.dataclass(frozen=True, slots=True)
class Traces:
    """Read the traces of one film."""

    folder: Path

    def whole(self) -> bool:
        """Whether every file is there and ends as it was closed.

        Only footers are read (0.4 ms a film): a damaged page inside is found by who reads it.
        """
        try:
            for name in (SAMPLES, EVIDENCE, *([TRANSITIONS] if self._judged() else [])):
                pq.read_metadata(self.folder / name)
            self.film()
        except (OSError, ValueError, KeyError, TypeError):  # absent, cut off, or not that row
            return False
        return True

    def frames(self, columns: list[str] | None = None) -> pa.Table:
        """A row per frame."""
        return self._read(FRAMES, columns)

    def transitions(self) -> npt.NDArray[np.float32] | None:
        """Probability [N] of a transition at each frame; None where no network was asked."""
        try:
            judged = self._judged()
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(error) from error
        return column(self._read(TRANSITIONS, None), "probability") if judged else None

    def samples(self) -> pa.Table:
        """A row per sampled frame."""
        return self._read(SAMPLES, None)

    def evidence(self, first: int, last: int) -> pa.Table:
        """Evidence frames with ``first <= frame < last``."""
        in_span = (pc.field("frame") >= first) & (pc.field("frame") < last)
        return pq.read_table(self.folder / EVIDENCE, filters=in_span)

    def evidence_batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """All evidence frames in order, `size` at a time: columns frame and jpeg."""
        try:
            with pq.ParquetFile(self.folder / EVIDENCE) as file:
                yield from file.iter_batches(batch_size=size, columns=["frame", "jpeg"])
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(error) from error

    def film(self) -> VideoRow:
        """The film's row, as its scan wrote it."""
        return video_row_from_json((self.folder / FILM).read_text(encoding="utf-8"))

    def _judged(self) -> bool:
        metadata = pq.read_metadata(self.folder / FRAMES).metadata or {}
        return _JUDGED.keys() <= metadata.keys()

    def _read(self, name: str, columns: list[str] | None) -> pa.Table:
        try:
            return pq.read_table(self.folder / name, columns=columns)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> CurationError:
        return CurationError(
            f"the traces in {self.folder} cannot be read ({error}); remove that folder and curate "
            "again: the film is then scanned anew"
        )


def video_row_to_json(row: VideoRow) -> str:
    """The row as one JSON object; times in ISO format."""
    values = dataclasses.asdict(row)
    values["recorded_at"] = row.recorded_at.isoformat()
    return json.dumps(values, sort_keys=True, indent=1, ensure_ascii=True)


def video_row_from_json(text: str) -> VideoRow:
    """Inverse of `video_row_to_json`."""
    values = json.loads(text)
    values["recorded_at"] = dt.datetime.fromisoformat(values["recorded_at"])
    return VideoRow(**values)


def column(table: pa.Table, name: str) -> "np.ndarray[Any, Any]":
    """A column as a NumPy array; nulls become NaN."""
    values: np.ndarray[Any, Any] = table[name].to_numpy(zero_copy_only=False)
    return values
