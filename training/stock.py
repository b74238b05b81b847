"""The same shards through stock `webdataset`: for other trainers, notebooks and comparisons.

Whole samples in shard order, at their stored size, with nothing drawn and no exact resume: what
webdataset users know, shuffled and batched with its own stages. Training uses `training.data`.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import webdataset as wds

from curation.video.packed import PackedVideo
from training.samples import shard_paths
from training.windows import stride_of


def stock_pipeline(
    manifest: Path,
    *,
    split: str = "train",
    rate: int = 24,
    shuffle_shards: int = 0,
    decode: bool = True,
) -> wds.WebDataset:
    """A `webdataset.WebDataset` over one side of a version, split over nodes and loader workers.

    Its samples are dicts: ``__key__`` (the sample id), ``frames`` (uint8 `[F,H,W,3]`, every 1st,
    2nd or 4th), ``caption`` and ``document`` (the sample's JSON). Add stages with its own methods:
    ``stock_pipeline(...).shuffle(100).batched(1)``.

    Args:
        manifest: path of the version's `manifest.json`.
        split: 'train' or 'val'.
        rate: frames per second.
        shuffle_shards: buffer of the shard shuffle; 0 for manifest order.
        decode: False for webdataset's raw samples: bytes under ``mp4``, ``txt`` and ``json``.

    Raises:
        TrainingDataError: the version is not whole, or the split is empty.
    """
    pipeline = wds.WebDataset(
        [str(path) for path in shard_paths(manifest, split)],
        shardshuffle=shuffle_shards or False,
        nodesplitter=wds.split_by_node,
        empty_check=False,  # a worker may be given no shard where there are few
    )
    return pipeline.map(partial(_opened, rate=rate)) if decode else pipeline


def _opened(sample: dict[str, Any], rate: int) -> dict[str, Any]:
    """Decode by hand: webdataset's own decoder would unpickle members of some extensions."""
    video = PackedVideo(sample["mp4"])
    frames = video.frames(range(0, len(video), stride_of(rate)))
    return {
        "__key__": sample["__key__"],
        "frames": torch.from_numpy(frames),
        "caption": sample["txt"].decode(),
        "document": json.loads(sample["json"]),
    }
