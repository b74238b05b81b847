"""What the report is collected from: the tables of one dataset version, and no catalog.

Reading them is `pipelines.report`'s work, so that everything here is a function of its arguments.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.records import DatasetRow, ShardRow, VideoRow
from curation.report.document import Verified
from curation.selection import COLUMNS, Range, Selection, SelectionPolicy
from curation.video.geometry import packed_size

IDENTITY = (
    "clip_id", "video_id", "shot_index", "start_frame", "end_frame", "start_seconds", "seconds",
    "frame_count", "width", "height",
)  # fmt: skip
"""Columns of a clip that say what it is; the numeric others are measurements."""


@dataclasses.dataclass(frozen=True)
class VersionTables:
    """A dataset version, and every clip that it was chosen from."""

    row: DatasetRow
    manifest: dict[str, Any]
    policy: SelectionPolicy
    recipe_policy: SelectionPolicy
    """That of the recipe, before anything was overridden."""
    clips: pa.Table
    """All clips of the version's films: `IDENTITY`, measurements, scores, licence."""
    selection: Selection
    """The policy's verdict on `clips`."""
    set_aside: dict[str, str]
    """clip_id -> why a clip that the policy keeps was left out by a step after it."""
    taken_down: frozenset[str]
    """Films (video_id) that no future version may hold: no policy brings their clips back."""
    videos: list[VideoRow]
    """The version's films, quarantined ones too."""
    samples: pa.Table
    """Columns of `SampleRow`, places in the tar included."""
    shards: list[ShardRow]
    shard_states: dict[str, str]
    """Shard -> its state on the disk (`document.Shard.state`)."""
    verified: Verified | None
    """The last verification."""
    captions: pa.Table
    """clip_id, captioner, caption and reason, for the clips of `clips`."""
    folder: str

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.row.name}@{self.row.version}"

    @functools.cached_property
    def seconds(self) -> npt.NDArray[np.float64]:
        """[n] length of each clip."""
        return self.numbers("seconds", np.float64)

    @functools.cached_property
    def frame_count(self) -> npt.NDArray[np.int64]:
        """[n] frames of each clip at 24 fps."""
        return self.numbers("frame_count", np.int64)

    @functools.cached_property
    def sizes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """[n] width and [n] height at which each clip is (or would be) packed."""
        short_side = self.manifest["config"]["pack"]["short_side"]
        sides = zip(self.clips["width"].to_pylist(), self.clips["height"].to_pylist(), strict=True)
        sizes = [packed_size(width, height, short_side) for width, height in sides]
        table = np.asarray(sizes, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    @functools.cached_property
    def packed(self) -> npt.NDArray[np.bool_]:
        """[n] True for clips that stand in a sample."""
        used = pc.unique(self.samples["clip_ids"].combine_chunks().flatten())
        marked = pc.is_in(self.clips["clip_id"], value_set=used)
        packed: npt.NDArray[np.bool_] = marked.to_numpy(zero_copy_only=False).astype(np.bool_)
        return packed

    @functools.cached_property
    def available(self) -> npt.NDArray[np.bool_]:
        """[n] True for clips that another policy could keep: their film is not taken down."""
        gone = pa.array(sorted(self.taken_down), pa.string())
        marked = pc.is_in(self.clips["video_id"], value_set=gone)
        gone_mask: npt.NDArray[np.bool_] = marked.to_numpy(zero_copy_only=False).astype(np.bool_)
        return ~gone_mask

    def numbers(self, column: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        """A numeric column; nulls become NaN."""
        values: npt.NDArray[Any] = self.clips[column].to_numpy(zero_copy_only=False)
        return values.astype(kind, copy=False)

    def measured(self, column: str) -> npt.NDArray[np.float32]:
        """[n] a measurement as all comparisons see it: float32, NaN where it is missing."""
        values: npt.NDArray[np.float32] = pc.cast(
            self.clips[column], pa.float32(), safe=False
        ).to_numpy()
        return values.astype(np.float32, copy=False)

    @functools.cached_property
    def thresholds(self) -> dict[str, str]:
        """Threshold -> column that it is held against, in the policy's order.

        Every range of the policy whose column is there; a threshold that `COLUMNS` does not map
        (a score's) has a column of its own name.
        """
        ranges = [
            field.name
            for field in dataclasses.fields(SelectionPolicy)
            if isinstance(getattr(self.policy, field.name), Range)
        ]
        columns = {name: COLUMNS.get(name, name) for name in ranges}
        return {
            name: column for name, column in columns.items() if column in self.clips.column_names
        }

    def bounds(self, name: str) -> Range:
        """The policy's range of that name; an open one for what the policy does not ask about."""
        found: Range = getattr(self.policy, name, Range())
        return found

    def measurements(self) -> dict[str, str]:
        """Name -> column of all that is measured: thresholds in the policy's order, then others."""
        named = self.thresholds
        taken = {*IDENTITY, *named.values()}
        others = {
            field.name: field.name
            for field in self.clips.schema
            if field.name not in taken and _numeric(field.type)
        }
        return named | others


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
