"""Which sample stands in which shard: pure, columnar, and before anything is encoded.

The plan depends on estimated bytes only, never on what an encoder made of them or on who was
faster, so a run that was killed and run again plans the same shards. The price is that shards miss
their target size by as much as the estimate misses.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.video.encode import EncodeSettings

BITS_PER_PIXEL = 0.12
"""A rough guess for crf 17: calm television takes less, the detailed demo library three times this.
Shards miss their aimed size by as much."""
_BYTES_PER_SAMPLE = 4096  # JSON, caption, tar headers


@dataclasses.dataclass(frozen=True, slots=True)
class PackConfig:
    """How samples are stored.

    Attributes:
        shard_bytes: aimed size of a shard, by estimate.
        short_side: shrink larger samples to this short side; None keeps the size.
        encode: how videos are coded.
    """

    shard_bytes: int = 400_000_000
    short_side: int | None = None
    encode: EncodeSettings = dataclasses.field(default_factory=EncodeSettings)

    def __post_init__(self) -> None:
        if self.shard_bytes < 1_000_000:
            raise ValueError(f"pack.shard_bytes = {self.shard_bytes}: give at least 1000000")
        if self.short_side is not None and self.short_side < 16:
            raise ValueError(f"pack.short_side = {self.short_side}: give at least 16, or none")


def plan_shards(samples: pa.Table, config: PackConfig) -> pa.Table:
    """Order samples and assign each to a shard.

    Within a split samples stand in the order of their ids, which is random but fixed, so that every
    shard is a fair draw and neighbours are of different films.

    Args:
        samples: what `curation.multishot.assemble` gives.
        config: the target size.

    Returns:
        The samples, sorted, with a column `shard`: 'train-000000', 'train-000001', …
    """
    ordered = samples.sort_by([("split", "ascending"), ("sample_id", "ascending")])
    split = np.asarray(ordered["split"].to_pylist(), dtype=object)
    sizes = estimated_bytes(ordered)
    names = np.empty(len(split), dtype=object)
    for side in dict.fromkeys(split):
        of_side = split == side
        ends = np.cumsum(sizes[of_side])
        # A sample belongs to the shard in which it begins.
        number = ((ends - sizes[of_side]) // config.shard_bytes).astype(np.int64)
        dense = np.unique(number, return_inverse=True)[1]
        labels = np.array([f"{side}-{k:06d}" for k in range(int(dense.max()) + 1)], dtype=object)
        names[of_side] = labels[dense]
    return ordered.append_column("shard", pa.array(names, pa.string()))


def estimated_bytes(samples: pa.Table) -> npt.NDArray[np.int64]:
    """[n] bytes that each sample will take in a shard, from its pixels alone."""
    pixels = (
        samples["frame_count"].to_numpy().astype(np.int64)
        * samples["width"].to_numpy()
        * samples["height"].to_numpy()
    )
    sizes: npt.NDArray[np.int64] = (pixels * (BITS_PER_PIXEL / 8)).astype(np.int64)
    return sizes + _BYTES_PER_SAMPLE
