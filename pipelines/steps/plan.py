"""What a dataset version will hold, before anything is encoded: kept clips become samples.

Everything is columnar and a function of the rows and the recipe, so that a plan can be made again
by a later run and compared: its hash is half of a version's identity.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.captioning import tags
from curation.components import fingerprint
from curation.errors import CurationError
from curation.identities import canonical_json, digest
from curation.multishot import MultiShotConfig, assemble
from curation.shards.planning import PackConfig, plan_shards
from curation.splits import SplitConfig, Standing, sides_of_films
from curation.video.geometry import packed_size
from pipelines.steps.caption import Caption

_STRINGS = pa.list_(pa.string())


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a version is made from: recorded in its manifest and in every sample."""

    dataset: str
    recipe: str
    config: dict[str, Any]
    fingerprints: dict[str, str]
    """Of 'scan', 'derive' and 'pack'."""


@dataclasses.dataclass(frozen=True, slots=True)
class DatasetPlan:
    """A version before anything is encoded."""

    samples: pa.Table
    """`plan_shards`' columns, and caption, captioners (one for each clip), licence."""
    pack: PackConfig
    content: str
    """Hash of all that decides the version's bytes."""


def plan_dataset(
    kept: pa.Table,
    groups: dict[str, str],
    captions: dict[str, Caption],
    origin: Origin,
    split: SplitConfig,
    earlier: Mapping[str, Standing],
    multishot: MultiShotConfig,
    pack: PackConfig,
) -> DatasetPlan:
    """Assemble samples from kept clips and lay them out in shards. Writes nothing.

    Clips without a caption are left out, of sequences too; the caller has counted them. Films of
    one duplicate group (film -> group) are on one side of the split: on that where the dataset's
    earlier versions have one of them.

    Raises:
        CurationError: no clip has a caption.
        DatasetError: validation is asked for and all clips are of one film.
    """
    captioned = pa.array([clip in captions for clip in kept["clip_id"].to_pylist()], pa.bool_())
    clips = _resized(kept.filter(captioned), pack)
    if not clips.num_rows:
        raise CurationError(
            f"none of {kept.num_rows} kept clips has a caption; give words beside the films, or "
            "let --set captioners=sidecar,describe describe the rest"
        )
    films = clips["video_id"].unique().to_pylist()
    sides = sides_of_films({film: groups[film] for film in films}, split, earlier)
    samples = plan_shards(assemble(clips, sides, multishot), pack)
    words = [[captions[clip] for clip in ids] for ids in samples["clip_ids"].to_pylist()]
    licence = dict(zip(clips["clip_id"].to_pylist(), clips["licence"].to_pylist(), strict=True))
    for name, values, kind in (
        ("caption", [tags.join([word.text for word in said]) for said in words], pa.string()),
        ("captioners", [[word.captioner for word in said] for said in words], _STRINGS),
        # The clips of a sample are of one film, and so of one licence.
        ("licence", [licence[ids[0]] for ids in samples["clip_ids"].to_pylist()], pa.string()),
    ):
        samples = samples.append_column(name, pa.array(values, kind))
    return DatasetPlan(samples, pack, _content(samples, origin))


def pack_fingerprint(pack: PackConfig, scan_fingerprint: str) -> str:
    """What makes a sample's video: coding, size, and the scan that found frames and borders."""
    coded = {"encode": pack.encode, "short_side": pack.short_side, "scan": scan_fingerprint}
    return fingerprint("pack", coded)


def _resized(clips: pa.Table, pack: PackConfig) -> pa.Table:
    """Clips with the size at which they will be packed."""
    sizes = [
        packed_size(width, height, pack.short_side)
        for width, height in zip(
            clips["width"].to_pylist(), clips["height"].to_pylist(), strict=True
        )
    ]
    for position, name in enumerate(("width", "height")):
        column = clips.schema.get_field_index(name)
        values = pa.array([size[position] for size in sizes], pa.int64())
        clips = clips.set_column(column, name, values)
    return clips


def _content(samples: pa.Table, origin: Origin) -> str:
    hasher = hashlib.sha256()
    for name in ("sample_id", "shard", "caption", "captioners", "licence", "width", "height"):
        hasher.update("\0".join(map(str, samples[name].to_pylist())).encode())
    identity = {"config": origin.config, "fingerprints": origin.fingerprints}
    return digest("content", hasher.hexdigest(), canonical_json(identity))
