"""Rows for the tests of the catalog: plain ones, with the fields that a test cares about set."""

import dataclasses
import datetime as dt
import typing
from typing import Any

from curation.records import CaptionRow, ClipRow, DatasetRow, SampleRow, ShardRow, SourceRow

EPOCH = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)

_PLAIN: dict[object, object] = {
    str: "film",
    int: 7,
    float: 0.25,
    bool: True,
    dt.datetime: EPOCH,
    list[str]: ["b", "a"],
    list[int]: [3, 1],
    list[float]: [0.25, -1.5],
}


def plain(row_type: type[Any], **fields: object) -> Any:
    """A row with a value of the right type in each required field and None in the others."""
    hints = typing.get_type_hints(row_type)
    values = {field.name: _PLAIN.get(hints[field.name]) for field in dataclasses.fields(row_type)}
    return row_type(**values | fields)


def full(row_type: type[Any]) -> Any:
    """A row with a value in every field."""
    hints = typing.get_type_hints(row_type)
    values = {}
    for field in dataclasses.fields(row_type):
        hint = hints[field.name]
        values[field.name] = _PLAIN.get(hint) or _PLAIN[typing.get_args(hint)[0]]
    return row_type(**values)


def later(seconds: float) -> dt.datetime:
    """A moment some seconds after `EPOCH`."""
    return EPOCH + dt.timedelta(seconds=seconds)


def source(uri: str, **fields: object) -> SourceRow:
    row: SourceRow = plain(SourceRow, uri=uri, **fields)
    return row


def clip(clip_id: str, **fields: object) -> ClipRow:
    row: ClipRow = plain(ClipRow, clip_id=clip_id, **fields)
    return row


def caption(clip_id: str, **fields: object) -> CaptionRow:
    row: CaptionRow = plain(CaptionRow, clip_id=clip_id, **fields)
    return row


def publication(name: str, publish_id: str) -> tuple[DatasetRow, list[SampleRow], list[ShardRow]]:
    """A dataset version of two samples in one shard, as `publish_dataset` takes it."""
    samples = [
        plain(SampleRow, publish_id=publish_id, sample_id=f"{publish_id}-{index}")
        for index in range(2)
    ]
    shards = [plain(ShardRow, publish_id=publish_id, shard="train-000000")]
    row = plain(DatasetRow, name=name, version=0, publish_id=publish_id, samples=2, shards=1)
    return row, samples, shards
